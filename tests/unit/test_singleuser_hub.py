"""A node and its hub: only the hub's own words count, everything else is asked again."""

import json

import pytest

from launcher.errors import HubUnreachable, LaunchRefused, UsageError
from launcher.protocol import Claim, ClaimAnswer, encode, encode_refusal, parse_claim, verify
from launcher.singleuser.hub import Hub

TICKET = "5ec2e7" + "0" * 58
CLAIM = Claim(TICKET, "b" * 64, "42", "nid001", "6.1.1")
ANSWER = ClaimAnswer(
    launch_id="c" * 32,
    launch_key="d" * 64,
    environment={"JUPYTERHUB_API_TOKEN": "5ec2e7"},
    arguments=[],
    networks=["127.0.0.0/8"],
    names=[],
    interface="",
    ports=None,
    start_directory="/tmp",
    vscode=True,
    jupyterhub_version="6.1.1",
)
YES = (200, encode(ANSWER))
NO_ANSWER_OF_THE_HUB = {
    "hangs up": (0, b""),
    "404 of a proxy whose hub restarts": (404, b"Not Found"),
    "410 of a proxy": (410, b"<html>Gone</html>"),
    "410 in json that is not ours": (410, b'{"status": 410, "message": "Gone"}'),
    "502": (502, b"<html>Bad Gateway</html>"),
    "503": (503, b""),
    "403": (403, b"Forbidden"),
    "500": (500, b'{"status": 500}'),
    "redirect to a log-in": (302, b""),
    "200 with html": (200, b"<html>Sign in to the network</html>"),
    "200 with nothing": (200, b""),
    "200 with other json": (200, b'{"ok": true}'),
    "200 with an answer that is cut": (200, encode(ANSWER)[:-1]),
    "200 with an answer of a later protocol": (200, encode(ANSWER)[:-1] + b',"more":1}'),
}
# Of these only 503 says that there is, or will be, a hub.
STRANGE = {name: answer for name, answer in NO_ANSWER_OF_THE_HUB.items() if answer[0] not in (0, 503)}


def given_up(node, hub, clock, capsys, answer):
    """Return after how many seconds a hub is given up that always gives one answer."""
    hub.answers = [answer]
    began = clock.now
    with pytest.raises(HubUnreachable) as error:
        node.claim(CLAIM)
    assert error.value.exit_code == 20
    assert error.value.what.startswith(f"The hub at {hub.url} could not be reached from this node for ")
    assert error.value.why.startswith("The last try ended with ")
    assert "support" in error.value.todo
    assert TICKET not in str(error.value) + capsys.readouterr().err
    return clock.now - began


@pytest.fixture
def node(hub, clock, monkeypatch):
    """The hub as a node sees it; waiting takes no time."""
    monkeypatch.setattr("launcher.singleuser.hub.time", clock)
    return Hub(hub.url, give_up_after=120)


