"""FirecREST's answers, as pyfirecrest hands them on: verdicts on jobs, and errors that are never verdicts."""

import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.clusters import Cluster, UserAccounts
from launcher.errors import FirecrestError, JobRejected
from launcher.spawner import firecrest as module
from launcher.spawner.firecrest import Firecrest, JobStatus, Verdict

CLUSTER = Cluster.model_validate(
    {
        "name": "tiny",
        "title": "Tiny cluster",
        "firecrest": {"url": "http://firecrest.example.org/v2", "system": "tiny"},
        "home": "/home/{user}",
        "launcher": "/opt/launcher/bin/launcher-singleuser",
        "partitions": [{"name": "normal", "time_limit": 480}],
        "node_addresses": ["10.0.0.0/8"],
    }
)
# https://slurm.schedmd.com/job_state_codes.html: those that say "terminated" or the like, and REVOKED.
DEAD = (
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split()
)
ALIVE = (
    "COMPLETING CONFIGURING PENDING POWER_UP_NODE REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING RESV_DEL_HOLD "
    "RUNNING SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED"
).split()
# Flags beside a state, which do not say whether the job lives: one that failed to launch may be queued again.
UNTOLD = "LAUNCH_FAILED RECONFIG_FAIL UPDATE_DB".split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


class Wire:
    """Takes FirecREST's place behind the real pyfirecrest client."""

    def __init__(self):
        self.firecrest = Firecrest(CLUSTER)
        self.requests = []
        self.status = 200
        self.body = b"{}"
        self.error = None
        self.delay = 0

    async def __aenter__(self):
        await self.firecrest._client.close_session()
        self.firecrest._client._session = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        return self

    async def __aexit__(self, *_):
        await self.firecrest._client.close_session()

    def answers(self, body, status=200):
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def refuses(self, status, message):
        body = {"errorType": "error", "message": message, "causedBy": None, "data": None, "user": "alice"}
        self.answers(body, status)

    async def _answer(self, request):
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        if self.error:
            raise self.error
        return httpx.Response(self.status, content=self.body)


@pytest.fixture
async def wire():
    async with Wire() as wire:
        yield wire


def job(**changes):
    """A running job, as measured."""
    fields = {
        "jobId": "42",
        "name": "jupyterhub-launcher",
        "status": {"state": "RUNNING", "stateReason": "None", "exitCode": 0, "interruptSignal": 0},
        "tasks": [],
        "time": {"elapsed": 4, "start": 1795261979, "end": None, "suspended": 0, "limit": 300},
        "nodes": "nid001",
    }
    return {"jobs": [{**fields, **changes}]}


def state(word, **changes):
    return {"state": word, "stateReason": "None", "exitCode": None, "interruptSignal": None, **changes}


async def refused(call):
    with pytest.raises(FirecrestError) as error:
        await call
    return error.value


class TestVerdict:
    @pytest.mark.parametrize("word", DEAD)
    def test_only_documented_terminal_states_are_dead(self, word):
        assert JobStatus(word).verdict is Verdict.DEAD

    @pytest.mark.parametrize("word", ALIVE)
    def test_a_job_that_may_still_run_is_alive(self, word):
        assert JobStatus(word).verdict is Verdict.ALIVE

    @pytest.mark.parametrize(
        "word", [*UNTOLD, "", "completed", "FAILED+", "GONE", "UNKNOWN", "None", "42", "失敗"]
    )
    def test_any_other_word_leaves_it_open(self, word):
        assert JobStatus(word).verdict is Verdict.UNKNOWN

    @given(st.text(max_size=30))
    def test_no_word_raises_anything(self, word):
        assert JobStatus(word).verdict in Verdict


