"""What a node tells its hub after the claim: in order, signed, and until the hub has it."""

import os
import signal
import threading

import pytest

from launcher.errors import PreflightFailed
from launcher.protocol import Event, EventKind, encode_refusal, parse_event, verify
from launcher.singleuser.hub import Hub
from launcher.singleuser.reporter import ENDING, Reporter

LAUNCH_ID = "c" * 32
KEY = "d" * 64
OUR_410 = (410, encode_refusal("This server was stopped."))
NOTED = (200, b'{"message":"noted"}')


@pytest.fixture
def kills(monkeypatch):
    """Signals that the reporter sends to its own process."""
    sent = []
    monkeypatch.setattr(
        "launcher.singleuser.reporter.os.kill", lambda pid, number: sent.append((pid, number))
    )
    return sent


@pytest.fixture
def reporter(hub, clock, kills, monkeypatch):
    """A reporter for which waiting takes no time."""
    monkeypatch.setattr("launcher.singleuser.reporter.time", clock)
    reporter = Reporter(Hub(hub.url, give_up_after=120), LAUNCH_ID, KEY)
    yield reporter
    if reporter.is_alive():
        reporter.stopping("exit", "", 0)


def events(hub):
    return [parse_event(post.body) for post in hub.posts]


def kinds(hub):
    return [event.kind for event in events(hub)]


def deliver(reporter, kind, **fields):
    reporter._deliver(Event(LAUNCH_ID, kind, 1, **fields))


class TestOrder:
    def test_events_arrive_in_the_order_in_which_they_happened(self, reporter, hub):
        reporter.start()
        reporter.send(EventKind.STARTING)
        reporter.send(EventKind.READY, address="127.0.0.1", port=40000)
        reporter.stopping("terminated", "bye", 3)
        assert events(hub) == [
            Event(LAUNCH_ID, EventKind.STARTING, 1),
            Event(LAUNCH_ID, EventKind.READY, 2, address="127.0.0.1", port=40000),
            Event(LAUNCH_ID, EventKind.STOPPING, 3, reason="terminated", message="bye", exit_code=3),
        ]

    def test_each_is_signed_with_the_launch_key(self, reporter, hub):
        reporter.start()
        reporter.send(EventKind.STARTING)
        reporter.stopping("exit", "", 0)
        assert all(verify(KEY, post.body, post.headers["X-Launcher-Signature"]) for post in hub.posts)

    def test_the_order_is_kept_through_an_outage(self, reporter, hub):
        hub.answers = [(0, b""), (502, b""), (404, b""), (503, b""), (410, b"<html>Gone"), NOTED]
        reporter.start()
        for kind in (EventKind.STARTING, EventKind.ALIVE):
            reporter.send(kind)
        reporter.stopping("exit", "", 0)
        assert kinds(hub) == [EventKind.STARTING] * 6 + [EventKind.ALIVE, EventKind.STOPPING]

    def test_sending_waits_for_nothing(self, reporter, hub):
        """JupyterLab's start goes on while the hub thinks."""
        thinks = threading.Event()
        hub.while_asked = lambda: thinks.wait(30)
        reporter.start()
        for _ in range(20):
            reporter.send(EventKind.STARTING)
        assert len(hub.posts) <= 1
        thinks.set()

    def test_when_nothing_happens_the_node_says_that_it_is_alive(self, reporter, hub, monkeypatch):
        monkeypatch.setattr("launcher.singleuser.reporter.ALIVE_INTERVAL", 0.01)
        heard = threading.Event()
        hub.while_asked = lambda: heard.set() if len(hub.posts) > 2 else None
        reporter.start()
        assert heard.wait(30)
        assert set(kinds(hub)) == {EventKind.ALIVE}
        numbers = [event.sequence for event in events(hub)]
        assert numbers == sorted(set(numbers))


class TestWhere:
    """A hub that was restarted may have lost where a server is."""

    def test_before_it_is_ready_a_node_says_only_that_it_is_alive(self, reporter):
        assert reporter._alive() == Event(LAUNCH_ID, EventKind.ALIVE, 0)

    def test_after_that_each_alive_says_where_its_server_is(self, reporter, hub):
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=40000)
        assert reporter._alive() == Event(LAUNCH_ID, EventKind.ALIVE, 0, address="127.0.0.1", port=40000)


