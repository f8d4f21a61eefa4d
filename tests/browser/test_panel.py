"""JupyterLab's session panel in a real Slurm job: time left, facts, warnings, and how a session ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pages import log_in, press_start
from playwright.async_api import Locator, Page, WebSocketRoute, expect
from support import eventually

from launcher.sandbox.site import Site

SCHEDULER = "slurm"
CLUSTER = {"times": {"choices": [30, 2]}, "end_warning": 40, "warnings": [1]}

pytestmark = pytest.mark.asyncio(loop_scope="module")

GIB = 1024**3
USE = {
    "kind": "use",
    "memory": {"used": 11 * GIB, "limit": 64 * GIB},
    "cpu": {"used": 3.6, "of": 8},
    "gpus": [
        {"name": "GH200", "used": 87.0, "memory": 80 * GIB, "limit": 96 * GIB},
        {"name": "GH200", "used": None, "memory": GIB, "limit": 96 * GIB},
    ],
}

WORKS = """
import time
print("begun")
try:
    time.sleep(600)
finally:
    print("last", "words")
"""


class Panel:
    """JupyterLab in a page, and the websocket of its session panel, at which a test may speak, too.

    Attributes:
        page: The page.
        said: What the page has said.
        heard: What the server has said.
        reachable: Whether the server takes connections of the panel.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[dict[str, Any]] = []
        self.heard: list[dict[str, Any]] = []
        self.reachable = True
        self._ours: set[str] = set()

    async def open(self) -> None:
        """Listen from now on."""
        await self.page.route_web_socket(re.compile("/launcher/panel"), self._connect)

    def tell(self, **message: Any) -> None:
        """Say something in the server's place, which says nothing of that kind any more."""
        self._ours.add(message["kind"])
        self._socket.send(json.dumps(message))

    def listen(self) -> None:
        """Let the server speak for itself again."""
        self._ours.clear()

    async def lose(self) -> None:
        """Lose the connection, and have no other."""
        self.reachable = False
        await self._socket.close()

    async def _connect(self, socket: WebSocketRoute) -> None:
        if not self.reachable:
            await socket.close(code=1012)
            return
        self._socket = socket
        server = socket.connect_to_server()

        def from_page(message: str) -> None:
            self.said.append(json.loads(message))
            server.send(message)

        def from_server(message: str) -> None:
            self.heard.append(json.loads(message))
            if self.heard[-1]["kind"] not in self._ours:
                socket.send(message)

        socket.on_message(from_page)
        server.on_message(from_server)

    @property
    def time_left(self) -> Locator:
        return self.page.locator("#jp-bottom-panel").get_by_role("button", name="Show the session")

    @property
    def side(self) -> Locator:
        return self.page.get_by_role("region", name="Session", exact=True)

    @property
    def toasts(self) -> Locator:
        return self.page.locator(".Toastify__toast")

    @property
    def dialog(self) -> Locator:
        return self.page.locator(".jp-Dialog")

    async def new_notebook(self, code: str) -> str:
        """Open a notebook and type into it; return its path, with what was typed not saved."""
        page = self.page
        async with page.expect_response(
            lambda answer: "/api/contents" in answer.url and answer.request.method == "POST"
        ) as made:
            await page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
        path = (await (await made.value).json())["path"]
        await page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
        # Idle shows before the kernel's websocket is up.
        await page.wait_for_timeout(1500)
        await page.locator(".jp-Notebook .cm-content").first.click()
        await page.keyboard.insert_text(code)
        await page.locator(".lm-TabBar-tab.jp-mod-dirty").wait_for()
        return f"/{path}"


@pytest_asyncio.fixture(loop_scope="module")
async def panel(page) -> Panel:
    panel = Panel(page)
    await panel.open()
    return panel


