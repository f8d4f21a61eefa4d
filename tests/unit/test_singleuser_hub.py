"""A node and its hub: only the hub's own words count, everything else is asked again."""

import datetime as dt
import json
import socket
import ssl
import threading
import time
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import claims
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from launcher.errors import HubUnreachable, LaunchRefused, UsageError
from launcher.protocol import Claim, encode, encode_refusal, parse_claim, verify
from launcher.singleuser.hub import Hub
from launcher.singleuser.tls import trusting

TICKET = "5ec2e7" + "0" * 58
CLAIM = Claim(TICKET, "b" * 64, "42", "nid001", "6.1.1")
ANSWER = claims.ANSWER._replace(environment={"JUPYTERHUB_API_TOKEN": "5ec2e7"})
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

    def test_what_only_a_newer_hub_says_is_passed_over(self, node, hub):
        hub.answers = [(200, encode(ANSWER)[:-1] + b',"more":1}')]
        assert node.claim(CLAIM) == ANSWER

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
        assert lines[0].startswith("launcher-singleuser: no answer from the hub yet (nothing that listens")
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


class TestOtherVersion:
    """A hub that answers in a form of its own will not answer otherwise the next time."""

    @pytest.mark.parametrize(
        "changed",
        [
            {"networks": ["banana"]},
            {"ports": [70000, 70001]},
            {"environment": {"A=B": TICKET}},
            {"arguments": ["--a\0b"]},
            {"vscode": None},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_its_answer_ends_the_launch_at_once_in_plain_words(self, node, hub, changed):
        hub.answers = [(200, json.dumps({**json.loads(YES[1]), **changed}).encode())]
        with pytest.raises(HubUnreachable) as error:
            node.claim(CLAIM)
        assert len(hub.posts) == 1
        assert error.value.what == (
            f"The hub at {hub.url} answered in a form that this node does not understand."
        )
        assert error.value.why.startswith(f"{next(iter(changed))}: ")
        assert "versions on the hub and on the node may differ" in error.value.todo
        assert TICKET not in str(error.value)


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


class TestProxies:
    """Most jobs inherit the proxy variables of wherever they were submitted."""

    @pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
    def test_one_at_which_nothing_listens_is_in_nobodys_way(self, node, hub, monkeypatch, name):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        hub.answers = [YES]
        assert node.claim(CLAIM) == ANSWER

    @pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
    def test_where_nothing_answers_it_is_told_that_they_are_not_used(self, node, hub, monkeypatch, name):
        monkeypatch.setenv(name, "http://alice:5ec2e7@proxy.example.org:3128")
        hub.close()
        with pytest.raises(HubUnreachable) as error:
            node.claim(CLAIM)
        said = f"The hub is asked directly, not through the proxy of {name.lower()}."
        assert error.value.why.endswith(said)
        assert error.value.todo.endswith("nodes must reach the hub without a proxy.")
        assert "5ec2e7" not in str(error.value)

    def test_where_something_else_answers_they_are_not_the_cause(self, node, hub, monkeypatch):
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        hub.answers = [(502, b"")]
        with pytest.raises(HubUnreachable) as error:
            node.claim(CLAIM)
        assert "proxy" not in str(error.value)


class TestSilence:
    """Why there is no answer is told in words."""

    @staticmethod
    def said(url, **options):
        with pytest.raises(HubUnreachable) as error:
            Hub(url, give_up_after=0, **options).claim(CLAIM)
        assert error.value.what == f"The hub at {url} could not be reached from this node for 0 seconds."
        return error.value.why

    def test_a_name_that_nobody_knows(self):
        why = self.said("http://hub.invalid/hub/api")
        assert why.startswith("The last try ended with a name that could not be looked up (gaierror: ")

    def test_nothing_that_listens(self, hub):
        hub.close()
        why = self.said(hub.url)
        assert why.startswith("The last try ended with nothing that listens there (ConnectionRefusedError: ")

    def test_something_that_accepts_and_says_nothing(self, monkeypatch):
        monkeypatch.setattr("launcher.singleuser.hub.REQUEST_TIMEOUT", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            why = self.said(f"http://127.0.0.1:{silent.getsockname()[1]}/hub/api")
        assert why == "The last try ended with silence (TimeoutError: timed out)."

    def test_something_that_speaks_no_tls(self, hub):
        why = self.said(hub.url.replace("http:", "https:"))
        assert why.startswith("The last try ended with a connection that could not be secured (SSLError: ")


class TestClock:
    """A claim's answer tells by its date what time it is at the hub."""

    @staticmethod
    def claimed(hub, monkeypatch, date):
        handler = hub._server.RequestHandlerClass
        monkeypatch.setattr(handler, "date_time_string", lambda _: date)
        hub.answers = [YES]
        node = Hub(hub.url)
        node.claim(CLAIM)
        return node.clock

    @staticmethod
    def date(seconds):
        now = dt.datetime.now(dt.UTC)
        return format_datetime(now + dt.timedelta(seconds=seconds), usegmt=True)

    def test_clocks_that_agree_differ_by_nothing(self, hub, monkeypatch):
        assert self.claimed(hub, monkeypatch, self.date(0)) == 0

    @pytest.mark.parametrize("seconds", [-100_000, -90, 90, 100_000])
    def test_a_difference_is_known_but_for_the_time_that_the_claim_took(self, hub, monkeypatch, seconds):
        found = self.claimed(hub, monkeypatch, self.date(seconds))
        assert found == pytest.approx(-seconds, abs=30)
        assert abs(found) <= abs(seconds) + 1

    def test_a_slow_answer_is_no_wrong_clock(self, hub, clock, monkeypatch):
        """The date may be that of any moment between question and answer."""
        clock.now = 1_000_000_000.0
        monkeypatch.setattr("launcher.singleuser.hub.time", clock)
        hub.while_asked = lambda: clock.sleep(300)
        assert self.claimed(hub, monkeypatch, "Sun, 09 Sep 2001 01:50:00 GMT") == 0

    @pytest.mark.parametrize("date", ["", "soon", "Mon, 99 Foo 2024 99:99:99 GMT", "1 Jan 99999999 0:0 +9"])
    def test_without_a_date_nothing_is_known(self, hub, monkeypatch, date):
        assert self.claimed(hub, monkeypatch, date) == 0


class Authority:
    """A certificate authority."""

    def __init__(self, folder):
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
        self.path = folder / "authority.pem"
        own = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None), (-9, 9))
        self.path.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def issued(self, name="localhost", days=(-9, 9)):
        """Return a file with a key and a certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(
            x509.Name([]), key, x509.SubjectAlternativeName([x509.DNSName(name)]), days, critical=True
        )
        path = self.folder / "hub.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def _signed(self, name, key, extension, days, *, critical=True):
        now = dt.datetime.now(dt.UTC)
        begin, end = (now + dt.timedelta(days=day) for day in days)
        builder = x509.CertificateBuilder(
            self._name, name, key.public_key(), x509.random_serial_number(), begin, end
        )
        return builder.add_extension(extension, critical).sign(self._key, hashes.SHA256())


class TestCertificates:
    @pytest.fixture
    def authority(self, tmp_path):
        return Authority(tmp_path)

    @pytest.fixture
    def listening(self):
        """Return a function that has a hub listen with a certificate, and returns its URL."""
        servers = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(YES[0])
                self.end_headers()
                self.wfile.write(YES[1])

            def log_message(self, *_):
                pass

        class Server(HTTPServer):
            def handle_error(self, *_):
                pass

        def listen(certificate):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server = Server(("127.0.0.1", 0), Handler)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            return f"https://localhost:{server.server_port}/hub/api"

        yield listen
        for server in servers:
            server.shutdown()
            server.server_close()

    @staticmethod
    def refused(url, authority):
        with pytest.raises(HubUnreachable) as error:
            Hub(url, context=trusting(str(authority.path)) if authority else None).claim(CLAIM)
        return error.value

    @pytest.fixture(autouse=True)
    def _waiting_takes_no_time(self, clock, monkeypatch):
        clock.time, clock.gmtime, clock.strftime = time.time, time.gmtime, time.strftime
        monkeypatch.setattr("launcher.singleuser.hub.time", clock)

    def test_one_of_the_authority_that_hub_ca_names_is_trusted(self, authority, listening):
        url = listening(authority.issued())
        assert Hub(url, context=trusting(str(authority.path))).claim(CLAIM) == ANSWER

    def test_one_of_an_unknown_authority_is_told_at_once_with_what_to_set(self, authority, listening, clock):
        began = clock.now
        error = self.refused(url := listening(authority.issued()), None)
        assert error.what == f"The certificate of the hub at {url} is not trusted on this node."
        assert error.why.startswith("OpenSSL says: ")
        assert "hub_ca of the cluster file must name the certificates of whoever issued it" in error.todo
        assert clock.now - began < 10

    def test_one_of_another_authority_than_hub_ca_names_is_told(self, authority, listening, tmp_path):
        (tmp_path / "other").mkdir()
        error = self.refused(listening(authority.issued()), Authority(tmp_path / "other"))
        assert "is not trusted on this node" in error.what

    def test_one_of_another_machine_is_told(self, authority, listening):
        error = self.refused(url := listening(authority.issued("www.example.org")), authority)
        assert error.what == f"The certificate of the hub at {url} is another machine's."
        assert "www.example.org" not in error.todo
        assert error.todo.endswith("the certificate must hold the name by which nodes ask the hub.")

    @pytest.mark.parametrize(("days", "state"), [((-9, -1), "has expired"), ((1, 9), "is not valid yet")])
    def test_one_that_is_not_valid_now_is_told_with_the_nodes_time(self, authority, listening, days, state):
        error = self.refused(url := listening(authority.issued(days=days)), authority)
        today = dt.datetime.now(dt.UTC).strftime("%Y-")
        assert error.what.startswith(
            f"The certificate of the hub at {url} {state}, by this node's clock: {today}"
        )
        assert "another node" in error.todo
        assert "clock" in error.todo

    def test_neither_ticket_nor_key_is_in_what_is_said(self, authority, listening, capsys):
        error = self.refused(listening(authority.issued()), None)
        assert TICKET not in str(error) + capsys.readouterr().err


def test_an_event_is_signed_with_the_launch_key(node, hub):
    hub.answers = [(200, b"noted")]
    assert node.event(b'{"kind":"alive"}', "d" * 64) == (200, b"noted")
    (post,) = hub.posts
    assert post.path == "/hub/api/launcher/events"
    assert verify("d" * 64, post.body, post.headers["X-Launcher-Signature"])