class TestClaim:
    def test_the_answer_of_the_hub_is_taken(self, node, hub):
        hub.answers = [YES]
        assert node.claim(CLAIM) == ANSWER

    def test_the_claim_is_posted_as_json_below_the_hubs_api(self, node, hub):
        hub.answers = [YES]
        node.claim(CLAIM)
        (post,) = hub.posts
        assert post.path == "/hub/api/launcher/claim"
        assert post.headers["Content-Type"] == "application/json"
        assert parse_claim(post.body) == CLAIM

    def test_a_url_may_end_in_a_slash(self, hub):
        hub.answers = [YES]
        Hub(hub.url + "/").claim(CLAIM)
        assert hub.posts[0].path == "/hub/api/launcher/claim"

    @pytest.mark.parametrize("answer", NO_ANSWER_OF_THE_HUB.values(), ids=NO_ANSWER_OF_THE_HUB)
    def test_what_is_not_the_hubs_own_answer_is_asked_again(self, node, hub, answer):
        hub.answers = [answer, answer, YES]
        assert node.claim(CLAIM) == ANSWER
        assert len(hub.posts) == 3

    def test_a_repeated_claim_brings_the_same_nonce(self, node, hub):
        """An answer can be lost: the hub then gives it again, to the same job only."""
        hub.answers = [(0, b""), (502, b""), YES]
        node.claim(CLAIM)
        assert len({post.body for post in hub.posts}) == 1

    def test_the_pauses_grow_and_are_spread(self, node, hub, clock):
        hub.answers = [*[(503, b"")] * 8, YES]
        node.claim(CLAIM)
        assert all(
            0.7 * usual <= nap <= 1.3 * usual
            for nap, usual in zip(clock.naps, [0.5, 1, 2, 4, 8, 15, 15, 15], strict=True)
        )

    def test_where_nothing_answers_the_hub_is_given_up_in_plain_words(self, node, hub, clock, capsys):
        assert given_up(node, hub, clock, capsys, (0, b"")) == pytest.approx(120, abs=15)

    @pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE)
    def test_where_something_else_answers_it_is_given_up_later(self, node, hub, clock, capsys, answer):
        """A proxy, or a load balancer, may stand there for a hub that is being set up anew."""
        assert given_up(node, hub, clock, capsys, answer) == pytest.approx(600, abs=15)

    def test_a_hub_that_is_on_its_way_is_waited_for(self, node, hub, clock):
        hub.answers = [*[(503, b"")] * 500, YES]
        began = clock.now
        assert node.claim(CLAIM) == ANSWER
        assert clock.now - began > 3600

    def test_each_answer_gives_one_that_is_silent_its_time_again(self, node, hub, clock):
        hub.answers = [*[*[(0, b"")] * 5, (502, b"")] * 5, YES]
        assert node.claim(CLAIM) == ANSWER
        hub.answers = [*[*[(502, b"")] * 25, (503, b"")] * 5, YES]
        assert node.claim(CLAIM) == ANSWER

    def test_a_patience_above_the_usual_one_holds_for_whatever_answers(self, hub, clock, monkeypatch):
        monkeypatch.setattr("launcher.singleuser.hub.time", clock)
        began = clock.now
        hub.answers = [(0, b"")]
        with pytest.raises(HubUnreachable):
            Hub(hub.url, give_up_after=900).claim(CLAIM)
        assert clock.now - began > 880

    def test_a_refused_connection_is_given_up_in_plain_words(self, node, hub, capsys):
        hub.close()
        with pytest.raises(HubUnreachable, match="ConnectionRefusedError"):
            node.claim(CLAIM)
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("launcher-singleuser: no answer from the hub yet (ConnectionRefusedError")
        assert TICKET not in "".join(lines)

    def test_an_impatient_node_asks_a_silent_hub_once(self, hub):
        hub.answers = [(0, b"")]
        with pytest.raises(HubUnreachable, match="RemoteDisconnected"):
            Hub(hub.url, give_up_after=0).claim(CLAIM)
        assert len(hub.posts) == 1

    def test_something_that_speaks_no_http_is_no_hub(self, clock, monkeypatch, hub):
        monkeypatch.setattr("launcher.singleuser.hub.time", clock)
        node = Hub(hub.url.replace("http:", "https:"), give_up_after=1)
        with pytest.raises(HubUnreachable, match="SSL"):
            node.claim(CLAIM)


class TestRefusal:
    def test_the_hubs_own_410_ends_the_launch_at_once_with_the_hubs_reason(self, node, hub):
        hub.answers = [(410, encode_refusal("It was stopped."))]
        with pytest.raises(LaunchRefused) as error:
            node.claim(CLAIM)
        assert (error.value.what, error.value.why) == ("The hub does not want this job.", "It was stopped.")
        assert len(hub.posts) == 1

    @pytest.mark.parametrize("body", [b"", b'{"status": 409, "message": "x"}'])
    def test_a_launch_that_another_claimed_ends_at_once(self, node, hub, body):
        hub.answers = [(409, body)]
        with pytest.raises(LaunchRefused, match="claimed by another process"):
            node.claim(CLAIM)
        assert len(hub.posts) == 1

    @pytest.mark.parametrize("status", [400, 413])
    def test_a_hub_that_does_not_understand_will_not_later(self, node, hub, status):
        hub.answers = [(status, json.dumps({"message": "node: missing"}).encode())]
        with pytest.raises(LaunchRefused, match="versions on the hub and on the node may differ"):
            node.claim(CLAIM)
        assert len(hub.posts) == 1

    def test_no_refusal_shows_the_ticket(self, node, hub, capsys):
        for answer in ((410, encode_refusal("No.")), (409, b""), (400, b"")):
            hub.answers = [answer]
            with pytest.raises(LaunchRefused) as error:
                node.claim(CLAIM)
            assert TICKET not in str(error.value) + capsys.readouterr().err


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hub.example.org",
            "ftp://hub",
            "http://",
            "file:///x",
            "http://hub:none",
            "http://hub:99999",
            "http://[",
        ],
    )
    def test_an_address_that_is_none_is_told(self, url):
        with pytest.raises(UsageError, match="LAUNCHER_HUB_URL is not an http URL"):
            Hub(url)

    @pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
    def test_the_users_proxies_are_not_asked(self, node, hub, monkeypatch, name):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        hub.answers = [YES]
        assert node.claim(CLAIM) == ANSWER


def test_an_event_is_signed_with_the_launch_key(node, hub):
    hub.answers = [(200, b"noted")]
    assert node.event(b'{"kind":"alive"}', "d" * 64) == (200, b"noted")
    (post,) = hub.posts
    assert post.path == "/hub/api/launcher/events"
    assert verify("d" * 64, post.body, post.headers["X-Launcher-Signature"])
