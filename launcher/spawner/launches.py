"""All launches that this hub knows, and what has happened to each since the hub started."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, MutableMapping
from typing import TYPE_CHECKING, Any, Self

from jupyterhub import orm
from pydantic import ValidationError
from sqlalchemy.orm import Session

from launcher.clusters import Cluster
from launcher.protocol import Event, EventKind, ticket_hash
from launcher.spawner.record import LaunchRecord, Phase

if TYPE_CHECKING:
    from launcher.spawner.spawner import LauncherSpawner


class Launch:
    """One launch in this process: its record, its progress and its outcome.

    Attributes:
        record: What is saved of it.
        spawner: The spawner that made or adopted it in this process, or whose server is ready.
        cluster: What the cluster file said when the launch began, or None if that was not saved.
        last_event: `time.monotonic()` of the last message from the node, or None.
        sequence: Sequence number of the last event.
        submission: The submit under way, if any.
        messages: Progress messages so far.
        ended: What the node said when it stopped, or None while it has not.
        exit_code: The exit code that came with it.
        unknown: How many times in a row the scheduler has said that it knows no such job.
        failure: Why the launch can't succeed, or None.
    """

    def __init__(self, record: LaunchRecord) -> None:
        self.record = record
        self.spawner: LauncherSpawner | None = None
        self.cluster = _cluster(record)
        self.last_event: float | None = None
        self.sequence = 0
        self.submission: asyncio.Task[None] | None = None
        self.messages: list[dict[str, Any]] = []
        self.ended: str | None = None
        self.exit_code: int | None = None
        self.unknown = 0
        self.failure: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Whether the job of this launch should live: its server is ready, or somebody waits for it."""
        if self.record.phase is Phase.READY:
            return True
        return self.spawner is not None and self.record.phase not in (Phase.ENDING, Phase.GONE)

    @property
    def ticket_expired(self) -> bool:
        """Whether the ticket is too old to claim the launch."""
        return self.record.ticket_expires <= time.time()

    def say(self, percent: int, text: str) -> None:
        """Add a progress message, unless the last one said the same."""
        message = {"progress": percent, "message": text}
        if not self.messages or self.messages[-1] != message:
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

    def heard(self, event: Event) -> None:
        """Note a signed event: the node is alive, or says that it stops."""
        self.last_event = time.monotonic()
        if event.kind is EventKind.STOPPING:
            self.ended = event.message or event.reason
            self.exit_code = event.exit_code
        self.touch()

    def script_ended(self, exit_code: int) -> None:
        """Note the batch script's own last words."""
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
            if self.failure or self.record.phase in (Phase.READY, Phase.ENDING, Phase.GONE):
                return
            await self.change(timeout=60)


def _cluster(record: LaunchRecord) -> Cluster | None:
    """Return what a record keeps of its cluster file, unless it is another release's."""
    try:
        return Cluster.model_validate(record.cluster_file)
    except ValidationError:
        return None


class Launches:
    """The launches of one hub, by launch id and by the hash of their ticket.

    Use `Launches.of`: there is one a hub.
    """

    def __init__(self, session: Session) -> None:
        self._by_id: dict[str, Launch] = {}
        self._by_ticket: dict[str, str] = {}
        # Servers whose users have not come back since a hub restart are known only to the database.
        for spawner in session.query(orm.Spawner):
            record = LaunchRecord.from_state(spawner.state or {})
            if record:
                self.add(Launch(record))

    @classmethod
    def of(cls, settings: MutableMapping[str, Any], session: Session) -> Self:
        """Return the launches of the hub whose settings these are, read from its database at first use."""
        if "launcher_launches" not in settings:
            settings["launcher_launches"] = cls(session)
        launches: Self = settings["launcher_launches"]
        return launches

    def add(self, launch: Launch) -> Launch:
        """Add a launch, or return the one that is already known by its id."""
        known = self._by_id.setdefault(launch.record.launch_id, launch)
        self._by_ticket[known.record.ticket_hash] = known.record.launch_id
        return known

    def remove(self, launch: Launch) -> None:
        """Forget a launch: its job is known to be gone."""
        self._by_id.pop(launch.record.launch_id, None)
        self._by_ticket.pop(launch.record.ticket_hash, None)

    def get(self, launch_id: str) -> Launch | None:
        """Return the launch of that id, if it is known."""
        return self._by_id.get(launch_id)

    def by_ticket(self, ticket: str) -> Launch | None:
        """Return the launch that a ticket belongs to, if it is known."""
        return self._by_id.get(self._by_ticket.get(ticket_hash(ticket), ""))