class TestStatus:
    async def test_a_running_job(self, wire):
        wire.answers(job())
        assert await wire.firecrest.status("token", "42") == JobStatus("RUNNING", exit_code=0, nodes="nid001")

    async def test_the_call_asks_for_that_job_with_the_users_token(self, wire):
        wire.answers(job())
        await wire.firecrest.status("alices-token", "42")
        (request,) = wire.requests
        assert (request.method, request.url.path) == ("GET", "/v2/compute/tiny/jobs/42")
        assert request.headers["Authorization"] == "Bearer alices-token"

    async def test_calls_at_once_use_each_its_own_token(self, wire):
        wire.answers({"jobs": [job(jobId=str(each))["jobs"][0] for each in range(20)]})
        await asyncio.gather(*(wire.firecrest.status(f"token-{each}", str(each)) for each in range(20)))
        sent = {
            request.url.path.rpartition("/")[2]: request.headers["Authorization"] for request in wire.requests
        }
        assert sent == {str(each): f"Bearer token-{each}" for each in range(20)}

    async def test_one_that_was_just_submitted(self, wire):
        wire.answers(job(status=state("PENDING"), nodes="", time={"start": None}))
        status = await wire.firecrest.status("token", "42")
        assert status == JobStatus("PENDING")
        assert status.waiting

    async def test_one_that_waits_has_a_reason(self, wire):
        wire.answers(
            job(status=state("PENDING", stateReason="Resources"), nodes="", time={"start": 1795262279})
        )
        status = await wire.firecrest.status("token", "42")
        assert (status.reason, status.waiting) == ("Resources", True)

    async def test_a_row_of_accountings_defaults_is_neither_dead_nor_waiting(self, wire):
        """For some seconds after a start accounting shows PENDING with nodes, and little else."""
        row = {
            "jobId": "42",
            "name": "allocation",
            "status": {"state": "PENDING", "stateReason": "None", "exitCode": 0},
            "partition": "",
            "nodes": "nid001",
            "allocationNodes": 0,
            "workingDirectory": "",
            "group": "root",
            "priority": 0,
        }
        wire.answers({"jobs": [row]})
        status = await wire.firecrest.status("token", "42")
        assert status.verdict is Verdict.ALIVE
        assert not status.waiting

    @pytest.mark.parametrize("word", ["CANCELLED by 1001", "CANCELLED by 0", "CANCELLED"])
    async def test_one_that_was_cancelled_by_anyone(self, wire, word):
        wire.answers(job(status=state(word, stateReason="PartitionDown"), nodes="None assigned"))
        status = await wire.firecrest.status("token", "42")
        assert (status.state, status.verdict, status.nodes) == ("CANCELLED", Verdict.DEAD, "")

    async def test_one_that_was_killed_tells_the_signal(self, wire):
        wire.answers(job(status=state("FAILED", exitCode=0, interruptSignal=9)))
        status = await wire.firecrest.status("token", "42")
        assert (status.exit_code, status.signal) == (0, 9)

    async def test_one_that_firecrest_does_not_know(self, wire):
        wire.refuses(404, "Job not found.")
        assert await wire.firecrest.status("token", "42") is None

    @pytest.mark.parametrize(
        "body", [{"jobs": []}, {"jobs": None}, job(jobId="43"), {"jobs": {"jobId": "42"}}, {"jobs": ["42"]}]
    )
    async def test_an_answer_without_it_is_an_error(self, wire, body):
        wire.answers(body)
        assert (await refused(wire.firecrest.status("token", "42"))).status == 200

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (404, b'{"errorType":"error","message":"System not found"}'),
            (404, b"<html>404 page not found</html>"),
            (404, b'{"message":null}'),
            (410, b"Gone"),
        ],
    )
    async def test_a_404_that_speaks_of_no_job_is_an_error(self, wire, status, body):
        """An ingress says 404 while FirecREST restarts: the job lives on."""
        wire.answers(body, status)
        assert (await refused(wire.firecrest.status("token", "42"))).status == status


class TestHostileAnswers:
    """Nothing but FirecrestError comes out, whatever comes in."""

    @given(JSON)
    async def test_a_status_of_any_shape(self, body):
        async with Wire() as wire:
            for answer in (
                body,
                {"jobs": body},
                {"jobs": [body]},
                job(status=body),
                job(nodes=body, time=body),
            ):
                wire.answers(answer)
                try:
                    status = await wire.firecrest.status("token", "42")
                except FirecrestError:
                    continue
                assert status is None or status.verdict in Verdict

    @given(JSON)
    async def test_fields_of_any_type_are_left_out(self, value):
        async with Wire() as wire:
            words = dict.fromkeys(["state", "stateReason", "exitCode", "interruptSignal"], value)
            wire.answers(job(status=words, time={"start": value}, nodes=value))
            status = await wire.firecrest.status("token", "42")
        assert isinstance(status.state, str)
        assert isinstance(status.reason, str)
        assert isinstance(status.nodes, str)
        assert status.exit_code is None or type(status.exit_code) is int
        assert status.signal is None or type(status.signal) is int

    @given(JSON | st.binary(max_size=30))
    async def test_other_calls_with_an_answer_of_any_shape(self, body):
        async with Wire() as wire:
            for status in (200, 201, 204, 400, 403, 404, 500):
                wire.answers(body, status)
                for call in (
                    wire.firecrest.submit("token", "#!/bin/bash", "/home/alice"),
                    wire.firecrest.cancel("token", "42"),
                    wire.firecrest.status("token", "42"),
                ):
                    try:
                        await call
                    except FirecrestError:
                        continue
                assert isinstance(await wire.firecrest.log_tail("token", "/home/alice/job.log"), list)

    async def test_words_without_end_are_cut(self, wire):
        wire.answers(job(status=state("X" * 10_000, stateReason="Y" * 10_000), nodes="n" * 10_000))
        status = await wire.firecrest.status("token", "42")
        assert max(len(status.state), len(status.reason), len(status.nodes)) <= 200