class TestOutage:
    @pytest.mark.parametrize(
        "answer",
        [
            (0, b""),
            (404, b"Not Found"),
            (410, b"<html>Gone"),
            (410, b'{"status":410}'),
            (502, b""),
            (503, b""),
        ],
    )
    def test_what_is_not_the_hubs_own_answer_is_no_answer(self, reporter, hub, kills, answer):
        hub.answers = [answer, answer, NOTED]
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=40000)
        assert len(hub.posts) == 3
        assert kills == []

    def test_the_pauses_grow(self, reporter, hub, clock):
        hub.answers = [*[(503, b"")] * 7, NOTED]
        deliver(reporter, EventKind.STARTING)
        assert clock.naps == [0.5, 1, 2, 4, 8, 15, 15]

    @pytest.mark.parametrize("answer", [(502, b""), (410, b"<html>Gone")])
    def test_a_hub_that_stays_away_does_not_end_the_session(self, reporter, hub, kills, clock, answer):
        hub.answers = [answer]
        deliver(reporter, EventKind.STARTING)
        assert kills == []
        assert clock.now - 1000 > 600

    def test_a_hub_that_is_on_its_way_is_told_of_a_ready_server_as_soon_as_it_listens(
        self, reporter, hub, clock
    ):
        hub.answers = [*[(503, b"")] * 500, NOTED]
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=40000)
        assert clock.now - 1000 > 3600
        assert max(clock.naps) <= 15

    @pytest.mark.parametrize("answer", [(0, b""), (502, b""), (503, b""), (404, b"Not Found"), (403, b"")])
    def test_an_alive_that_the_hub_has_not_heard_comes_again_sooner(self, reporter, hub, answer):
        assert reporter._pause() >= 0.8 * 300
        hub.answers = [answer, NOTED]
        deliver(reporter, EventKind.ALIVE)
        assert 0.8 * 60 <= reporter._pause() <= 1.2 * 60
        deliver(reporter, EventKind.ALIVE)
        assert reporter._pause() >= 0.8 * 300

    def test_a_refused_connection_does_not_end_the_session(self, reporter, hub, kills):
        hub.close()
        deliver(reporter, EventKind.STARTING)
        assert kills == []

    def test_alive_comes_again_and_is_not_repeated(self, reporter, hub):
        hub.answers = [(503, b"")]
        deliver(reporter, EventKind.ALIVE)
        assert len(hub.posts) == 1

    def test_a_session_that_ends_meanwhile_does_not_wait_for_ever(self, reporter, hub, clock):
        hub.close()
        reporter.start()
        reporter.stopping("exit", "", 0)
        assert not reporter.is_alive()
        assert clock.now - 1000 < 30


