"""The hub, as a compute node sees it: two addresses that take JSON."""

from __future__ import annotations

import random
import ssl
import sys
import time
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
    parse_claim_answer,
    parse_refusal,
    sign,
)

REQUEST_TIMEOUT = 15.0

PATIENCE = 600.0
"""Seconds to go on asking, before a session is ready, where something answers in the hub's place."""
_MAX_ANSWER = 1024 * 1024


class Hub:
    """The hub's API.

    Args:
        api_url: Its base, such as `https://hub.example.org/hub/api`.
        give_up_after: Seconds to go on asking where nothing answers at all.
        context: Whom to trust with https, and what to prove this job with; None trusts as the system does.

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
                `PATIENCE` seconds.
        """
        silent = strange = time.monotonic()
        pause = 0.5
        while True:
            try:
                status, body = self.post(CLAIM_PATH, encode(claim))
            except (OSError, HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                silent = time.monotonic()
                if status == 200:
                    try:
                        return parse_claim_answer(body)
                    except ProtocolError as error:
                        problem = f"an answer that is not the hub's ({error})"
                else:
                    self._refused(status, body)
                    problem = f"HTTP {status}"
                if status == 503:
                    strange = silent
            patience = max(PATIENCE, self.give_up_after)
            for since, limit in ((silent, self.give_up_after), (strange, patience)):
                if time.monotonic() + pause > since + limit:
                    raise HubUnreachable(
                        f"The hub at {self.url} could not be reached from this node for {limit:.0f} seconds.",
                        why=f"The last try ended with {problem}.",
                        todo="Press Start again; if it happens again, tell the site's support: nodes must "
                        "reach the hub.",
                    )
            print(
                f"launcher-singleuser: no answer from the hub yet ({problem}), trying again",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load
            pause = min(pause * 2, 15.0)

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
        """Post JSON; return status and body.

        Proxy variables of the user's environment are not looked at: the hub is asked directly.
        """
        connection = (
            HTTPSConnection(self._host, self._port, timeout=REQUEST_TIMEOUT, context=self._context)
            if self._https
            else HTTPConnection(self._host, self._port, timeout=REQUEST_TIMEOUT)
        )
        try:
            connection.request(
                "POST",
                f"{self._path}/{path}",
                body,
                {"Content-Type": "application/json", "Connection": "close", **(headers or {})},
            )
            answer = connection.getresponse()
            return answer.status, answer.read(_MAX_ANSWER)
        finally:
            connection.close()