class TestErrors:
    """An error is never a verdict."""

    @pytest.mark.parametrize("status", [400, 401, 403, 408, 429, 500, 502, 503, 504])
    async def test_a_refusal_has_the_status_and_the_words_of_firecrest(self, wire, status):
        wire.refuses(status, "busy")
        error = await refused(wire.firecrest.status("token", "42"))
        assert (error.status, error.why) == (status, "HTTP 400" if status == 400 else "busy")

    @pytest.mark.parametrize(
        ("problem", "may_have_happened"),
        [
            (httpx.ConnectError("refused"), False),
            (httpx.ReadTimeout("late"), True),
            (httpx.ReadError("reset"), True),
            (httpx.RemoteProtocolError("no HTTP"), True),
        ],
        ids=lambda value: type(value).__name__,
    )
    async def test_no_answer_has_no_status_and_only_a_connection_that_never_was_is_certain(
        self, wire, problem, may_have_happened
    ):
        wire.error = problem
        error = await refused(wire.firecrest.submit("token", "#!/bin/bash", "/home/alice"))
        assert error.status is None
        assert error.may_have_happened is may_have_happened
        assert error.what == "FirecREST did not answer."
        assert error.why == f"{type(problem).__name__} at http://firecrest.example.org/v2"
        assert error.todo

    async def test_an_answer_that_takes_too_long_is_none(self, wire, monkeypatch):
        monkeypatch.setattr(module, "CALL_TIMEOUT", 0.05)
        wire.delay = 60
        assert (await refused(wire.firecrest.status("token", "42"))).status is None

    async def test_no_error_shows_the_token_or_the_script(self, wire):
        script = "#!/bin/bash\nlaunch_ticket=s3cret"
        wire.answers({"errorType": "validation", "message": f"bad value: {script}"}, 400)
        error = await refused(wire.firecrest.submit("t0ken", script, "/home/alice"))
        assert "s3cret" not in f"{error} {error!r}"
        assert "t0ken" not in f"{error} {error!r}"


class TestSubmit:
    async def test_the_script_goes_into_the_body_and_nothing_into_the_environment(self, wire):
        wire.answers({"jobId": "42"}, 201)
        assert await wire.firecrest.submit("token", "#!/bin/bash", "/home/alice") == "42"
        (request,) = wire.requests
        assert (request.method, request.url.path) == ("POST", "/v2/compute/tiny/jobs")
        assert json.loads(request.content) == {
            "job": {"working_directory": "/home/alice", "script": "#!/bin/bash"}
        }

    async def test_an_id_may_be_a_number(self, wire):
        wire.answers({"jobId": 42}, 201)
        assert await wire.firecrest.submit("token", "#!/bin/bash", "/home/alice") == "42"

    @pytest.mark.parametrize(
        "body",
        [{}, {"jobId": None}, {"jobId": "42; rm"}, {"jobId": "\uff14\uff12"}, {"jobId": [42]}, [], None],
    )
    async def test_a_job_without_an_id_may_exist(self, wire, body):
        wire.answers(body, 201)
        error = await refused(wire.firecrest.submit("token", "#!/bin/bash", "/home/alice"))
        assert error.status == 201
        assert not isinstance(error, JobRejected)

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (500, "exit_status:1 std_err:sbatch: error: invalid partition specified: gpu"),
            (403, "Job violates accounting/QOS policy"),
        ],
    )
    async def test_a_plain_refusal_of_the_scheduler_is_told_in_its_words(self, wire, status, words):
        wire.refuses(status, words)
        error = await refused(wire.firecrest.submit("token", "#!/bin/bash", "/home/alice"))
        assert isinstance(error, JobRejected)
        assert error.why == words

    @pytest.mark.parametrize(
        ("status", "words"),
        [(500, "('Channel not open for sending',)"), (408, "Command timed out"), (504, "")],
    )
    async def test_any_other_failure_leaves_open_whether_the_job_exists(self, wire, status, words):
        wire.refuses(status, words)
        error = await refused(wire.firecrest.submit("token", "#!/bin/bash", "/home/alice"))
        assert not isinstance(error, JobRejected)
        assert error.status == status


