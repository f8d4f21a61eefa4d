"""Half an hour of a site on which everything happens, and what is counted at its quiet points."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soak.acts import MANY, Acts
from benchmarks.soak.count import Wrong, settled
from benchmarks.soak.gauges import Left, Sample, left, sampled
from benchmarks.soak.hub_log import Traceback, tracebacks
from benchmarks.soak.journal import SITE, Journal
from benchmarks.soak.person import Person
from benchmarks.soak.program import SERVERS, Phase, program
from benchmarks.soak.scene import Scene
from benchmarks.soak.server import Server
from launcher.check.browser import Browser
from launcher.check.signals import ended_by_signals
from launcher.sandbox.scheduler import JobState
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

PEOPLE = 14

_SETTLED_WITHIN = 180.0
"""Seconds after the last mishap in which all must be as people wish: some tries are a minute apart."""
OPTIONS: Mapping[str, Any] = {
    "stand_in": True,
    "cleanup_servers": False,
    "named_servers": True,
    "robot": True,
    # So that it is renewed every minute.
    "token_lifetime": 120,
    # What hubs do every few minutes happens often.
    "spawner": {"http_timeout": 5, "stop_timeout": 5, "stray_grace": 10, "poll_interval": 10},
    "jupyterhub": {"init_spawners_timeout": 2},
}
"""Of the site."""


@dataclass(frozen=True)
class Quiet:
    """A quiet point.

    Attributes:
        minute: When.
        seconds: How long it took until all was as people wish.
        wrong: What was not, at last.
        rows: Table → rows of the hub's database.
        left: What was left when everybody had stopped all servers; None where they have not.
    """

    minute: float
    seconds: float
    wrong: list[Wrong]
    rows: Counter[str]
    left: Left | None


@dataclass
class Outcome:
    """What came of a soak.

    Attributes:
        seed: Its seed.
        people: How many people there were.
        parts: Its phases.
        samples: What hub and proxy used.
        quiet: Its quiet points, one for each phase.
        counts: How often each thing happened.
        tracebacks: Those in the hub's log.
    """

    seed: int
    people: int
    parts: Sequence[Phase]
    samples: list[Sample] = field(default_factory=list)
    quiet: list[Quiet] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tracebacks: Counter[Traceback] = field(default_factory=Counter)


async def run(seed: int, people: int, parts: Sequence[Phase], say: Callable[[str], None]) -> Outcome:
    """Run a soak.

    Args:
        seed: The same one gives the same order of acts.
        people: How many people there are.
        parts: Its phases.
        say: Takes lines for people.

    Raises:
        LauncherError: A part of the site does not come up, or a log-in does not work.
    """
    with ended_by_signals(), state_directory(None) as state:
        names = [f"soak{number:02}" for number in range(people)]
        site = Site(state, scheduler="process", people=names, **OPTIONS)
        say(f"Seed {seed}. Starting a site with {people} people")
        await site.start()
        try:
            async with soaking(site, say) as soak:
                return await soak.run(seed, parts)
        finally:
            await site.stop()


@contextlib.asynccontextmanager
async def soaking(site: Site, say: Callable[[str], None]) -> AsyncIterator[Soak]:
    """Log everybody in on a site with `OPTIONS`; keep what tells of a soak that fails.

    Args:
        site: The site.
        say: Takes lines for people.
    """
    tls = ssl.create_default_context()
    robot = Browser(tls, token=site.hub.api_token, site=site.url)
    async with contextlib.AsyncExitStack() as stack:
        scene = Scene(site, await stack.enter_async_context(robot))
        journal = Journal()
        people = [Person(scene, account, tls, journal) for account in site.accounts]
        for person in people:
            stack.push_async_callback(person.leave)
            await person.log_in()
        soak = Soak(scene, people, journal, say)
        try:
            yield soak
        except BaseException:
            say(f"Logs are kept in {soak.kept()}")
            raise
        finally:
            for server in soak.servers.values():
                await server.leave()


class Soak:
    """Carries out a program, and counts.

    Attributes:
        scene: Where.
        servers: Number of a person and name of a server → the server.
    """

    def __init__(
        self, scene: Scene, people: Sequence[Person], journal: Journal, say: Callable[[str], None]
    ) -> None:
        self.servers = {
            (number, name): Server(scene, person, name, journal)
            for number, person in enumerate(people)
            for name in SERVERS
        }
        self.scene = scene
        self._site = scene.site
        self._people = people
        self._journal = journal
        self._say = say
        self._phase = 0

    async def run(self, seed: int, parts: Sequence[Phase]) -> Outcome:
        """Carry out a program; return what came of it."""
        outcome = Outcome(seed, len(self._people), parts, counts=self._journal.counts)
        acts = Acts(self.scene, self._people, self.servers, self._journal)
        self.scene.scheduler.slots = MANY
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(
                sampled(self.scene, outcome.samples, lambda: (self._journal.minutes, self._phase))
            )
            drawn = program(seed, len(self._people), parts)
            for self._phase, (phase, those) in enumerate(zip(parts, drawn, strict=True)):
                await acts.happen(those)
                outcome.quiet.append(await self._quiet(phase))
                self._report(outcome.quiet[-1])
            watching.cancel()
        outcome.tracebacks = tracebacks(self._site.hub.log.read_text(errors="replace"))
        ours = [each.kind for each in outcome.tracebacks if each.ours]
        if ours:
            self._say(f"Tracebacks of ours: {'; '.join(ours)}")
        if ours or any(quiet.wrong for quiet in outcome.quiet):
            self._say(f"Logs are kept in {self.kept()}; the seed was {seed}.")
        return outcome

    async def _quiet(self, phase: Phase) -> Quiet:
        """Count, when nothing happens any more and all had time to become as people wish."""
        minute, servers = self._journal.minutes, list(self.servers.values())
        self._journal.note(SITE, "quiet point")
        # Of a node that fails the hub learns when its server was silent for long: its owner does so sooner.
        await asyncio.gather(*(server.stop() for server in servers if server.silent))
        found, seconds = await settled(self.scene, servers, _SETTLED_WITHIN)
        rows, after = self.scene.rows(), None
        await self._explain(found)
        if phase.all_stop:
            await asyncio.gather(*(server.stop(remove=bool(server.key[1])) for server in servers))
            more, _ = await settled(self.scene, servers, _SETTLED_WITHIN)
            await self._explain(more)
            found = [*found, *more]
            after = await self._left()
        return Quiet(minute, seconds, found, rows, after)

    async def _left(self) -> Left:
        """Return what is left, once processes have had the time to end."""
        for _ in range(30):
            found = await left(self.scene)
            if not (found.processes or found.spooled):
                break
            await asyncio.sleep(1)
        return found

    async def _explain(self, found: Sequence[Wrong]) -> None:
        """Tell what is wrong, and set it right: what is wrong later on is something else."""
        servers = {server.label: server for server in self.servers.values()}
        for wrong in found:
            self._say(f"\n{wrong.kind}: {wrong.whose}: {wrong.why}")
            self._say("\n".join(self._journal.trail(wrong.whose)))
            if wrong.job:
                self.scene.scheduler.end(wrong.job, JobState.CANCELLED, at_once=True)
            else:
                await servers[wrong.whose].stop()

    def _report(self, quiet: Quiet) -> None:
        what = ("acts", "starts", "servers ready", "faults")
        counts = ", ".join(f"{self._journal.counts[each]} {each}" for each in what)
        self._say(
            f"Minute {quiet.minute:.1f}, after phase {self._phase + 1}: {counts}; "
            f"settled in {quiet.seconds:.0f} s; wrong: {len(quiet.wrong)}"
        )

    def kept(self) -> Path:
        """Copy what tells of what happened; return where to."""
        directory = Path(tempfile.mkdtemp(prefix="launcher-soak-", dir="/var/tmp"))
        for log in (self._site.state / "hub").glob("*.log"):
            shutil.copy(log, directory)
        (directory / "journal.txt").write_text("\n".join(self._journal.lines()) + "\n")
        return directory
