"""`launcher smoke`: its command line, and what it does with a hub on a bad day."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from click.testing import CliRunner
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from launcher.check import Report, Step, smoke
from launcher.check.address import hub_address, is_within, require_private
from launcher.check.browser import Browser
from launcher.cli import cli
from launcher.errors import MissingPart, UsageError

TOKEN = "a-token-of-the-hub"
HUB = "https://hub.example.org"
READY = {"ready": True, "url": "/user/alice/", "message": "ready"}
STOPPED = {"stopped": True, "pending": None, "ready": False}
ALL = ["servers", "read:servers", "start:servers", "delete:servers", "access:servers"]


@pytest.fixture
def command(monkeypatch):
    """Return a function that runs the command line, and the calls that it leads to."""
    calls = []

    async def run(*arguments, **settings):
        calls.append((arguments, settings))

    module = types.ModuleType("launcher.check.smoke")
    module.run = run
    monkeypatch.setitem(sys.modules, "launcher.check.smoke", module)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)

    def launch(*arguments):
        done = CliRunner().invoke(cli, ["smoke", *arguments])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    launch.calls = calls
    return launch


class TestCommandLine:
    def test_a_hub_is_enough(self, command):
        assert command(HUB).exit_code == 0
        ((arguments, settings),) = command.calls
        assert arguments == (HUB,)
        assert settings == {
            "token": TOKEN,
            "user": "",
            "server": "",
            "options": {},
            "start_timeout": 600,
            "allow_http": False,
            "as_json": False,
        }

    def test_the_cluster_is_an_option_of_the_server(self, command):
        command(HUB, "daint", "-o", "time=30", "-o", "note=a=b")
        assert command.calls[0][1]["options"] == {"cluster": "daint", "time": "30", "note": "a=b"}

    def test_the_rest_is_handed_on(self, command):
        command(
            *(HUB, "--user", "alice", "--server", "smoke", "--timeout", "5", "--allow-http", "--json"),
        )
        settings = command.calls[0][1]
        assert (settings["user"], settings["server"], settings["start_timeout"]) == ("alice", "smoke", 5)
        assert settings["allow_http"]
        assert settings["as_json"]

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            [HUB, "daint", "eiger"],
            [HUB, "-o", "x"],
            [HUB, "-o", "a=1", "-o", "a=2"],
            [HUB, "--timeout", "0"],
        ],
    )
    def test_a_wrong_one_ends_with_2(self, command, arguments):
        assert command(*arguments).exit_code == 2
        assert command.calls == []

    def test_a_cluster_that_is_given_twice_is_refused(self, command):
        with pytest.raises(UsageError, match="The cluster was given twice"):
            command(HUB, "daint", "-o", "cluster=eiger")

    @pytest.mark.parametrize("value", ["", "  \n"])
    def test_without_a_token_it_says_where_it_is_sought(self, command, monkeypatch, value):
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", value)
        with pytest.raises(UsageError, match="JUPYTERHUB_API_TOKEN is not set") as error:
            command(HUB)
        assert "/hub/token" in str(error.value)

    @pytest.mark.parametrize("value", ["secret secret", "secret\nsecret", "sécret"])
    def test_what_is_no_token_is_not_shown(self, command, monkeypatch, value):
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", value)
        with pytest.raises(UsageError, match="JUPYTERHUB_API_TOKEN holds no token") as error:
            command(HUB)
        assert "cret" not in str(error.value).replace("secrets", "")

    def test_a_line_end_after_a_token_is_not_part_of_it(self, command, monkeypatch):
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", f"{TOKEN}\n")
        command(HUB)
        assert command.calls[0][1]["token"] == TOKEN

    def test_a_base_install_names_the_extra(self, command, monkeypatch):
        monkeypatch.setitem(sys.modules, "launcher.check.smoke", None)
        with pytest.raises(MissingPart, match=r"firecrest-launcher\[hub\]"):
            command(HUB)

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [
            (f"{HUB} dai", "plain,daint"),
            (f"{HUB} --allo", "plain,--allow-http"),
            (f"{HUB} daint -o environment=jul", "plain,environment=julia"),
        ],
    )
    def test_completion_works_for_shells(self, typed, offered):
        words = f"smoke {typed}".split()
        environment = {
            "_LAUNCHER_COMPLETE": "bash_complete",
            "COMP_WORDS": f"launcher smoke {typed}",
            "COMP_CWORD": str(len(words)),
        }
        done = CliRunner().invoke(cli, prog_name="launcher", env=environment)
        assert offered in done.output.splitlines()


class TestAddresses:
    @pytest.mark.parametrize(
        ("given", "hub"),
        [
            ("https://h", "https://h/hub/"),
            ("https://h/", "https://h/hub/"),
            ("https://h/hub", "https://h/hub/"),
            ("https://h/hub/home", "https://h/hub/"),
            ("https://h/hub/login?next=%2Fhub%2F", "https://h/hub/"),
            ("https://h:8443/site/hub/", "https://h:8443/site/hub/"),
            ("https://h/site", "https://h/site/hub/"),
        ],
    )
    def test_any_page_of_a_hub_leads_to_it(self, given, hub):
        assert hub_address(given) == hub

    @pytest.mark.parametrize("url", ["https://alice:pw@h/", "https://pw@h", "https://alice:pw@h:bad/"])
    def test_one_with_a_password_is_refused_without_showing_it(self, url):
        with pytest.raises(UsageError) as error:
            hub_address(url)
        assert "pw" not in str(error.value)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://[::1]/", "http://hub.localhost/", HUB])
    def test_a_token_may_go_to_this_machine_or_by_https(self, url):
        require_private(url)

    @pytest.mark.parametrize("url", ["http://hub.example.org/", "http://10.0.0.1/", "http://localhost.evil/"])
    async def test_a_token_may_not_travel_in_the_clear(self, url):
        with pytest.raises(UsageError, match="is not encrypted") as error:
            await smoke(url, token=TOKEN)
        assert "--allow-http" in str(error.value)
        assert TOKEN not in str(error.value)

    @pytest.mark.parametrize(
        ("url", "within"),
        [
            ("https://hub.example.org/user/alice/lab", True),
            ("https://hub.example.org:443/", True),
            ("https://alice.hub.example.org/user/alice/", True),
            ("http://hub.example.org/", False),
            ("https://hub.example.org:8443/", False),
            ("https://example.org/", False),
            ("https://evilhub.example.org/", False),
            ("https://hub.example.org.evil/", False),
            ("https://hub.example.org@evil/", False),
            ("http://[", False),
        ],
    )
    def test_a_site_is_its_host_and_what_is_below_it(self, url, within):
        assert is_within(url, HUB) is within


@dataclass
class Behaviour:
    """What the stand-in for a hub does: all is well, unless a test says otherwise."""

    owner: dict[str, Any] = field(default_factory=lambda: {"kind": "user", "name": "alice", "scopes": ALL})
    user_status: int = 200
    server: dict[str, Any] | None = None
    start: tuple[int, str] | None = (202, "")
    started_by_hub: bool = True
    progress: list[list[dict[str, Any]] | int] = field(default_factory=lambda: [[READY]])
    outages: int = 0
    forgets: int = 0
    running: bool = False
    body: Any = None
    stored: dict[str, Any] | None = None
    deleted: list[Any] = field(default_factory=list)
    stop_takes: float = 0.0
    launches: list[list[dict[str, str]]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    tokens: set[str | None] = field(default_factory=set)
    lab: Callable[[], object] = lambda: None


class Handler(RequestHandler):
    def initialize(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def prepare(self) -> None:
        self.behaviour.tokens.add(self.request.headers.get("Authorization"))

    def fails(self, status: int, message: str = "") -> None:
        self.set_status(status)
        self.finish({"status": status, "message": message})


class Owner(Handler):
    def get(self) -> None:
        if self.behaviour.owner:
            self.finish(self.behaviour.owner)
        else:
            self.fails(403, "Missing or invalid credentials.")


class User(Handler):
    def get(self) -> None:
        behaviour = self.behaviour
        if behaviour.user_status != 200:
            self.fails(behaviour.user_status)
            return
        if behaviour.running and behaviour.outages:
            behaviour.outages -= 1
            self.fails(503)
            return
        shown = behaviour.running
        if shown and behaviour.forgets:
            behaviour.forgets -= 1
            shown = False
        mine = {"pending": None, "ready": False, "stopped": False, "started": "10:00"}
        server = behaviour.server or (mine if shown else None)
        if "include_stopped_servers" in self.request.arguments:
            server = server or behaviour.stored
        self.finish({"name": "alice", "servers": {name: server for name in ("", "smoke") if server}})


class Server(Handler):
    async def post(self) -> None:
        behaviour = self.behaviour
        behaviour.body = json.loads(self.request.body)
        behaviour.running = behaviour.started_by_hub
        if behaviour.start is None:
            await behaviour.gone.wait()
            self.fails(500, "cancelled")
            return
        status, message = behaviour.start
        if status < 400:
            self.set_status(status)
        else:
            self.fails(status, message)

    async def delete(self) -> None:
        behaviour = self.behaviour
        behaviour.deleted.append(json.loads(self.request.body or "null"))
        behaviour.stored = STOPPED if behaviour.running and "/servers/" in self.request.path else None
        behaviour.gone.set()
        await asyncio.sleep(behaviour.stop_takes)
        behaviour.running = False
        behaviour.server = None
        self.set_status(204)


class Progress(Handler):
    def get(self) -> None:
        progress = self.behaviour.progress
        events = progress.pop(0) if len(progress) > 1 else progress[0]
        if isinstance(events, int):
            self.fails(events)
            return
        for event in events:
            self.write(f"data: {json.dumps(event)}\n\n")


class Launches(Handler):
    """What the launcher tells of jobs; a hub with another spawner has nothing there."""

    def get(self) -> None:
        told = self.behaviour.launches
        if told:
            self.finish({"launches": told.pop(0) if len(told) > 1 else told[0]})
        else:
            self.fails(404)


class Lab(Handler):
    def get(self) -> None:
        self.behaviour.lab()
        self.set_status(500)
        self.finish("<title>The server broke</title>")


@asynccontextmanager
async def listening(routes: list[Any]) -> AsyncIterator[str]:
    server = HTTPServer(Application(routes))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[str]:
    routes = {
        "/hub/api/user": Owner,
        "/hub/api/users/alice": User,
        "/hub/api/users/alice/server": Server,
        "/hub/api/users/alice/servers/smoke": Server,
        "/hub/api/users/alice/servers?/(?:smoke/)?progress": Progress,
        "/hub/api/launcher/launches": Launches,
        "/user/alice/lab": Lab,
    }
    async with listening([(path, each, {"behaviour": behaviour}) for path, each in routes.items()]) as url:
        yield url


Run = Callable[..., Awaitable[Report]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the check; JupyterLab is broken, so that it ends there at the latest."""
    monkeypatch.setattr("launcher.check.server._PAUSE", 0.01)
    monkeypatch.setattr("launcher.check.errand._PAUSE", 0.01)
    monkeypatch.setattr("launcher.check.server._HUB_RESUMES", 0.5)

    async def run(behaviour: Behaviour, **settings: Any) -> Report:
        async with serving(behaviour) as url:
            report = await smoke(url, **{"token": TOKEN, **settings})
        assert TOKEN not in report.to_json()
        return report

    return run