class TestCancel:
    async def test_a_job_is_cancelled_by_its_id(self, wire):
        wire.answers(b"", 204)
        await wire.firecrest.cancel("token", "42")
        assert (wire.requests[0].method, wire.requests[0].url.path) == ("DELETE", "/v2/compute/tiny/jobs/42")

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (500, "scancel: error: Kill job error on job id 42: Invalid job id specified"),
            (500, "scancel: error: Kill job error on job id 42: Job/step already completing or completed"),
            (404, "Job not found."),
        ],
    )
    async def test_one_that_has_ended_counts_as_cancelled(self, wire, status, words):
        wire.refuses(status, words)
        await wire.firecrest.cancel("token", "42")

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (500, "Access/permission denied"),
            (408, "Command timed out"),
            (503, "unhealthy"),
            (404, "System not found"),
        ],
    )
    async def test_anything_else_is_not_cancelled_yet(self, wire, status, words):
        wire.refuses(status, words)
        assert (await refused(wire.firecrest.cancel("token", "42"))).status == status


class TestLogTail:
    async def test_the_last_lines_of_a_file(self, wire):
        wire.answers(
            {
                "output": {
                    "content": "one\ntwo\nthree\n",
                    "contentType": "lines",
                    "startPosition": 0,
                    "endPosition": 2,
                }
            }
        )
        assert await wire.firecrest.log_tail("token", "/home/alice/job.log", lines=2) == ["two", "three"]
        (request,) = wire.requests
        assert request.url.path == "/v2/filesystem/tiny/ops/tail"
        assert (request.url.params["path"], request.url.params["lines"]) == ("/home/alice/job.log", "2")

    @pytest.mark.parametrize("status", [400, 403, 404, 500])
    async def test_a_file_that_can_not_be_read_has_none(self, wire, status):
        wire.refuses(status, "No such file")
        assert await wire.firecrest.log_tail("token", "/home/alice/job.log") == []

    @pytest.mark.parametrize(
        "body", [{}, [], {"output": None}, {"output": {"content": None}}, {"output": {"content": ["x"]}}]
    )
    async def test_an_answer_of_another_shape_has_none(self, wire, body):
        wire.answers(body)
        assert await wire.firecrest.log_tail("token", "/home/alice/job.log") == []


class TestAccounts:
    @staticmethod
    def told(*accounts):
        return {"user": {"id": "1", "name": "alice"}, "group": {}, "groups": [], "accounts": list(accounts)}

    async def test_they_are_told_with_the_default(self, wire):
        wire.answers(self.told({"name": "proj1", "default": False}, {"name": "proj2", "default": True}))
        assert await wire.firecrest.accounts("token") == UserAccounts(("proj1", "proj2"), "proj2")
        assert wire.requests[0].url.path == "/v2/status/tiny/userinfo"
        assert wire.requests[0].headers["Authorization"] == "Bearer token"

    async def test_one_of_several_partitions_is_told_once(self, wire):
        wire.answers(self.told({"name": "proj1"}, {"name": "proj1", "default": True}))
        assert await wire.firecrest.accounts("token") == UserAccounts(("proj1",), "proj1")

    async def test_somebody_may_have_none(self, wire):
        wire.answers(self.told())
        assert await wire.firecrest.accounts("token") == UserAccounts(())

    async def test_a_server_that_does_not_tell_them_yet_is_an_error(self, wire):
        wire.answers({"user": {}, "group": {}, "groups": []})
        assert (await refused(wire.firecrest.accounts("token"))).what == (
            "FirecREST does not tell your Slurm accounts."
        )

    @given(JSON)
    async def test_no_answer_is_misread(self, answer):
        async with Wire() as wire:
            wire.answers(answer)
            try:
                told = await wire.firecrest.accounts("token")
            except FirecrestError:
                return
            assert all(isinstance(name, str) and name for name in told.names)
