"""FirecREST's answers, as pyfirecrest hands them on: verdicts on jobs, and errors that are never verdicts."""

import asyncio
import contextlib
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.clusters import Cluster, UserAccounts
from launcher.errors import FirecrestError, JobRejected
from launcher.firecrest import Firecrest, JobStatus, Verdict
from launcher.firecrest import client as module
from launcher.firecrest.client import AT_ONCE

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
# Slurm's own words: slurm_strerror, src/common/slurm_errno.c
NOT_ANSWERED = (
    "Socket timed out on send/recv operation",
    "Zero Bytes were transmitted or received",
    "Message receive failure",
    "Unable to contact slurm controller (connect failure)",
)
BUSY = "Unable to open a new SSH channel."
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


class Somebody:
    """An identity whose every token is another one, once the last was refused."""

    everybody = False

    def __init__(self, token="token", name="alice"):
        self.key = self.name = name
        self.tokens = [token, f"{token} anew"]
        self.asked = []

    async def token(self, refused=""):
        self.asked.append(refused)
        return next(each for each in self.tokens if each != refused)


ALICE = Somebody()


class Wire:
    """Takes FirecREST's place behind the real pyfirecrest client."""

    def __init__(self):
        self.heard = []
        self.firecrest = Firecrest(CLUSTER, lambda *told: self.heard.append(told[:2]))
        self.requests = []
        self.first = []  # answers before the one that stays, as (status, message)
        self.at_once = self.most_at_once = 0
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
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.at_once -= 1
        if self.error:
            raise self.error
        if self.first:
            status, message = self.first.pop(0)
            return httpx.Response(status, json={"errorType": "error", "message": message})
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
        assert await wire.firecrest.status(ALICE, "42") == JobStatus(
            "RUNNING", exit_code=0, nodes="nid001", start=1795261979
        )

    async def test_the_call_asks_for_that_job_with_the_users_token(self, wire):
        wire.answers(job())
        await wire.firecrest.status(Somebody("alices-token"), "42")
        (request,) = wire.requests
        assert (request.method, request.url.path) == ("GET", "/v2/compute/tiny/jobs/42")
        assert request.headers["Authorization"] == "Bearer alices-token"

    async def test_calls_at_once_use_each_its_own_token(self, wire):
        wire.answers({"jobs": [job(jobId=str(each))["jobs"][0] for each in range(20)]})
        await asyncio.gather(
            *(wire.firecrest.status(Somebody(f"token-{each}"), str(each)) for each in range(20))
        )
        sent = {
            request.url.path.rpartition("/")[2]: request.headers["Authorization"] for request in wire.requests
        }
        assert sent == {str(each): f"Bearer token-{each}" for each in range(20)}

    async def test_one_that_was_just_submitted(self, wire):
        wire.answers(job(status=state("PENDING"), nodes="", time={"start": None}))
        status = await wire.firecrest.status(ALICE, "42")
        assert status == JobStatus("PENDING")
        assert status.waiting

    async def test_one_that_waits_has_a_reason(self, wire):
        wire.answers(
            job(status=state("PENDING", stateReason="Resources"), nodes="", time={"start": 1795262279})
        )
        status = await wire.firecrest.status(ALICE, "42")
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
        status = await wire.firecrest.status(ALICE, "42")
        assert status.verdict is Verdict.ALIVE
        assert not status.waiting

    @pytest.mark.parametrize("word", ["CANCELLED by 1001", "CANCELLED by 0", "CANCELLED"])
    async def test_one_that_was_cancelled_by_anyone(self, wire, word):
        wire.answers(job(status=state(word, stateReason="PartitionDown"), nodes="None assigned"))
        status = await wire.firecrest.status(ALICE, "42")
        assert (status.state, status.verdict, status.nodes) == ("CANCELLED", Verdict.DEAD, "")

    async def test_one_that_was_killed_tells_the_signal(self, wire):
        wire.answers(job(status=state("FAILED", exitCode=0, interruptSignal=9)))
        status = await wire.firecrest.status(ALICE, "42")
        assert (status.exit_code, status.signal) == (0, 9)

    async def test_one_that_firecrest_does_not_know(self, wire):
        wire.refuses(404, "Job not found.")
        assert await wire.firecrest.status(ALICE, "42") is None

    @pytest.mark.parametrize(
        "body", [{"jobs": []}, {"jobs": None}, job(jobId="43"), {"jobs": {"jobId": "42"}}, {"jobs": ["42"]}]
    )
    async def test_an_answer_without_it_is_an_error(self, wire, body):
        wire.answers(body)
        assert (await refused(wire.firecrest.status(ALICE, "42"))).status == 200

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
        assert (await refused(wire.firecrest.status(ALICE, "42"))).status == status


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
                    status = await wire.firecrest.status(ALICE, "42")
                except FirecrestError:
                    continue
                assert status is None or status.verdict in Verdict

    @given(JSON)
    async def test_fields_of_any_type_are_left_out(self, value):
        async with Wire() as wire:
            words = dict.fromkeys(["state", "stateReason", "exitCode", "interruptSignal"], value)
            wire.answers(job(status=words, time={"start": value}, nodes=value))
            status = await wire.firecrest.status(ALICE, "42")
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
                    wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"),
                    wire.firecrest.cancel(ALICE, "42"),
                    wire.firecrest.status(ALICE, "42"),
                ):
                    try:
                        await call
                    except FirecrestError:
                        continue
                assert isinstance(await wire.firecrest.log_tail(ALICE, "/home/alice/job.log"), list)

    async def test_words_without_end_are_cut(self, wire):
        wire.answers(job(status=state("X" * 10_000, stateReason="Y" * 10_000), nodes="n" * 10_000))
        status = await wire.firecrest.status(ALICE, "42")
        assert max(len(status.state), len(status.reason), len(status.nodes)) <= 200