def failures(report: Report) -> dict[str, str]:
    return {step.name: step.detail for step in report.steps if not step.ok}


def names(report: Report) -> list[str]:
    return [step.name for step in report.steps]


class TestToken:
    async def test_it_is_in_every_request(self, run):
        behaviour = Behaviour()
        await run(behaviour)
        assert behaviour.tokens == {f"token {TOKEN}"}

    async def test_it_goes_to_no_other_site_also_not_by_a_redirect(self):
        class Elsewhere(RequestHandler):
            def get(self) -> None:
                self.redirect(other.replace("127.0.0.1", "localhost") + "/user/alice/lab")

        ours, theirs = Behaviour(), Behaviour()
        async with (
            serving(theirs) as other,
            serving(ours) as url,
            listening([("/hub/away", Elsewhere)]) as site,
            Browser(token=TOKEN, site=f"{site}/hub/") as browser,
        ):
            await browser.open(f"{site}/hub/away")
            await browser.call("GET", f"{url}/hub/api/user")
        assert theirs.tokens == {None}
        assert ours.tokens == {None}

    async def test_a_wrong_one_is_said_so(self, run):
        told = failures(await run(Behaviour(owner={})))
        assert told["token"].startswith(
            "The hub does not accept the token.\nIt answered 403: Missing or invalid credentials."
        )

    @pytest.mark.parametrize("where", ["", "!user=alice", "!server=alice/", "!group=testers"])
    async def test_rights_may_be_narrow(self, run, where):
        scopes = [f"{scope}{where}" for scope in ALL]
        report = await run(Behaviour(owner={"kind": "service", "name": "s", "scopes": scopes}), user="alice")
        assert "token" not in failures(report)

    @pytest.mark.parametrize("where", ["!user=bob", "!server=alice/smoke", "!server=alice"])
    async def test_rights_to_something_else_do_not_count(self, run, where):
        scopes = [f"{scope}{where}" for scope in ALL]
        told = failures(await run(Behaviour(owner={"kind": "user", "name": "alice", "scopes": scopes})))
        assert "has no right to read:servers, start:servers, delete:servers, access:servers" in told["token"]
        assert "servers!user=alice and access:servers!user=alice" in told["token"]

    async def test_a_services_needs_a_user(self, run):
        told = failures(await run(Behaviour(owner={"kind": "service", "name": "cron", "scopes": ALL})))
        assert (
            "the service cron, which has no servers.\nSay whose server to start: --user NAME" in told["token"]
        )

    async def test_a_user_whom_nobody_knows(self, run):
        told = failures(await run(Behaviour(user_status=404)))
        assert told["token"].startswith("The hub knows no user alice.")

    @pytest.mark.parametrize("status", [404, 502])
    async def test_what_is_no_hub_is_said_so(self, status):
        class Other(Handler):
            def get(self) -> None:
                self.set_status(status)

        async with listening([("/.*", Other, {"behaviour": Behaviour()})]) as url:
            report = await smoke(url, token=TOKEN)
        assert f"/hub/api/user answered {status}.\nIs this a hub's address?" in failures(report)["token"]

    async def test_a_log_in_page_before_the_hub_is_said_so(self):
        class Page(RequestHandler):
            def get(self) -> None:
                self.finish("<form>Who are you?</form>")

        async with listening([("/.*", Page)]) as url:
            report = await smoke(url, token=TOKEN)
        assert "/hub/api/user is not a hub's API.\nIt did not answer with JSON." in failures(report)["token"]

    async def test_a_hub_that_is_not_there_is_said_so(self):
        report = await smoke("http://127.0.0.1:1", token=TOKEN)
        assert "http://127.0.0.1:1/hub/api/user gave no answer." in failures(report)["token"]


