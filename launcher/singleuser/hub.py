"""The hub, as a compute node sees it: two addresses that take JSON."""

from __future__ import annotations

import os
import random
import socket
import ssl
import sys
import time
from email.utils import mktime_tz, parsedate_tz
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from launcher.errors import HubUnreachable, LaunchRefused, UsageError
from launcher.protocol import (
    CLAIM_PATH,
    EVENTS_PATH,
    SIGNATURE_HEADER,
    Claim,
    ClaimAnswer,
    ProtocolError,
    encode,
    is_claim_answer,
    parse_claim_answer,
    parse_refusal,
    sign,
)
from launcher.singleuser.tls import sought_in_vain

REQUEST_TIMEOUT = 15.0

PATIENCE = 600.0
"""Seconds to go on asking, before a session is ready, where something answers in the hub's place."""

_CERTIFICATE_PATIENCE = 5.0
"""Seconds to go on asking where a certificate is not trusted: trying again seldom mends that."""

_MAX_ANSWER = 1024 * 1024

_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
"""Of OpenSSL's reasons why a certificate is refused: openssl/x509_vfy.h."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Hub:
    """The hub's API.

    Args:
        api_url: Its base, such as `https://hub.example.org/hub/api`.
        give_up_after: Seconds to go on asking where nothing answers at all.
        context: Whom to trust with https, and what to prove this job with; None trusts as this process does.

    Attributes:
        clock: Seconds by which this node's clock is at least ahead of the hub's, or behind it where negative;
            0 where they agree within the time that its last answer took.

    Raises:
        UsageError: If that is not an http or https URL.
    """

    def __init__(
        self, api_url: str, *, give_up_after: float = 120.0, context: ssl.SSLContext | None = None
    ) -> None:
        try:
            url = urlsplit(api_url)
            self._port = url.port
        except ValueError:  # a port that is none, a bracket that does not close
            url = urlsplit("")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise UsageError("LAUNCHER_HUB_URL is not an http URL.", todo="Tell the site's support.")
        self.url = api_url.rstrip("/")
        self.give_up_after = give_up_after
        self.clock = 0.0
        self._context = context
        self._https = url.scheme == "https"
        self._host = url.hostname
        self._path = url.path.rstrip("/")

    def claim(self, claim: Claim) -> ClaimAnswer:
        """Claim a launch; retry, with back-off, whatever is not the hub's own answer.

        503 says that a hub is on its way: it is asked for as long as the job may run, because one that no
        longer wants the job will say so.

        Raises:
            LaunchRefused: If the hub does not want this job, or another process has claimed the launch.
            HubUnreachable: If nothing answered for `give_up_after` seconds, or something else than a hub for
                `PATIENCE` seconds; or if the hub's own answer is of a form that is not known here.
        """
        silent = strange = time.monotonic()
        pause = 0.5
        while True:
            unanswered: OSError | HTTPException | None = None
            try:
                status, body = self.post(CLAIM_PATH, encode(claim))
            except (OSError, HTTPException) as error:
                unanswered, problem = error, _problem(error)
            else:
                silent = time.monotonic()
                if status == 200:
                    try:
                        return parse_claim_answer(body)
                    except ProtocolError as error:
                        if is_claim_answer(body):
                            raise self._not_understood(error) from None
                        problem = f"an answer that is not the hub's ({error})"
                else:
                    self._refused(status, body)
                    problem = f"HTTP {status}"
                if status == 503:
                    strange = silent
            refused = isinstance(unanswered, ssl.SSLCertVerificationError)
            patience = min(self.give_up_after, _CERTIFICATE_PATIENCE) if refused else self.give_up_after
            for since, limit in ((silent, patience), (strange, max(PATIENCE, self.give_up_after))):
                if time.monotonic() + pause > since + limit:
                    raise self._unreachable(unanswered, problem, limit)
            pause = waited(problem, pause)

    def _unreachable(
        self, unanswered: OSError | HTTPException | None, problem: str, seconds: float
    ) -> HubUnreachable:
        """Return the error of a hub that gave no answer of its own for so many seconds."""
        if isinstance(unanswered, ssl.SSLCertVerificationError):
            return self._not_trusted(unanswered)
        why, todo = f"The last try ended with {problem}.", "nodes must reach the hub"
        proxies = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.upper())]
        if unanswered and proxies:
            # Their values may hold passwords.
            why += f" The hub is asked directly, not through the proxy of {', '.join(proxies)}."
            todo += " without a proxy"
        return HubUnreachable(
            f"The hub at {self.url} could not be reached from this node for {seconds:.0f} seconds.",
            why=why,
            todo=f"Press Start again; if it happens again, tell the site's support: {todo}.",
        )

    def _not_trusted(self, error: ssl.SSLCertVerificationError) -> HubUnreachable:
        """Return the error of a certificate that is refused."""
        todo = "Tell the site's support: hub_ca of the cluster file must name the certificates of whoever "
        todo += "issued it."
        why = f"OpenSSL says: {error.verify_message}."
        if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
            now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time.time()))
            state = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
            what = f"The certificate of the hub at {self.url} {state}, by this node's clock: {now}."
            todo = (
                "If that time is wrong, press Start again to get another node. In any case tell the site's "
            )
            todo += "support: either the node's clock or the hub's certificate must be mended."
        elif error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
            what = f"The certificate of the hub at {self.url} is another machine's."
            todo = "Tell the site's support: the certificate must hold the name by which nodes ask the hub."
        else:
            what = f"The certificate of the hub at {self.url} is not trusted on this node."
            if self._context is None and (sought := sought_in_vain()):
                why += f" This machine has no CA certificates where they were sought: {', '.join(sought)}."
        return HubUnreachable(what, why=why, todo=todo)

    def _not_understood(self, error: ProtocolError) -> HubUnreachable:
        """Return the error of a hub whose answer is its own, and will be the same the next time."""
        return HubUnreachable(
            f"The hub at {self.url} answered in a form that this node does not understand.",
            why=f"{error}.",
            todo="Launcher versions on the hub and on the node may differ: tell the site's support.",
        )

    def _refused(self, status: int, body: bytes) -> None:
        """Raise for an answer that is the hub's own; a proxy's 404, 410 or 50x is none."""
        refusal = parse_refusal(body) if status == 410 else None
        if refusal is not None:
            raise LaunchRefused("The hub does not want this job.", why=refusal)
        if status == 409:
            raise LaunchRefused("This launch was claimed by another process.")
        if status in (400, 413):
            raise LaunchRefused(
                "The hub did not understand this node.",
                why=f"It answered with HTTP {status}.",
                todo="Launcher versions on the hub and on the node may differ: tell the site's support.",
            )

    def event(self, body: bytes, launch_key: str) -> tuple[int, bytes]:
        """Send a signed event; return status and body.

        Raises:
            OSError: If the hub can't be reached.
            HTTPException: If the answer is not HTTP.
        """
        return self.post(EVENTS_PATH, body, {SIGNATURE_HEADER: sign(launch_key, body)})

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Post JSON; return status and body."""
        return self.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Ask once; return status and body.

        Proxy variables of the user's environment are not looked at: the hub is asked directly.

        Raises:
            OSError: If the hub can't be reached.
            HTTPException: If the answer is not HTTP.
        """
        connection = (
            HTTPSConnection(self._host, self._port, timeout=REQUEST_TIMEOUT, context=self._context)
            if self._https
            else HTTPConnection(self._host, self._port, timeout=REQUEST_TIMEOUT)
        )
        try:
            asked = time.time()
            connection.request(method, f"{self._path}/{path}", body, {"Connection": "close", **headers})
            answer = connection.getresponse()
            self.clock = _ahead(answer.getheader("Date", ""), asked, time.time())
            return answer.status, answer.read(_MAX_ANSWER)
        finally:
            connection.close()


def waited(problem: str, pause: float) -> float:
    """Wait before the hub is asked again, and say so; return how long to wait the next time, in seconds.

    Args:
        problem: What came of the last try.
        pause: How long to wait now, in seconds, before jitter.
    """
    print(
        f"launcher-singleuser: no answer from the hub yet ({problem}), trying again",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load
    return min(pause * 2, 15.0)


def _problem(error: OSError | HTTPException) -> str:
    """Return why there was no answer."""
    words = {
        ssl.SSLCertVerificationError: "a certificate that is not trusted",
        ssl.SSLError: "a connection that could not be secured",
        socket.gaierror: "a name that could not be looked up",
        ConnectionRefusedError: "nothing that listens there",
        TimeoutError: "silence",
    }
    kind = next((text for kind, text in words.items() if isinstance(error, kind)), "")
    said = f"{type(error).__name__}: {error}"
    return f"{kind} ({said})" if kind else said


def _ahead(date: str, asked: float, answered: float) -> float:
    """Return by how many seconds this node's clock is ahead of a hub's, or behind it where negative.

    Args:
        date: The hub's clock, in whole seconds, at some time while it was asked: RFC 9110, section 6.6.1.
        asked: This node's before it asked, in seconds since 1970.
        answered: This node's once it had the answer.
    """
    try:
        fields = parsedate_tz(date)
        hub = mktime_tz(fields) if fields else None
    except (ValueError, OverflowError):
        hub = None
    if hub is None:
        return 0.0
    return max(asked - (hub + 1), 0.0) or min(answered - hub, 0.0)
