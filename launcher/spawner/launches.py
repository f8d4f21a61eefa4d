"""All launches that this hub knows, and what has happened to each since the hub started."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Self

from jupyterhub import orm
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from launcher.clusters.kept import kept_cluster
from launcher.database.commits import Commits
from launcher.database.launch_record import STATE_KEY, LaunchRecord, Phase
from launcher.errors import LauncherError
from launcher.firecrest import Known
from launcher.metrics import PHASE_SECONDS
from launcher.protocol import Event, EventKind, Pulling, ticket_hash
from launcher.words import pending
from launcher.words.ended import Ended

if TYPE_CHECKING:
    from launcher.spawner.spawner import LauncherSpawner


SUCCESSOR_WITHIN = 600.0
"""Seconds in which a hub that is restarted makes good a start that waited for the end of the last launch."""
READY_AT = 95
"""Percent: the hub itself says the rest."""
_PULLS_EVERY = 1.0
"""Seconds between two words on a pull that are taken: a job could send any number."""


class Launch:
    """One launch in this process: its record, its progress and its outcome.

    Attributes:
        record: What is saved of it.
        user: Name of its user.
        server: Name of its server; empty for the user's default one.
        spawner: The spawner that made or adopted it in this process, or whose server is ready.
        cluster: What the cluster file said when the launch began, or None if that was not saved.
        awaited: Whether the hub, which was restarted, is about to take this start up again.
        row: What JupyterHub's database holds of its server, as far as it was looked for.
        last_event: `time.monotonic()` of the last sign of life of the server, or None.
        sequence: Sequence number of the last event.
        submission: The submit under way, if any.
        ending: What sees the job off, if it should end.
        ending_problem: Why that could not be done yet, or None.
        messages: Progress messages so far.
        last_pull: `time.monotonic()` of the last word that its job pulls an image, or None.
        ended: What the node said when it stopped, or None while it has not.
        reason: Its word for why.
        message: Its sentences for people.
        exit_code: The exit code that came with it.
        script_ended: Whether the batch script itself has said its last words.
        doubt: What the scheduler says while the server neither says anything nor answers; else None.
        failure: Why the launch can't succeed, or None.
        how_ended: How its session ended by itself, or None while it has not.
    """

    def __init__(self, record: LaunchRecord, user: str, server: str = "") -> None:
        self.record = record
        self.user = user
        self.server = server
        self.spawner: LauncherSpawner | None = None
        self.cluster = kept_cluster(record.cluster_file)
        self.awaited = False
        self.row: orm.Spawner | None = None
        self.last_event: float | None = None
        self.sequence = 0
        self.submission: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None
        self.ending_problem: LauncherError | None = None
        self.messages: list[dict[str, Any]] = []
        self.last_pull: float | None = None
        self.ended: str | None = None
        self.reason = self.message = ""
        self.exit_code: int | None = None
        self.script_ended = False
        self.doubt: Known | None = None
        self.failure: Exception | None = None
        self.how_ended: Ended | None = None
        self._changed = asyncio.Event()
        self._phase_since = time.monotonic()

    @property
    def name(self) -> str:
        """Whose server it is, for people."""
        return f"{self.user}:{self.server}" if self.server else self.user

    @property
    def wanted(self) -> bool:
        """Whether the job of this launch should live: its server is ready, or somebody waits for it."""
        if self.record.phase in (Phase.ENDING, Phase.GONE):
            return False
        return self.record.phase is Phase.READY or self.spawner is not None or self.awaited

    @property
    def gone(self) -> bool:
        """Whether its job is known to be gone."""
        return self.record.phase is Phase.GONE

    @property
    def has_successor(self) -> bool:
        """Whether a start waits for its end, or a hub that was restarted is about to make that good."""
        # A clock that was set back, or damage, must not make it good for ever.
        return 0 < self.record.successor_until - time.time() < 2 * SUCCESSOR_WITHIN

    @property
    def starting(self) -> bool:
        """Whether it is on its way to a server that is ready."""
        return self.record.phase in (Phase.SUBMITTING, Phase.SUBMITTED, Phase.CLAIMED)

    @property
    def phase_seconds(self) -> float:
        """For how long it has been in its phase, as far as this process knows."""
        return time.monotonic() - self._phase_since

    @property
    def silent_seconds(self) -> float:
        """How long its last sign of life is past, as far as this process knows."""
        return time.monotonic() - (self.last_event or self._phase_since)

    @property
    def ticket_expired(self) -> bool:
        """Whether the ticket is too old to claim the launch."""
        return self.record.ticket_expires <= time.time()

    def enter(self, phase: Phase) -> None:
        """Go on to a phase."""
        if phase is self.record.phase:
            return
        now = time.monotonic()
        PHASE_SECONDS.labels(self.record.cluster, self.record.phase.value).observe(now - self._phase_since)
        self._phase_since = now
        self.record.phase = phase
        # One that ends is taken up by nobody: its user may have stopped it, or asked for another one, before.
        self.awaited = self.awaited and self.wanted
        self.touch()

    def say(self, percent: int, text: str) -> None:
        """Add a progress message, unless the last one said the same; the page never goes back."""
        last = self.messages[-1:]
        message = {"progress": max([percent, *(each["progress"] for each in last)]), "message": text}
        if last != [message]:
            self.messages.append(message)
            self.touch()

    def fail(self, failure: Exception) -> None:
        """Note why the launch can't succeed; the first reason counts."""
        self.failure = self.failure or failure
        self.touch()

    def touch(self) -> None:
        """Wake all that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def alive(self) -> None:
        """Note a sign of life."""
        self.last_event = time.monotonic()
        self.doubt = None

    def heard(self, event: Event) -> None:
        """Note a signed event: the node is alive, or says that it stops."""
        self.alive()
        if event.kind is EventKind.STOPPING:
            self.reason, self.message = event.reason, event.message
            self.ended = self.message or self.reason
            self.exit_code = event.exit_code
        self.touch()

    def heard_pulling(self, pulling: Pulling) -> None:
        """Note that the job runs and pulls an image."""
        now, last = time.monotonic(), self.last_pull
        if self.record.phase in (Phase.SUBMITTING, Phase.SUBMITTED) and (
            last is None or now - last >= _PULLS_EVERY
        ):
            self.last_pull = now
            self.say(*pending.pulling(pulling))

    def heard_script(self, exit_code: int) -> None:
        """Note the batch script's own last words."""
        self.script_ended = True
        if self.ended is None:
            self.ended = ""
        if self.exit_code is None:
            self.exit_code = exit_code
        self.touch()

    async def change(self, timeout: float) -> None:
        """Wait for a change, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield every progress message, from the first on, until the launch is ready or over."""
        shown = 0
        while True:
            while shown < len(self.messages):
                yield dict(self.messages[shown])
                shown += 1
            if self.failure or not self.wanted or _is_ready(self.messages):
                return
            await self.change(timeout=60)


