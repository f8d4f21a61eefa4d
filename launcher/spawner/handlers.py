"""The two messages of a job, as handlers of the hub's API.

Neither asks for a log-in: a claim proves itself by its ticket, an event by the launch key. Neither reads
the database, except that a claim saves its record. They are handlers of Tornado's own: what JupyterHub's do
for users and browsers has no meaning for nodes, which send three messages at each start.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeGuard, TypeVar

from jupyterhub.metrics import prometheus_log_method
from tornado.web import Finish, RequestHandler, stream_request_body

from launcher.database.launch_record import Phase
from launcher.protocol import (
    CLAIM_PATH,
    EVENTS_PATH,
    MAX_MESSAGE_BYTES,
    SIGNATURE_HEADER,
    Event,
    EventKind,
    ProtocolError,
    Pulling,
    derive_launch_key,
    encode,
    encode_refusal,
    parse_claim,
    parse_event,
    verify,
)
from launcher.spawner.launches import Launch, Launches

_NO_USE = "The hub has no use for this job: it was stopped, replaced, or came too late."
_Message = TypeVar("_Message")


@stream_request_body
class _NodeHandler(RequestHandler):
    """What both have in common: a short JSON body from a compute node."""

    def initialize(self) -> None:
        self.body = b""

    def check_xsrf_cookie(self) -> None:
        """Cookies mean nothing here."""

    def prepare(self) -> None:
        """Look at the length before anything is read."""
        length = self.request.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_MESSAGE_BYTES:
            self._too_long()

    def data_received(self, chunk: bytes) -> None:
        """Keep the body, and of one that is too long just enough to know that it is."""
        self.body = (self.body + chunk)[: MAX_MESSAGE_BYTES + 1]

    def _too_long(self) -> None:
        self.set_header("Connection", "close")
        self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A message has at most {MAX_MESSAGE_BYTES} bytes.")
        raise Finish

    def read(self, parse: Callable[[bytes], _Message]) -> _Message:
        """Return the message that came, or answer 413 or 400 and finish."""
        if len(self.body) > MAX_MESSAGE_BYTES:
            self._too_long()
        try:
            return parse(self.body)
        except ProtocolError as error:
            self.answer(HTTPStatus.BAD_REQUEST, str(error))
            raise Finish from None

    @property
    def launches(self) -> Launches:
        return Launches.of(self.settings["users"].settings, self.settings["db"])

    def launch_key(self, launch: Launch) -> str:
        return derive_launch_key(self.settings["cookie_secret"], launch.record.launch_id)

    def answer(self, status: HTTPStatus, message: str) -> None:
        """Answer with JSON for people who read logs."""
        self.set_status(status)
        self.finish({"status": status, "message": message})

    def put_off(self) -> None:
        """Have a job ask again: the hub was restarted, and is about to take its launch up."""
        self.set_header("Retry-After", "5")
        self.answer(HTTPStatus.SERVICE_UNAVAILABLE, "The hub has not yet taken this launch up again.")

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer in JSON, too, if something went wrong here."""
        self.answer(HTTPStatus(status_code), HTTPStatus(status_code).phrase)

    def _log(self) -> None:
        """Keep what goes well out of the hub's log: thousands of servers say now and then that they live."""
        if self.get_status() == HTTPStatus.OK:
            prometheus_log_method(self)
        else:
            super()._log()

    def refuse(self, why: str) -> None:
        """Tell a job, in the one form that may end it, that it is not wanted."""
        self.set_status(HTTPStatus.GONE)
        self.set_header("Content-Type", "application/json")
        self.finish(encode_refusal(why))


def _wanted(launch: Launch | None) -> TypeGuard[Launch]:
    return launch is not None and launch.wanted


class ClaimHandler(_NodeHandler):
    """`POST /hub/api/launcher/claim`."""

    async def post(self) -> None:
        """Answer 200 with what the job needs, 400, 409, 410 in our own words, 413, or 503."""
        claim = self.read(parse_claim)
        launch = self.launches.by_ticket(claim.ticket)
        if not _wanted(launch) or launch.ticket_expired:
            self.refuse(_NO_USE)
            return
        record = launch.record
        if launch.spawner is None:
            self.put_off()
            return
        if record.phase is Phase.READY:
            self.answer(HTTPStatus.CONFLICT, "This launch is ready; its ticket claims nothing any more.")
            return
        if record.nonce not in ("", claim.nonce) or record.job_id not in ("", claim.job_id):
            self.settings["log"].warning(
                "Second claim for launch %s of %s, from job %s on %s",
                *(record.launch_id, launch.name, claim.job_id, claim.node),
            )
            self.answer(HTTPStatus.CONFLICT, "This launch was claimed by another process.")
            return
        answer = await launch.spawner.claimed(launch, claim, self.launch_key(launch))
        if not _wanted(launch):  # it was stopped while the claim was saved
            self.refuse(_NO_USE)
            return
        self.set_header("Content-Type", "application/json")
        self.finish(encode(answer))


class EventsHandler(_NodeHandler):
    """`POST /hub/api/launcher/events`."""

    async def post(self) -> None:
        """Answer 200, 400, 403, 410 in our own words, 413, 422 for an address that can't be right, or 503."""
        event = self.read(parse_event)
        if isinstance(event, Event):
            launch = self.launches.get(event.launch_id)
        else:
            launch = self.launches.by_ticket(event.ticket)
        if launch is None:
            self.refuse("The hub does not know this launch.")
            return
        if isinstance(event, Event):
            if not self._taken(launch, event):
                return
            if event.kind is EventKind.READY:
                # Its node says so only until it has this answer: a hub that dies before is told once more.
                await self.launches.saved(launch)
        # A submit that was made again may have made two jobs: what the other one says means nothing.
        elif not event.job_id or launch.record.job_id in ("", event.job_id):
            if isinstance(event, Pulling):
                launch.heard_pulling(event)
            else:
                launch.heard_script(event.exit_code)
                self._ended(launch)
        if not launch.wanted:
            self.refuse("This server was stopped.")
            return
        self.answer(HTTPStatus.OK, "noted")

    def _taken(self, launch: Launch, event: Event) -> bool:
        """Take a signed event, or answer why not and return False."""
        signature = self.request.headers.get(SIGNATURE_HEADER, "")
        if not verify(self.launch_key(launch), self.body, signature):
            self.answer(HTTPStatus.FORBIDDEN, "The signature is not that of this launch.")
            return False
        if launch.awaited and event.kind is not EventKind.STOPPING:
            self.put_off()
            return False
        if event.sequence <= launch.sequence:
            return True
        launch.sequence = event.sequence
        problem = launch.spawner.happened(launch, event) if launch.spawner else ""
        launch.heard(event)
        if event.kind is EventKind.STOPPING:
            self._ended(launch)
        if problem:
            self.answer(HTTPStatus.UNPROCESSABLE_ENTITY, problem)
        return not problem

    def _ended(self, launch: Launch) -> None:
        if launch.spawner:
            launch.spawner.said_to_end(launch)


HANDLERS = [(f"/api/{CLAIM_PATH}", ClaimHandler), (f"/api/{EVENTS_PATH}", EventsHandler)]