class TestRequest:
    async def test_options_are_sent_as_an_object_and_without_any_the_defaults_are_asked_for(self, run):
        behaviour = Behaviour()
        await run(behaviour)
        assert behaviour.body == {"user_options": {}}
        await run(behaviour, options={"cluster": "daint", "time": "30"})
        assert behaviour.body == {"user_options": {"cluster": "daint", "time": "30"}}

    async def test_a_server_that_is_there_is_not_touched(self, run):
        behaviour = Behaviour(server={"stopped": False, "pending": None, "ready": True})
        report = await run(behaviour)
        assert names(report) == ["token", "request"]
        assert "alice has that server already; it is running." in failures(report)["request"]
        assert (behaviour.body, behaviour.deleted) == (None, [])

    async def test_a_refusal_is_told_and_nothing_is_stopped(self, run):
        behaviour = Behaviour(start=(429, "Too many servers"), started_by_hub=False, progress=[400])
        report = await run(behaviour)
        told = "The hub refused to start the server.\nIt answered 429: Too many servers.\nall defaults"
        assert failures(report) == {"request": told}
        assert behaviour.deleted == []

    async def test_somebody_elses_server_that_was_quicker_is_not_touched(self, run):
        behaviour = Behaviour(start=(400, "already running"), started_by_hub=False, progress=[[READY]])
        report = await run(behaviour)
        assert "already running" in failures(report)["request"]
        assert behaviour.deleted == []

    async def test_a_start_that_fails_at_once_tells_what_a_person_reads(self, run):
        event = {
            "failed": True,
            "message": "Spawn failed: Job 7 ended",
            "html_message": "<pre>out of memory</pre>",
        }
        behaviour = Behaviour(start=(400, "no"), started_by_hub=False, progress=[[event]])
        report = await run(behaviour)
        assert failures(report) == {"start": "Spawn failed: Job 7 ended\nout of memory"}
        assert names(report)[-2:] == ["stop", "job gone"]

    async def test_what_stands_before_a_hub_may_lose_patience(self, run):
        behaviour = Behaviour(start=(504, "Gateway timeout"), progress=[400, [READY]])
        report = await run(behaviour)
        assert list(failures(report)) == ["JupyterLab"]
        assert behaviour.deleted == [None]

    async def test_progress_is_followed_before_the_hub_has_answered(self, run):
        behaviour = Behaviour(start=None)
        report = await run(behaviour)
        assert list(failures(report)) == ["JupyterLab"]
        assert behaviour.deleted == [None]