def _is_ready(messages: list[dict[str, Any]]) -> bool:
    """Tell whether the last message is that of a server that answers."""
    return bool(messages) and messages[-1]["progress"] >= READY_AT


class Launches:
    """The launches of one hub, by launch id and by the hash of their ticket.

    Use `Launches.of`: there is one a hub.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._by_id: dict[str, Launch] = {}
        self._by_ticket: dict[str, str] = {}
        self._commits = Commits(session, self._change)
        # Servers whose users have not come back since a restart are known only to the database. Names come
        # with them: where there are thousands, a look for each user would take longer than all else.
        for row, user in session.query(orm.Spawner, orm.User.name).join(orm.User):
            record = LaunchRecord.from_state(row.state or {})
            if record:
                launch = self.add(Launch(record, user, row.name))
                # A ready one whose server JupyterHub has dropped is taken up, too.
                launch.awaited = (launch.starting and not launch.ticket_expired) or (
                    record.phase is Phase.READY and row.server_id is None
                )

    @classmethod
    def of(cls, settings: MutableMapping[str, Any], session: Session) -> Self:
        """Return the launches of the hub whose settings these are, read from its database at first use."""
        if "launcher_launches" not in settings:
            settings["launcher_launches"] = cls(session)
        launches: Self = settings["launcher_launches"]
        return launches

    def __iter__(self) -> Iterator[Launch]:
        return iter(list(self._by_id.values()))

    def add(self, launch: Launch) -> Launch:
        """Add a launch, or return the one that is already known by its id."""
        known = self._by_id.setdefault(launch.record.launch_id, launch)
        self._by_ticket[known.record.ticket_hash] = known.record.launch_id
        return known

    def save(self, launch: Launch) -> None:
        """Save a launch's record now; of one whose job is gone, forget it.

        JupyterHub itself saves only once start() has returned: too late for a hub that dies before. A launch
        that another has replaced saves nothing any more.
        """
        self._commits.now(launch)

    def save_later(self, launch: Launch) -> None:
        """Save a launch's record within a second, together with others'."""
        self._commits.later(launch)

    async def saved(self, launch: Launch, also: Callable[[], None] | None = None) -> None:
        """Save it in a moment, together with others', and wait until it is.

        Args:
            launch: The launch.
            also: What changes more of what is then committed, as of `Commits.soon`.
        """
        await asyncio.shield(self._commits.soon(launch, also))

    def _change(self, launch: Launch) -> None:
        """Put a launch's record into the row that it belongs into."""
        record = launch.record
        gone = record.phase is Phase.GONE
        if gone:
            self._by_id.pop(record.launch_id, None)
            self._by_ticket.pop(record.ticket_hash, None)
        row = self._row(launch)
        if row is None:  # a named server may be deleted while its job ends
            return
        if gone and launch.has_successor:  # a hub that dies before the next one is saved must know of that
            return
        state = dict(row.state or {})
        saved_id = (state.get(STATE_KEY) or {}).get("launch_id")
        if saved_id != record.launch_id and saved_id in self._by_id:
            return
        if gone:
            state.pop(STATE_KEY, None)
        else:
            state[STATE_KEY] = record.to_state()
        if row.state != state:  # else JupyterHub has just saved the same: nothing need be written
            row.state = state

    def _row(self, launch: Launch) -> orm.Spawner | None:
        """Return what the database holds of a launch's server."""
        # After an error the session knows nothing of its rows, not even whether they are still there.
        if launch.row is None or not inspect(launch.row).persistent or inspect(launch.row).expired:
            named = orm.User.name == launch.user, orm.Spawner.name == launch.server
            launch.row = self._session.query(orm.Spawner).join(orm.User).filter(*named).one_or_none()
        return launch.row

    def get(self, launch_id: str) -> Launch | None:
        """Return the launch of that id, if it is known."""
        return self._by_id.get(launch_id)

    def by_ticket(self, ticket: str) -> Launch | None:
        """Return the launch that a ticket belongs to, if it is known."""
        return self._by_id.get(self._by_ticket.get(ticket_hash(ticket), ""))
