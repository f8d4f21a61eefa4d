"""The options form of a real hub: named servers, links, accounts, and what a site puts in its place."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from support import eventually

from launcher.check.page import parse_page
from launcher.sandbox import hub as sandbox_hub
from launcher.sandbox.gateway import Answer

CLUSTER = {
    "partitions": [{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 30}],
    "times": {"choices": [15, 30, 60, 240], "default": 60},
    "memory": ["1G", "2G"],
    "links": ["partition", "time"],
    "accounts": "firecrest",
}
USERINFO = "/status/{system}/userinfo"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def templates(site) -> Path:
    """A hub with named servers, and a directory for templates of the site's."""
    directory = site.state / "hub/templates"
    directory.mkdir()
    ours = Path(sandbox_hub.__file__).with_name("jupyterhub_config.py")
    config = site.state / "hub/config.py"
    config.write_text(
        f"load_subconfig({str(ours)!r})\n"
        "c = get_config()\n"
        "c.JupyterHub.allow_named_servers = True\n"
        f"c.JupyterHub.template_paths = [{str(directory)!r}]\n"
    )
    await site.hub.process.stop()
    site.hub.process._command[-1] = str(config)
    await site.hub.start_hub()
    return directory


async def get(person, path):
    """Open a page of the hub; return what came, through all redirects."""
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    return await person.browser._client.get(f"{person.hub}{path}", headers=headers)


async def send(person, path, **values):
    """Fill the form at an address, untouched by any script, and send it."""
    page = form_of(await get(person, path))
    return await person.browser._client.post(
        page.action,
        files=[(name, (None, value)) for name, value in {**dict(page.filled({})), **values}.items() if name],
        headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    )


def form_of(answer):
    page = parse_page(answer.text, str(answer.url))
    return next(form for form in page.forms if any(control.name == "time" for control in form.controls))


def values(answer):
    return {name: value for name, value in form_of(answer).filled({}) if name}


def said(answer):
    return parse_page(answer.text, str(answer.url)).alerts


# ---- accounts: these come first, while the hub knows nobody's


def accounts(*names):
    told = [{"name": name, "default": name == names[-1]} for name in names]
    return Answer(200, {"user": {}, "group": {}, "groups": [], "accounts": told})


def account_of(answer):
    return next(each for each in form_of(answer).controls if each.name == "account")


async def test_a_users_accounts_are_offered_and_others_refused(site, person):
    alice = await person()
    with site.gateway.faults.answer(accounts("proj1", "$(id)", "sandbox"), path=USERINFO) as fault:
        await get(alice, "spawn")
        answer = await get(alice, "spawn")
        assert account_of(answer).offered == ["proj1", "sandbox"]
        assert values(answer)["account"] == "sandbox"
        assert fault.hits == 1
    refused = await alice.api("POST", f"users/{alice.name}/server", {"user_options": {"account": "proj9"}})
    assert refused.status_code == 400
    assert "must be one of proj1, sandbox" in refused.json()["message"]


async def test_while_firecrest_hangs_an_account_can_be_typed(site, person):
    _, bob = await person(), await person()
    with site.gateway.faults.hang(path=USERINFO):
        answer = await get(bob, "spawn")
    assert answer.status_code == 200
    assert account_of(answer).offered is None
    assert "FirecREST did not tell your Slurm accounts in time." in answer.text
    assert "otherwise your default account is used" in answer.text


# ---- what is in the page


async def test_our_part_of_the_page_passes_a_strict_policy(person):
    alice = await person()
    text = (await get(alice, "spawn")).text
    ours = text[text.index('<link rel="stylesheet" href="/hub/launcher/') : text.index("feedback-container")]
    assert "form.js" in ours
    assert re.findall(r"<script[^>]*>", ours) == re.findall(r'<script src="[^"]*" defer>', ours)
    assert "<style" not in ours
    assert not re.search(r"\s(style|on[a-z]+)\s*=", ours)


@pytest.mark.parametrize(("name", "kind"), [("form.js", "javascript"), ("form.css", "text/css")])
async def test_its_files_need_no_log_in_and_are_kept_by_browsers(site, person, name, kind):
    alice = await person()
    address = re.search(
        rf'(?:src|href)="(/hub/launcher/static/{name}\?v=[0-9a-f]+)"', (await get(alice, "spawn")).text
    )
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
        answer = await client.get(address[1])
        assert answer.status_code == 200
        assert kind in answer.headers["Content-Type"]
        assert "max-age=" in answer.headers["Cache-Control"]
        unnamed = await client.get(address[1].partition("?")[0])
        assert unnamed.headers["Cache-Control"] == "no-cache"
        assert (await client.get("/hub/launcher/static/..%2fform.py")).status_code in (403, 404)


# ---- what is refused


