"""Carries out what a program of a soak says."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.soak import mishaps
from benchmarks.soak.journal import SITE, Journal
from benchmarks.soak.person import Person
from benchmarks.soak.program import Act, Deed
from benchmarks.soak.scene import Scene
from benchmarks.soak.server import Server, Wish
from launcher.check.browser import NoAnswer
from launcher.sandbox.scheduler import JobState

MANY = 100
"""Slots for as many jobs as there may be."""

_OF_JOBS = frozenset({Deed.ENDED, Deed.KILLED, Deed.LEAVES, Deed.REQUEUED, Deed.HANGS})
_SILENT = frozenset({JobState.NODE_FAIL, JobState.OUT_OF_MEMORY})
"""How a job may end so that not even its script has last words."""
_BACK_IN_THE_QUEUE = 2.0
_AT_ONCE = 2
"""Acts at a time for each person, so that a slow machine is not asked ever more."""


class Acts:
    """What happens on a site.

    Args:
        scene: The site.
        people: Its people, by their numbers.
        servers: Number of a person and name of a server → the server.
        journal: Hears what happens.
    """

    def __init__(
        self,
        scene: Scene,
        people: Sequence[Person],
        servers: Mapping[tuple[int, str], Server],
        journal: Journal,
    ) -> None:
        self._scene = scene
        self._site = scene.site
        self._people = people
        self._servers = servers
        self._journal = journal
        self._full = 0
        self._outage = asyncio.Lock()
        self._restart = asyncio.Lock()
        self._free = asyncio.Semaphore(_AT_ONCE * len(people))

    async def happen(self, acts: Sequence[Act]) -> None:
        """Carry acts out, each at its time; return when all are over."""
        async with asyncio.TaskGroup() as group:
            for act in acts:
                await asyncio.sleep(act.after)
                await self._free.acquire()
                group.create_task(self._carried_out(act)).add_done_callback(lambda _: self._free.release())

    async def _carried_out(self, act: Act) -> None:
        self._journal.counts["acts"] += 1
        if act.who is None or act.deed is Deed.FAULT:
            await self._of_everybody(act)
        elif act.deed in _OF_JOBS:
            await self._strikes(act, self._servers[act.who, act.server])
        else:
            person = self._people[act.who]
            async with person.at_once:
                if act.deed is Deed.LOG_IN:
                    await person.log_in()
                elif act.deed is Deed.LOOK:
                    with contextlib.suppress(NoAnswer):
                        await person.browser.open(f"{self._site.url}hub/home")
                        await person.browser.open(f"{self._site.url}hub/spawn/{person.name}")
                else:
                    await self._uses(act, self._servers[act.who, act.server])

    async def _uses(self, act: Act, server: Server) -> None:
        """Have somebody use a server of theirs."""
        if act.deed is Deed.OPEN:
            await server.log_in()
        elif act.deed in (Deed.STOP, Deed.REMOVE):
            await server.stop(remove=act.deed is Deed.REMOVE)
        elif act.deed is Deed.START_BY_FORM:
            await server.start_by_form()
        else:
            await server.start(dict(act.options), tabs=2 if act.deed is Deed.START_TWICE else 1)
            if act.deed is Deed.START_AND_STOP:
                await asyncio.sleep(act.lasts)
                await server.stop()

    async def _strikes(self, act: Act, server: Server) -> None:
        """Have something happen to the job of a server, if it runs."""
        record = self._scene.records().get(server.key)
        job = await self._scene.scheduler.job(record["job_id"]) if record else None
        if record is None or job is None or job.state != JobState.RUNNING:
            return
        account, scheduler = server.owner.account, self._scene.scheduler
        server.note(f"job {job.id}, {record['phase']}: {act.deed} {act.detail}", counted=act.deed)
        if act.deed is Deed.HANGS:
            await asyncio.to_thread(mishaps.signal_job, account, job.id, signal.SIGSTOP)
            await asyncio.sleep(act.lasts)
            await asyncio.to_thread(mishaps.signal_job, account, job.id, signal.SIGCONT)
            server.note(f"job {job.id} goes on")
            return
        if server.wish is Wish.RUNNING:
            # One that was not ready may have been submitted anew, and one that was requeued comes again.
            sure = record["phase"] == "ready" and act.deed is not Deed.REQUEUED
            server.wish = Wish.NONE if sure else Wish.EITHER
        if act.deed is Deed.ENDED:
            server.silent = at_once = act.detail in _SILENT
            scheduler.end(job.id, JobState(act.detail), at_once=at_once)
        elif act.deed is Deed.REQUEUED:
            scheduler.requeue(job.id, after=_BACK_IN_THE_QUEUE)
        else:
            number = signal.SIGKILL if act.deed is Deed.KILLED else signal.SIGTERM
            await asyncio.to_thread(mishaps.signal_job, account, job.id, number, server_only=True)

    async def _of_everybody(self, act: Act) -> None:
        """Have something happen to the site."""
        name = "*" if act.who is None else self._people[act.who].name
        gateway, scheduler = self._site.gateway, self._scene.scheduler
        if act.deed is Deed.FAULT:
            whom = "" if act.who is None else f" for {name}"
            with self._lasting(f"{act.detail}{whom}", "faults"), mishaps.FAULTS[act.detail](self._site, name):
                await asyncio.sleep(act.lasts)
        elif act.deed is Deed.QUEUE_FULL:
            with self._lasting(act.deed, "faults"):
                self._full += 1
                scheduler.slots = 0
                await asyncio.sleep(act.lasts)
                self._full -= 1
                scheduler.slots = 0 if self._full else MANY
        elif act.deed is Deed.GATEWAY_DOWN:
            async with self._outage:
                with self._lasting(act.deed, "faults"):
                    await gateway.stop()
                    await asyncio.sleep(act.lasts)
                    await gateway.start()
        else:
            async with self._restart:
                with self._lasting(act.deed, act.deed):
                    await self._restarts(act)

    async def _restarts(self, act: Act) -> None:
        hub = self._site.hub
        if act.deed is Deed.PROXY_RESTARTED:
            await hub.restart_proxy()
            return
        await (hub.kill_hub() if act.deed is Deed.HUB_KILLED else hub.terminate_hub())
        await asyncio.sleep(act.lasts)
        await hub.start_hub()

    @contextlib.contextmanager
    def _lasting(self, what: str, counted: str) -> Iterator[None]:
        self._journal.note(SITE, f"{what}: begins")
        self._journal.counts[counted] += 1
        yield
        self._journal.note(SITE, f"{what}: is over")