class TestUnwanted:
    @pytest.mark.parametrize("kind", [EventKind.STARTING, EventKind.READY])
    def test_the_hubs_own_410_ends_a_session_that_is_not_ready(self, reporter, hub, kills, capsys, kind):
        hub.answers = [OUR_410]
        fields = {"address": "127.0.0.1", "port": 40000} if kind is EventKind.READY else {}
        deliver(reporter, kind, **fields)
        assert kills == [(os.getpid(), signal.SIGTERM)]
        assert reporter.reason == "not-wanted"
        assert len(hub.posts) == 1
        assert "the hub does not want this job any more" in capsys.readouterr().err

    def test_a_ready_session_outlives_a_mistake_of_the_hub(self, reporter, hub, kills, clock):
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=40000)
        for answer, minutes in ((OUR_410, 9), (NOTED, 9), (OUR_410, 9), (OUR_410, 0)):
            hub.answers = [answer]
            deliver(reporter, EventKind.ALIVE)
            clock.now += 60 * minutes
        assert kills == []

    def test_a_ready_session_that_stays_unwanted_for_ten_minutes_ends(self, reporter, hub, kills, clock):
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=40000)
        hub.answers = [OUR_410]
        for _ in range(10):
            deliver(reporter, EventKind.ALIVE)
            assert kills == []
            clock.now += 60
        deliver(reporter, EventKind.ALIVE)
        assert kills == [(os.getpid(), signal.SIGTERM)]
        assert reporter.reason == "not-wanted"

    def test_a_hub_that_is_on_its_way_again_has_not_said_that_it_does_not_want_a_session(
        self, reporter, hub, kills, clock
    ):
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=40000)
        for answer in (OUR_410, (503, b""), OUR_410):
            hub.answers = [answer]
            deliver(reporter, EventKind.ALIVE)
            clock.now += 400
        assert kills == []

    def test_an_unwanted_session_asks_more_often(self, reporter, hub):
        assert reporter._pause() >= 0.8 * 300
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=40000)
        hub.answers = [OUR_410]
        deliver(reporter, EventKind.ALIVE)
        assert reporter._pause() <= 1.2 * 60

    @pytest.mark.parametrize("status", [400, 403, 413, 422])
    def test_an_address_that_the_hub_refuses_ends_the_session(self, reporter, hub, kills, capsys, status):
        hub.answers = [(status, b'{"message":"Port 80 is not between 1024 and 65535."}')]
        deliver(reporter, EventKind.READY, address="127.0.0.1", port=80)
        assert kills == [(os.getpid(), signal.SIGTERM)]
        assert "Port 80" in capsys.readouterr().err

    @pytest.mark.parametrize("status", [400, 403, 422])
    def test_any_other_event_that_the_hub_refuses_ends_nothing(self, reporter, hub, kills, status):
        hub.answers = [(status, b"")]
        deliver(reporter, EventKind.ALIVE)
        assert kills == []
        assert len(hub.posts) == 1

    def test_a_session_that_ends_by_itself_is_not_ended_once_more(self, reporter, hub, kills):
        hub.answers = [OUR_410]
        reporter.start()
        reporter.stopping("exit", "", 0)
        assert kills == []
        assert reporter.reason == "exit"


def test_the_last_words_have_left_when_the_process_goes_on_to_end(reporter, hub):
    reporter.start()
    reporter.stopping("failed", "x" * 5000, 22)
    (event,) = events(hub)
    assert (event.reason, event.exit_code) == ("failed", 22)
    assert len(event.message) == 1900


class TestEnd:
    """At the end of the `with` block the hub learns why."""

    def last(self, hub):
        return events(hub)[-1]._replace(sequence=0)

    def test_a_server_that_ended_by_itself_says_what_it_has_noted(self, reporter, hub):
        with reporter:
            reporter.note("idle", "Nobody was there.")
            reporter.note("terminated")
        expected = Event(
            LAUNCH_ID, EventKind.STOPPING, 0, reason="idle", message="Nobody was there.", exit_code=0
        )
        assert self.last(hub) == expected

    def test_an_error_for_people_speaks_for_itself(self, reporter, hub):
        with pytest.raises(PreflightFailed), reporter:
            raise PreflightFailed("Your home is full.", todo="Delete something.")
        last = self.last(hub)
        assert (last.reason, last.exit_code) == ("failed", 22)
        assert last.message == "Your home is full.\nDelete something."

    def test_any_other_error_is_named(self, reporter, hub):
        with pytest.raises(OSError), reporter:
            raise OSError("no such thing")
        assert self.last(hub).message == "The server ended with OSError: no such thing"
        assert self.last(hub).exit_code == 1

    @pytest.mark.parametrize(
        ("number", "reason"), [(signal.SIGTERM, "terminated"), (signal.SIGUSR1, "walltime")]
    )
    def test_a_signal_before_the_server_takes_it_ends_everything_at_once(self, reporter, hub, number, reason):
        with pytest.raises(SystemExit) as end, reporter:
            signal.raise_signal(number)
        assert end.value.code == 128 + number
        assert (self.last(hub).reason, self.last(hub).exit_code) == (reason, 128 + number)
        assert self.last(hub).message == ""

    def test_a_signal_at_the_very_end_does_not_cut_the_last_words_short(self, reporter, hub):
        reached, go_on = threading.Event(), threading.Event()
        hub.while_asked = lambda: (reached.set(), go_on.wait(30))

        def signal_it():
            reached.wait(30)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
            go_on.set()

        other = threading.Thread(target=signal_it)
        other.start()
        with reporter:
            pass
        other.join()
        assert self.last(hub).reason == "exit"

    def test_signals_change_nothing_any_more(self, reporter):
        with reporter:
            pass
        assert {signal.getsignal(number) for number in ENDING} == {signal.SIG_IGN}