async def test_refused_input_of_a_named_server_comes_back_with_its_errors(person):
    alice = await person()
    answer = await send(alice, f"spawn/{alice.name}/second", partition="debug", time="240", memory="2G")
    assert answer.status_code == 400
    assert values(answer) | {"partition": "debug", "time": "240", "memory": "2G"} == values(answer)
    assert any("must be at most 30 minutes" in text for text in said(answer))
    assert await alice.no_jobs()


async def test_it_is_shown_once_and_to_no_other_server(person):
    alice = await person()
    await send(alice, f"spawn/{alice.name}/second", partition="debug", time="240")
    for path in ("spawn", f"spawn/{alice.name}/second", f"spawn/{alice.name}/third"):
        answer = await get(alice, path)
        assert values(answer)["partition"] == "normal"
        assert said(answer) == []


async def test_servers_and_people_at_the_same_moment_see_their_own(site, person):
    alice, bob = await person(), await person()
    asked = [
        (alice, f"spawn/{alice.name}", "60"),
        (alice, f"spawn/{alice.name}/second", "240"),
        (bob, f"spawn/{bob.name}/second", "60"),
    ]
    answers = await asyncio.gather(
        *(send(someone, path, partition="debug", time=time) for someone, path, time in asked)
    )
    assert [values(answer)["time"] for answer in answers] == [time for _, _, time in asked]


async def test_a_start_that_fails_leaves_the_form_as_it_was_sent(site, person):
    alice = await person()
    path = f"spawn/{alice.name}/second"
    with site.gateway.faults.error(500, "sbatch: error: no", method="POST", path="/compute/{system}/jobs"):
        answer = await send(alice, path, partition="debug", time="15", memory="2G")
    shown = answer if answer.url.path.endswith("/second") else await get(alice, path)
    assert values(shown) | {"partition": "debug", "time": "15", "memory": "2G"} == values(shown)


async def test_an_unknown_field_is_refused_by_name(person):
    alice = await person()
    answer = await send(alice, "spawn", shoe_size="43")
    assert any("shoe_size: is not an option" in text for text in said(answer))


async def test_what_a_rest_call_left_behind_cannot_hurt_the_form(person):
    alice = await person()
    hostile = {
        "partition": '"><script>alert(1)</script>',
        "time": {"a": [1]},
        "memory": None,
        "x": "y" * 10_000,
    }
    assert (
        await alice.api("POST", f"users/{alice.name}/server", {"user_options": hostile})
    ).status_code == 400
    answer = await get(alice, "spawn")
    assert "alert(1)" not in answer.text
    assert values(answer)["partition"] == "normal"
    assert (await alice.api("POST", f"users/{alice.name}/server", {"user_options": {}})).status_code in (
        201,
        202,
    )
    await alice.stop()


# ---- links


async def test_a_link_that_the_cluster_file_allows_starts_at_once(person):
    alice = await person()
    answer = await get(alice, "spawn?opt-partition=debug&opt-time=15")
    assert "/spawn-pending/" in answer.url.path or answer.url.path.startswith("/user/")
    await eventually(alice.has_job)
    await alice.stop()
    # The options of a start are what is chosen the next time.
    assert values(await get(alice, "spawn"))["time"] == "15"


async def test_what_a_link_may_not_choose_starts_nothing_and_is_not_filled_in(person):
    bob = await person()
    answer = await get(bob, "spawn?opt-memory=2G&opt-partition=debug")
    assert answer.status_code == 400
    assert any("can't be chosen by a link; use the form" in text for text in said(answer))
    assert values(answer)["memory"] == "1G"
    assert values(answer)["partition"] == "debug"
    assert await bob.no_jobs()


async def test_a_link_that_chooses_nothing_shows_the_form(person):
    bob = await person()
    answer = await get(bob, "spawn?_xsrf=x")
    assert answer.status_code == 200
    assert "time" in values(answer)
    assert said(answer) == []
    assert await bob.no_jobs()


async def test_a_link_with_any_other_parameter_starts_nothing(person):
    bob = await person()
    assert (await get(bob, "spawn?utm_source=mail")).status_code == 400
    assert await bob.no_jobs()


# ---- a site's own form


async def test_a_site_may_replace_the_form_while_the_hub_runs(site, person, templates):
    alice = await person()
    own = templates / "launcher_form.html"
    try:
        own.write_text(
            '{% extends "launcher/launcher_form.html" %}'
            "{% block heading %}<h2>Welcome {{ user }} & co</h2>{% endblock %}"
        )
        assert f"<h2>Welcome {alice.name} & co</h2>" in (await get(alice, "spawn")).text
        own.write_text("\n{{ nothing.like.that }}")
        answer = await get(alice, "spawn")
        assert "JupyterLab on" in answer.text
        assert "launcher_form.html:2: 'nothing' is undefined" in site.hub.log.read_text()
    finally:
        own.unlink()
    assert "JupyterLab on" in (await get(alice, "spawn")).text