async def enter(page: Page, site: Site, name: str, minutes: int = 30) -> None:
    """Come to somebody's session, and start it if there is none; return once JupyterLab is there."""
    if await site.live_jobs(name):
        await log_in(page, site, name, f"hub/user-redirect/lab/workspaces/{uuid4().hex}?reset")
    else:
        await log_in(page, site, name)
        await page.get_by_label("Time").select_option(str(minutes))
        await press_start(page, name)
    await page.locator(".jp-Launcher").first.wait_for()


async def ended(site: Site, name: str) -> None:
    """Wait until a user has no job any more."""

    async def no_jobs() -> bool:
        return not await site.live_jobs(name)

    await eventually(no_jobs)


@pytest.mark.timeout(240)
async def test_it_shows_what_the_session_is(site, page, panel, alice, screenshots):
    await enter(page, site, alice)
    (job_id,) = await site.live_jobs(alice)

    await expect(panel.time_left).to_have_text(re.compile(r"^(28|29)\smin$"))
    await expect(panel.time_left).to_have_attribute(
        "title", re.compile(r"This session ends at .* \(in 2\d minutes\)")
    )
    await expect(panel.side).to_be_hidden()

    await panel.time_left.focus()
    await page.keyboard.press("Enter")
    await expect(panel.side).to_be_visible()
    facts = dict(
        zip(
            await panel.side.locator("dt").all_inner_texts(),
            await panel.side.locator("dd").all_inner_texts(),
            strict=True,
        )
    )
    assert facts["Job"].strip() == job_id
    assert facts["Partition"]
    assert re.search(r", in\s2\d\smin$", facts["Ends"])
    assert all(text.strip() for text in facts.values())
    assert {"kind": "watch", "on": True} in panel.said

    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(panel.side.get_by_role("status")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == job_id

    panel.tell(**USE)
    await expect(panel.side.get_by_role("meter", name="Memory", exact=True)).to_have_attribute(
        "aria-valuetext", "11 GiB of 64 GiB"
    )
    await page.screenshot(path=screenshots / "panel.png")

    await panel.side.get_by_role("button", name="Job's log").click()
    await expect(page.locator(".jp-FileEditor .cm-content")).to_contain_text("launcher")
    await page.get_by_role("tab", name="Session", exact=True).click()
    await expect(panel.side).to_be_hidden()
    assert panel.said[-1] == {"kind": "watch", "on": False}


async def test_it_tells_what_the_user_should_know(site, page, panel, alice, screenshots):
    await enter(page, site, alice)
    await panel.time_left.wait_for()
    (now,) = (each for each in panel.heard if each["kind"] == "session")
    panel.tell(**now | {"ends": now["now"] + 600})
    panel.tell(kind="warning", reason="walltime", now=now["now"], ends=now["now"] + 600)
    toast = panel.toasts.filter(has_text="This session ends in 10 minutes, at")
    await expect(toast).to_contain_text("Everything open will be saved; kernels end.")
    await expect(panel.time_left).to_have_attribute("data-level", "warn")
    # It slides in.
    await page.wait_for_timeout(1000)
    await page.screenshot(path=screenshots / "warning.png")

    panel.tell(kind="killed", path="home/a.ipynb", name="Python 3.12", memory=True, limit=16 * GIB)
    await expect(panel.toasts.filter(has_text="a.ipynb")).to_contain_text(
        "ran out of memory: the job has 16 GiB."
    )

    panel.tell(kind="warning", reason="idle", now=now["now"], ends=now["now"] + 300)
    unused = panel.toasts.filter(has_text="Nobody has used this session for a while. It ends in 5 minutes")
    await unused.wait_for()
    await expect(page).to_have_title(re.compile(r"^\(!\) "))
    await unused.get_by_role("button", name="Keep the session").click()
    assert panel.said[-1] == {"kind": "used"}
    panel.tell(kind="kept")
    await expect(unused).to_have_count(0)
    await expect(page).not_to_have_title(re.compile(r"^\(!\) "))

    panel.listen()
    await panel.lose()
    lost = panel.toasts.filter(has_text="The server can't be reached.")
    await lost.wait_for()
    await expect(panel.time_left).to_have_text("Not connected")
    panel.reachable = True
    await expect(panel.time_left).to_have_text(re.compile("min"))
    await expect(lost).to_have_count(0)
    await expect(panel.dialog).to_have_count(0)

    await page.route("**/launcher/panel?*", lambda asked: asked.fulfill(status=424))
    await panel.lose()
    await expect(panel.dialog).to_contain_text("Its server does not run any more.")


async def test_it_has_no_colours_of_its_own(site, page, panel, alice, screenshots):
    await enter(page, site, alice)
    await page.get_by_role("menuitem", name="Settings").click()
    for item in ("Theme", "JupyterLab Dark"):
        await page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()
    await expect(page.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Dark")
    await panel.time_left.click()
    panel.tell(**USE)
    await panel.side.get_by_role("meter").first.wait_for()
    await page.screenshot(path=screenshots / "panel-dark.png")
    for part in (panel.side, panel.time_left):
        colours = await part.evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
        assert colours[0] == "rgba(255, 255, 255, 0.87)", colours


async def test_its_button_saves_what_is_unsaved_and_stops_the_session(site, page, panel, alice):
    await enter(page, site, alice)
    path = await panel.new_notebook("print('kept by Stop')")
    await panel.time_left.click()
    await panel.side.get_by_role("button", name="Stop session").click()
    await expect(panel.dialog).to_contain_text("One unsaved document is saved first.")
    await panel.dialog.get_by_role("button", name="Stop").click()
    await page.wait_for_url(f"{site.url}hub/home")
    await ended(site, alice)
    await page.reload()
    await expect(page.get_by_role("button", name="Start My Server")).to_be_visible()
    assert "kept by Stop" in Path(path).read_text()


async def test_a_file_that_was_changed_meanwhile_is_left_alone_and_named(site, page, panel, alice):
    await enter(page, site, alice)
    path = Path(await panel.new_notebook("print('of this page')"))
    path.write_text(path.read_text().replace("\n", "\n\n"))
    changed = path.read_text()
    await panel.time_left.click()
    await panel.side.get_by_role("button", name="Stop session").click()
    await panel.dialog.get_by_role("button", name="Stop").click()
    await expect(panel.dialog).to_contain_text(f"Not saved: {str(path)[1:]}")
    await panel.dialog.get_by_role("button", name="Stop").click()
    said = panel.dialog.filter(has_text="Your session has ended.")
    await expect(said).to_contain_text("You stopped it.")
    await expect(said.get_by_role("listitem")).to_have_text(str(path)[1:])
    assert path.read_text() == changed


@pytest.mark.timeout(240)
async def test_at_the_end_of_its_time_all_is_saved_and_the_page_says_so(site, page, panel, bob, screenshots):
    await enter(page, site, bob, minutes=2)
    path = await panel.new_notebook(WORKS)
    await page.keyboard.press("Shift+Enter")
    await expect(page.locator(".jp-OutputArea-output pre").first).to_contain_text("begun")
    toast = panel.toasts.filter(has_text="This session ends in")
    await expect(toast).to_contain_text("Everything open will be saved", timeout=60_000)
    await expect(panel.time_left).to_have_text(re.compile(r"^\d+\ss$"))

    said = panel.dialog.filter(has_text="Your session has ended.")
    await said.wait_for(timeout=90_000)
    await expect(said).to_contain_text("Its time was over.")
    await expect(said).to_contain_text("All documents were saved.")
    await expect(panel.time_left).to_have_text("Session ended")
    await page.screenshot(path=screenshots / "ended.png")
    assert "last words" in Path(path).read_text()
    await ended(site, bob)
    await ended(site, bob)
    await expect(panel.dialog).to_have_count(1)

    await said.get_by_role("button", name="Start again").click()
    await page.get_by_role("heading", name="Server Options").wait_for()
    assert page.url.startswith(f"{site.url}hub/spawn/{bob}")