class TestEnd:
    async def test_what_does_not_hold_ends_the_run_and_the_server_is_stopped(self, run):
        behaviour = Behaviour()
        report = await run(behaviour)
        assert not report.ok
        assert names(report) == ["token", "request", "start", "JupyterLab", "stop", "job gone"]
        assert list(failures(report)) == ["JupyterLab"]
        assert behaviour.deleted == [None]
        assert report.steps[-1].detail.startswith("the hub shows no server any more")

    async def test_a_hub_that_restarts_is_waited_for_until_it_takes_the_start_up_again(self, run):
        behaviour = Behaviour(progress=[[{"message": "pending"}], 502, [READY]], outages=2, forgets=5)
        report = await run(behaviour)
        assert list(failures(report)) == ["JupyterLab"]
        assert behaviour.deleted == [None]

    async def test_a_start_that_the_hub_forgot_for_good_is_a_failure(self, run):
        behaviour = Behaviour(progress=[[{"message": "pending"}], 400], outages=1, forgets=10**6)
        assert failures(await run(behaviour))["start"].startswith("The hub no longer starts the server.")

    async def test_a_server_that_somebody_else_started_in_its_place_is_not_touched(self, run):
        behaviour = Behaviour(progress=[[{"message": "pending"}], [READY]])
        theirs = {"pending": None, "ready": True, "stopped": False, "started": "11:00"}
        behaviour.lab = lambda: setattr(behaviour, "server", theirs)
        report = await run(behaviour)
        assert behaviour.deleted == []
        assert report.steps[-2].detail == "nothing was left running"

    async def test_a_named_server_that_is_new_is_removed_once_it_is_gone(self, run):
        behaviour = Behaviour()
        assert list(failures(await run(behaviour, server="smoke"))) == ["JupyterLab"]
        assert behaviour.deleted == [None, {"remove": True}]

    async def test_a_named_server_that_was_there_before_stays(self, run):
        behaviour = Behaviour(stored=STOPPED)
        assert list(failures(await run(behaviour, server="smoke"))) == ["JupyterLab"]
        assert behaviour.deleted == [None]

    async def test_a_job_that_is_still_ending_is_waited_for(self, run):
        mine = {"user": "alice", "server": "", "phase": "ending", "job_id": "7"}
        others = [{**mine, "user": "bob"}, {**mine, "server": "smoke"}, {**mine, "phase": "ready"}]
        behaviour = Behaviour(launches=[[*others, mine], [*others, mine], others])
        report = await run(behaviour)
        assert behaviour.launches == [others]
        assert report.steps[-1].detail == "the hub shows no server any more; its job is gone"

    async def test_a_hub_that_tells_nothing_of_jobs_is_no_failure(self, run):
        report = await run(Behaviour())
        assert report.steps[-1].ok
        assert report.steps[-1].detail == "the hub shows no server any more; of its job it tells nothing"

    async def test_an_interrupted_one_stops_the_server_and_says_so(self, run):
        told: list[Step] = []
        behaviour = Behaviour(progress=[400])
        task = asyncio.create_task(run(behaviour, on_step=told.append))
        async with asyncio.timeout(30):
            while [step.name for step in told] != ["token", "request"]:
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [(step.name, step.ok) for step in told[2:]] == [
            ("start", False),
            ("stop", True),
            ("job gone", True),
        ]
        assert behaviour.deleted == [None]

    async def test_one_that_is_interrupted_while_it_cleans_up_does_so_to_the_end(self, run):
        behaviour = Behaviour(stop_takes=0.3)
        task = asyncio.create_task(run(behaviour, on_step=lambda step: told.append(step.name)))
        told: list[str] = []
        async with asyncio.timeout(30):
            while not behaviour.deleted:
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert told[-2:] == ["stop", "job gone"]
        assert not behaviour.running

    async def test_a_time_out_stops_the_server(self, run):
        behaviour = Behaviour(progress=[400])
        report = await run(behaviour, start_timeout=0.2)
        assert failures(report)["start"].startswith("It was not done after 0.2 s.")
        assert behaviour.deleted == [None]