@pytest.mark.usefixtures("virtual_time")
class TestErrors:
    """An error is never a verdict."""

    @pytest.mark.parametrize("status", [400, 401, 403, 408, 429, 500, 502, 503, 504])
    async def test_a_refusal_has_the_status_and_the_words_of_firecrest(self, wire, status):
        wire.refuses(status, "busy")
        error = await refused(wire.firecrest.status(ALICE, "42"))
        assert (error.status, error.why) == (status, "HTTP 400" if status == 400 else "busy")

    @pytest.mark.parametrize(
        ("problem", "may_have_happened"),
        [
            (httpx.ConnectError("refused"), False),
            (httpx.ConnectTimeout("late"), False),
            (httpx.PoolTimeout("late"), False),
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
        error = await refused(wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"))
        assert error.status is None
        assert error.may_have_happened is may_have_happened
        assert error.what == "FirecREST did not answer."
        assert error.why == f"{type(problem).__name__} at http://firecrest.example.org/v2"
        assert error.todo

    async def test_an_answer_that_takes_too_long_is_none(self, wire, virtual_time):
        wire.delay = 3600
        assert (await refused(wire.firecrest.status(ALICE, "42"))).status is None
        assert virtual_time.elapsed <= module.CALL_TIMEOUT + 1

    @pytest.mark.parametrize("body", [b'{"jobs": [{"jobId": "42", "sta', b"", b"<html>\xff</html>"])
    async def test_an_answer_that_is_cut_off_or_no_json_is_none(self, wire, body):
        wire.answers(body)
        assert (await refused(wire.firecrest.status(ALICE, "42"))).status is None
        assert (await refused(wire.firecrest.jobs(ALICE))).status is None

    async def test_no_error_shows_the_token_or_the_script(self, wire):
        script = "#!/bin/bash\nlaunch_ticket=s3cret"
        wire.answers({"errorType": "validation", "message": f"bad value: {script}"}, 400)
        error = await refused(wire.firecrest.submit(Somebody("t0ken"), script, "/home/alice"))
        assert "s3cret" not in f"{error} {error!r}"
        assert "t0ken" not in f"{error} {error!r}"


class TestSubmit:
    async def test_the_script_goes_into_the_body_and_nothing_into_the_environment(self, wire):
        wire.answers({"jobId": "42"}, 201)
        assert await wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice") == "42"
        (request,) = wire.requests
        assert (request.method, request.url.path) == ("POST", "/v2/compute/tiny/jobs")
        assert json.loads(request.content) == {
            "job": {"working_directory": "/home/alice", "script": "#!/bin/bash"}
        }

    async def test_an_id_may_be_a_number(self, wire):
        wire.answers({"jobId": 42}, 201)
        assert await wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice") == "42"

    @pytest.mark.parametrize(
        "body",
        [{}, {"jobId": None}, {"jobId": "42; rm"}, {"jobId": "\uff14\uff12"}, {"jobId": [42]}, [], None],
    )
    async def test_a_job_without_an_id_may_exist(self, wire, body):
        wire.answers(body, 201)
        error = await refused(wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"))
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
        error = await refused(wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"))
        assert isinstance(error, JobRejected)
        assert error.why == words

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (500, "('Channel not open for sending',)"),
            (408, "Command timed out"),
            (504, ""),
            (502, ""),
            *((500, f"sbatch: error: Batch job submission failed: {words}") for words in NOT_ANSWERED),
        ],
    )
    async def test_any_other_failure_leaves_open_whether_the_job_exists(self, wire, status, words):
        """Not even sbatch knows, once the controller has not answered it in time."""
        wire.refuses(status, words)
        error = await refused(wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"))
        assert not isinstance(error, JobRejected)
        assert error.status == status
        assert error.may_have_happened

    @pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
    async def test_some_refusals_come_before_the_scheduler_is_asked(self, wire, status):
        wire.refuses(status, "no")
        error = await refused(wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"))
        assert not isinstance(error, JobRejected)
        assert not error.may_have_happened

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    async def test_a_submit_is_never_made_twice(self, wire, status):
        wire.refuses(status, BUSY)
        await refused(wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"))
        assert len(wire.requests) == 1


class TestCancel:
    async def test_a_job_is_cancelled_by_its_id(self, wire):
        wire.answers(b"", 204)
        assert await wire.firecrest.cancel(ALICE, "42") is True
        assert (wire.requests[0].method, wire.requests[0].url.path) == ("DELETE", "/v2/compute/tiny/jobs/42")

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (500, "scancel: error: Kill job error on job id 42: Invalid job id specified"),
            (500, "scancel: error: Kill job error on job id 42: Job/step already completing or completed"),
            (404, "Job not found."),
        ],
    )
    async def test_of_one_that_has_ended_there_is_nothing_to_cancel(self, wire, status, words):
        wire.refuses(status, words)
        assert await wire.firecrest.cancel(ALICE, "42") is False

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
        assert (await refused(wire.firecrest.cancel(ALICE, "42"))).status == status


class TestJobs:
    """One list for all, of which only the launches count."""

    async def test_they_come_by_id_and_the_server_filters_them_by_name(self, wire):
        wire.answers({"jobs": [job(jobId=each, user="alice")["jobs"][0] for each in ("42", "43")]})
        jobs = await wire.firecrest.jobs(ALICE)
        assert {job_id: (status.state, status.user) for job_id, status in jobs.items()} == {
            "42": ("RUNNING", "alice"),
            "43": ("RUNNING", "alice"),
        }
        (request,) = wire.requests
        assert (request.method, request.url.path) == ("GET", "/v2/compute/tiny/jobs")
        assert request.url.params["name"] == "jupyterhub-launcher"
        assert request.url.params["time_window"] == "1h"

    @pytest.mark.parametrize("everybody", [True, False])
    async def test_only_who_may_is_asked_about_everybody(self, wire, everybody):
        who = Somebody()
        who.everybody = everybody
        wire.answers({"jobs": []})
        await wire.firecrest.jobs(who)
        assert wire.requests[0].url.params["allusers"] == str(everybody).lower()

    async def test_a_server_that_does_not_filter_makes_no_difference(self, wire):
        wire.answers({"jobs": [job(name="simulation")["jobs"][0], job(jobId="43")["jobs"][0]]})
        assert list(await wire.firecrest.jobs(ALICE)) == ["43"]

    @pytest.mark.parametrize(
        "body", [{"jobs": []}, {"jobs": None}, {"jobs": ["42"]}, job(jobId=None), job(jobId="42; rm")]
    )
    async def test_what_is_no_job_is_left_out(self, wire, body):
        wire.answers(body)
        assert await wire.firecrest.jobs(ALICE) == {}


class TestMark:
    """Which launch a job is of: its script says so in the second line."""

    @staticmethod
    def metadata(script):
        return {"jobs": [{"jobId": "42", "script": script, "standardOutput": "/home/alice/job.log"}]}

    async def test_it_is_the_scripts_second_line(self, wire):
        wire.answers(self.metadata("#!/bin/bash -l\n# launch c0ffee\n#SBATCH --nodes=1\n"))
        assert await wire.firecrest.mark(ALICE, "42") == "# launch c0ffee"
        assert wire.requests[0].url.path == "/v2/compute/tiny/jobs/42/metadata"

    @pytest.mark.parametrize("script", ["", "#!/bin/bash", None, 42, ["#!/bin/bash", "# launch x"]])
    async def test_without_one_it_is_empty(self, wire, script):
        wire.answers(self.metadata(script))
        assert await wire.firecrest.mark(ALICE, "42") == ""

    async def test_a_job_that_only_accounting_takes_for_alive_has_none(self, wire):
        wire.refuses(404, "Job not found.")
        assert await wire.firecrest.mark(ALICE, "42") == ""

    @pytest.mark.parametrize(("status", "words"), [(404, "System not found"), (500, "()"), (408, "late")])
    async def test_any_other_answer_leaves_it_open(self, wire, status, words):
        wire.refuses(status, words)
        assert (await refused(wire.firecrest.mark(ALICE, "42"))).status == status

    @given(JSON)
    async def test_no_answer_is_misread(self, answer):
        async with Wire() as wire:
            for body in (answer, {"jobs": answer}, {"jobs": [answer]}, self.metadata(answer)):
                wire.answers(body)
                try:
                    assert isinstance(await wire.firecrest.mark(ALICE, "42"), str)
                except FirecrestError:
                    continue


@pytest.mark.usefixtures("virtual_time")
class TestTriedAgain:
    """What FirecREST was too busy for is asked again, a few times; a token that is over is replaced once."""

    @pytest.mark.parametrize("answer", [(429, "slow down"), (500, BUSY)])
    async def test_a_busy_server_is_asked_again_after_a_pause(self, wire, virtual_time, answer):
        wire.first = [answer, answer]
        wire.answers(job())
        assert (await wire.firecrest.status(ALICE, "42")).state == "RUNNING"
        assert len(wire.requests) == 3
        assert virtual_time.elapsed > 1

    async def test_not_for_ever(self, wire, virtual_time):
        wire.refuses(429, "slow down")
        assert (await refused(wire.firecrest.status(ALICE, "42"))).status == 429
        assert len(wire.requests) == 4
        assert virtual_time.elapsed < 30

    @pytest.mark.parametrize("status", [403, 404, 408, 500, 502, 503, 504])
    async def test_any_other_answer_is_the_last_word(self, wire, status):
        wire.refuses(status, "no")
        await refused(wire.firecrest.status(ALICE, "42"))
        assert len(wire.requests) == 1

    async def test_a_token_that_is_refused_is_replaced(self, wire):
        who = Somebody()
        wire.first = [(401, "Access token expired")]
        wire.answers(job())
        assert (await wire.firecrest.status(who, "42")).state == "RUNNING"
        assert who.asked == ["", "token"]
        assert [each.headers["Authorization"] for each in wire.requests] == [
            "Bearer token",
            "Bearer token anew",
        ]

    async def test_once(self, wire):
        wire.refuses(401, "Access token expired")
        assert (await refused(wire.firecrest.status(ALICE, "42"))).status == 401
        assert len(wire.requests) == 2

    async def test_a_submit_with_a_refused_token_was_not_begun_and_is_made_with_another(self, wire):
        wire.first = [(401, "Access token expired")]
        wire.answers({"jobId": "42"}, 201)
        assert await wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice") == "42"

    async def test_without_a_token_nothing_is_asked(self, wire):
        class NoLogIn(Somebody):
            async def token(self, refused=""):
                raise FirecrestError("Your log-in has expired.", status=401)

        assert (await refused(wire.firecrest.status(NoLogIn(), "42"))).status == 401
        assert wire.requests == []


@pytest.mark.usefixtures("virtual_time")
class TestBounds:
    """sshd lets one identity open ten sessions; a call may take two."""

    async def test_one_identity_asks_a_few_things_at_once(self, wire):
        wire.answers(job())
        wire.delay = 1
        await asyncio.gather(*(wire.firecrest.status(ALICE, "42") for _ in range(30)))
        assert wire.most_at_once == AT_ONCE
        assert len(wire.requests) == 30

    async def test_identities_do_not_wait_for_each_other(self, wire, virtual_time):
        wire.answers(job())
        wire.delay = 1
        people = [Somebody(name=name) for name in ("alice", "bob", "carol")]
        await asyncio.gather(*(wire.firecrest.status(who, "42") for who in people for _ in range(AT_ONCE)))
        assert wire.most_at_once == 3 * AT_ONCE
        assert virtual_time.elapsed == pytest.approx(1)

    async def test_all_together_there_is_a_bound_too(self, wire):
        wire.answers(job())
        wire.delay = 1
        await asyncio.gather(*(wire.firecrest.status(Somebody(name=str(each)), "42") for each in range(50)))
        assert wire.most_at_once == 16

    async def test_who_gives_up_leaves_their_place(self, wire):
        wire.answers(job())
        wire.delay = 20
        waiting = [asyncio.create_task(wire.firecrest.status(ALICE, "42")) for _ in range(8)]
        await asyncio.sleep(1)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        wire.delay = 0
        async with asyncio.timeout(1):
            assert await wire.firecrest.status(ALICE, "42")


@pytest.mark.usefixtures("virtual_time")
class TestDown:
    """While FirecREST is down few calls are made, and none that can wait."""

    async def down(self, wire):
        wire.error = httpx.ConnectError("refused")
        for _ in range(5):
            await refused(wire.firecrest.status(ALICE, "42"))
        assert wire.firecrest.circuit.open
        wire.requests.clear()

    async def test_looks_end_at_once_without_a_request(self, wire):
        await self.down(wire)
        error = await refused(wire.firecrest.status(ALICE, "42"))
        assert (error.status, error.may_have_happened) == (None, False)
        assert "down" in error.what
        assert wire.requests == []

    async def test_submit_and_cancel_are_tried_all_the_same(self, wire):
        await self.down(wire)
        await refused(wire.firecrest.submit(ALICE, "#!/bin/bash", "/home/alice"))
        await refused(wire.firecrest.cancel(ALICE, "42"))
        assert [each.method for each in wire.requests] == ["POST", "DELETE"]

    async def test_ten_minutes_of_looks_cost_few_requests_and_then_all_is_well_within_two_minutes(
        self, wire, virtual_time
    ):
        await self.down(wire)
        while virtual_time.elapsed < 600:
            await asyncio.gather(*(refused(wire.firecrest.status(ALICE, str(each))) for each in range(20)))
            await asyncio.sleep(5)
        assert 5 < len(wire.requests) < 20
        wire.error = None
        wire.answers(job())
        while wire.firecrest.circuit.open and virtual_time.elapsed < 720:
            await asyncio.sleep(1)
            with contextlib.suppress(FirecrestError):
                await wire.firecrest.status(ALICE, "42")
        assert (await wire.firecrest.status(ALICE, "42")).state == "RUNNING"

    async def test_an_answer_to_a_cancel_ends_it(self, wire):
        await self.down(wire)
        wire.error = None
        wire.answers(b"", 204)
        await wire.firecrest.cancel(ALICE, "42")
        assert not wire.firecrest.circuit.open

    async def test_calls_that_their_callers_gave_up_say_nothing_of_firecrest(self, wire):
        wire.delay = 10
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await wire.firecrest.status(ALICE, "42")
        assert not wire.firecrest.circuit.open
        assert wire.heard == []


class TestObserver:
    async def test_it_hears_of_each_request_and_how_it_went(self, wire):
        wire.answers(job())
        await wire.firecrest.status(ALICE, "42")
        wire.refuses(404, "Job not found.")
        await wire.firecrest.status(ALICE, "43")
        wire.error = httpx.ReadTimeout("late")
        await refused(wire.firecrest.jobs(ALICE))
        assert wire.heard == [("job_info", "200"), ("job_info", "404"), ("job_info", "no answer")]


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
        assert await wire.firecrest.log_tail(ALICE, "/home/alice/job.log", lines=2) == ["two", "three"]
        (request,) = wire.requests
        assert request.url.path == "/v2/filesystem/tiny/ops/tail"
        assert (request.url.params["path"], request.url.params["lines"]) == ("/home/alice/job.log", "2")

    @pytest.mark.parametrize("status", [400, 403, 404, 500])
    async def test_a_file_that_can_not_be_read_has_none(self, wire, status):
        wire.refuses(status, "No such file")
        assert await wire.firecrest.log_tail(ALICE, "/home/alice/job.log") == []

    @pytest.mark.parametrize(
        "body", [{}, [], {"output": None}, {"output": {"content": None}}, {"output": {"content": ["x"]}}]
    )
    async def test_an_answer_of_another_shape_has_none(self, wire, body):
        wire.answers(body)
        assert await wire.firecrest.log_tail(ALICE, "/home/alice/job.log") == []


class TestAccounts:
    @staticmethod
    def told(*accounts):
        return {"user": {"id": "1", "name": "alice"}, "group": {}, "groups": [], "accounts": list(accounts)}

    async def test_they_are_told_with_the_default(self, wire):
        wire.answers(self.told({"name": "proj1", "default": False}, {"name": "proj2", "default": True}))
        assert await wire.firecrest.accounts(ALICE) == UserAccounts(("proj1", "proj2"), "proj2")
        assert wire.requests[0].url.path == "/v2/status/tiny/userinfo"
        assert wire.requests[0].headers["Authorization"] == "Bearer token"

    async def test_one_of_several_partitions_is_told_once(self, wire):
        wire.answers(self.told({"name": "proj1"}, {"name": "proj1", "default": True}))
        assert await wire.firecrest.accounts(ALICE) == UserAccounts(("proj1",), "proj1")

    async def test_somebody_may_have_none(self, wire):
        wire.answers(self.told())
        assert await wire.firecrest.accounts(ALICE) == UserAccounts(())

    async def test_a_server_that_does_not_tell_them_yet_is_an_error(self, wire):
        wire.answers({"user": {}, "group": {}, "groups": []})
        assert (await refused(wire.firecrest.accounts(ALICE))).what == (
            "FirecREST does not tell your Slurm accounts."
        )

    @given(JSON)
    async def test_no_answer_is_misread(self, answer):
        async with Wire() as wire:
            wire.answers(answer)
            try:
                told = await wire.firecrest.accounts(ALICE)
            except FirecrestError:
                return
            assert all(isinstance(name, str) and name for name in told.names)
