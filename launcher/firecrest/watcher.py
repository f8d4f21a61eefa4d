"""One watcher for all jobs of an identity on a cluster: whoever wants to know of a job asks it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from typing import Any

from launcher.errors import FirecrestError
from launcher.firecrest.client import Firecrest
from launcher.firecrest.identity import Identity
from launcher.firecrest.job import JobStatus, Verdict

STARTING = (3.0, 17.0, 75.0)
"""Seconds between two looks at a job that was just submitted; the last one repeats, as in all of these.

They only say why it waits: once it runs it says so itself. Whoever sees that something is odd looks sooner.
"""
ENDING = (0.0, 0.4, 0.8, 1.5, 3.0, 6.0)
"""The same of a job that should end soon."""
DOUBTFUL = (0.0, 30.0, 60.0, 120.0, 240.0, 300.0)
"""The same of one whose server neither says anything nor answers."""

_GATHER = 0.1
"""Seconds in which those who ask at almost the same moment come together."""
_SOON = 3.0
"""Seconds before a look that somebody new asks for, while looks fail for want of a log-in."""
_BACK_OFF = 15.0
_LONGEST_BACK_OFF = 300.0
_ONE_BY_ONE = 5
"""Jobs that one round asks for by themselves."""
_LONG = 500
"""Jobs from which on a list takes the hub longer than so few single answers: it keeps nobody else waiting."""
_LOST_AFTER = 3
_LOST_FOR = 45.0
"""A job is lost once it was not known so many times in a row, over so many seconds: accounting slips."""


@dataclass
class Known:
    """What the scheduler has said of one job.

    Attributes:
        status: Its last word on the job, or None. An error does not change it.
        problem: Why the last look told nothing; empty if it told something.
        looks: Looks so far, with or without an answer.
        asked: `time.monotonic()` of the last question for this job alone.
    """

    status: JobStatus | None = None
    problem: str = ""
    looks: int = 0
    asked: float = 0.0
    _absent: int = 0
    _absent_since: float = 0.0

    @property
    def lost(self) -> bool:
        """Whether the scheduler, asked again and again, knows no such job."""
        return self._absent >= _LOST_AFTER

    @property
    def words(self) -> str:
        """The same for admins: why the last look told nothing, or else Slurm's word; empty before a look."""
        return self.problem or (self.status.state if self.status else "")

    @property
    def verdict(self) -> Verdict:
        """What that means for the job."""
        if self.lost:
            return Verdict.DEAD
        said = self.status.verdict if self.status else Verdict.UNKNOWN
        return Verdict.UNKNOWN if self.problem and said is not Verdict.DEAD else said

    @property
    def final(self) -> JobStatus | None:
        """The last state of a job that is over, an empty one if the scheduler did not tell; else None."""
        if self.verdict is not Verdict.DEAD:
            return None
        return self.status if self.status and self.status.verdict is Verdict.DEAD else JobStatus("")

    def saw(self, status: JobStatus) -> None:
        """Note an answer."""
        self._absent = 0
        if status.verdict is Verdict.UNKNOWN:
            self.failed(f"Slurm's state {status.state!r} is none that this release knows")
            return
        self.looks += 1
        self.status, self.problem = status, ""

    def missed(self, now: float) -> None:
        """Note that one who would see the job was told that there is none."""
        self._absent_since = self._absent_since if self._absent else now
        # Counted only as far apart as accounting may slip for.
        if now - self._absent_since >= self._absent * _LOST_FOR / (_LOST_AFTER - 1):
            self._absent += 1
        self.failed("the scheduler knows no such job")

    def failed(self, problem: str) -> None:
        """Note a look that told nothing."""
        self.looks += 1
        self.problem = problem


@dataclass(eq=False)
class Follower:
    """One who wants to know of a job.

    Attributes:
        job_id: The job.
        known: What is known of it.
        owner: The job's owner, asked where the watcher's own identity does not see the job; or None.
    """

    job_id: str
    owner: Identity | None
    known: Known
    pace: Sequence[float]
    told: Callable[[], None]
    changed: asyncio.Event
    step: int = 0
    due: float = 0.0
    looked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pause(self) -> float:
        """Seconds before its next look."""
        return self.pace[min(self.step, len(self.pace) - 1)]

    def comes_soon(self, now: float) -> bool:
        """Tell whether its next look is so near that it may come now, together with another's."""
        return self.due - now <= self.pause / 2

    def look_within(self, seconds: float) -> None:
        """Have the next look come so soon at least."""
        self.due = min(self.due, time.monotonic() + seconds)
        self.changed.set()

    async def next_look(self) -> Known:
        """Wait until the job was looked at once more."""
        self.looked.clear()
        await self.looked.wait()
        return self.known


class Watcher:
    """Looks at the jobs of one identity, all in one call, while somebody follows any of them.

    Args:
        firecrest: Where.
        who: The identity.
        log: Hears when looks begin to fail, and when they are good again.
        listed: Gets what each list holds: ids of jobs that nobody follows may be among them.
    """

    def __init__(
        self,
        firecrest: Firecrest,
        who: Identity,
        log: Logger | LoggerAdapter[Any],
        listed: Callable[[dict[str, JobStatus]], None] = lambda _: None,
    ) -> None:
        self.who = who
        self._firecrest = firecrest
        self._log = log
        self._listed = listed
        self._followers: set[Follower] = set()
        self._seen: set[str] = set()
        self._length = 0
        self._failures = 0
        self._logged_out = False
        self._problem = ""
        self._not_before = 0.0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def follow(
        self,
        job_id: str,
        pace: Sequence[float],
        *,
        owner: Identity | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> Iterator[Follower]:
        """Look at a job from time to time.

        Args:
            job_id: The job.
            pace: Seconds before each look; the last repeats. Looks for others come on top.
            owner: The job's owner, if their tokens can be had.
            told: Called after each look.
        """
        now = time.monotonic()
        known = self._known(job_id)
        follower = Follower(job_id, owner, known, pace, told, self._changed, due=now + pace[0])
        if self._logged_out:  # whoever is new may have brought a log-in that is good again
            self._not_before = min(self._not_before, now + _SOON)
        self._followers.add(follower)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            self._changed.set()

    async def look(self, job_id: str, owner: Identity | None = None) -> Known:
        """Look at a job now, together with all who ask at this moment; while looks fail, say so at once."""
        if time.monotonic() < self._not_before:
            known = self._known(job_id)
            known.failed(self._problem)
            return known
        with self.follow(job_id, (0.0, _LONGEST_BACK_OFF), owner=owner) as follower:
            return await follower.next_look()

    def answered(self) -> None:
        """Note that FirecREST has just carried something out: looks are put off no longer."""
        self._failures, self._not_before = 0, 0.0

    def _known(self, job_id: str) -> Known:
        return next((each.known for each in self._followers if each.job_id == job_id), None) or Known()

    async def _watch(self) -> None:
        try:
            while self._followers:
                self._changed.clear()
                due = max(min(each.due for each in self._followers) + _GATHER, self._not_before)
                try:
                    async with asyncio.timeout(due - time.monotonic()):
                        await self._changed.wait()
                except TimeoutError:
                    await self._round()
        finally:
            self._task = None

    async def _round(self) -> None:
        began = time.monotonic()
        followers = sorted(self._followers, key=lambda each: each.due, reverse=True)
        looks = {each.job_id: each.known.looks for each in followers}
        problem = "FirecREST's list does not hold it"
        try:
            await self._ask({each.job_id: each for each in followers})
        except FirecrestError as error:
            problem = self._trouble(error)
        except Exception:  # noqa: BLE001 - the next round is another chance
            self._log.exception("Jobs of %s: a look at them failed", self.who.key)
            problem = self._trouble(FirecrestError("The hub made a mistake."))
        else:
            if self._failures:
                self._log.info("Jobs of %s: FirecREST tells of them again", self.who.key)
            self._failures = 0
        now = time.monotonic()
        for each in followers:
            if each.known.looks == looks[each.job_id]:
                if not each.comes_soon(began):
                    continue
                each.known.failed(problem)
            each.step += 1
            each.due = now + each.pause * random.uniform(1, 1.15)  # noqa: S311 - spreads load
            each.looked.set()
            each.told()

    def _trouble(self, error: FirecrestError) -> str:
        """Look less often; return why in words."""
        if not self._failures:
            self._log.warning("Jobs of %s: can't tell their state: %s", self.who.key, error)
        self._failures += 1
        self._problem = _words(error)
        self._logged_out = error.status == 401
        pause = min(_BACK_OFF * 2.0 ** min(self._failures - 1, 10), _LONGEST_BACK_OFF)
        self._not_before = time.monotonic() + pause * random.uniform(0.7, 1.3)  # noqa: S311 - spreads load
        return self._problem

    async def _ask(self, followers: dict[str, Follower]) -> None:
        """Ask for all jobs at once, and one by one for some of those that the answer does not hold.

        A few are asked for one by one at once where the last list was long.
        """
        began = time.monotonic()
        due = sum(each.comes_soon(began) for each in followers.values())
        listed = await self._list() if due > _ONE_BY_ONE or self._length < _LONG else None
        missing = []
        for job_id, follower in followers.items():
            if listed is not None and job_id in listed:
                self._seen.add(job_id)
                follower.known.saw(listed[job_id])
            elif follower.comes_soon(began):
                missing.append(follower)
        if listed is not None:
            self._listed(listed)
        # Those who have waited longest come first, so that a few that can't be told keep nobody waiting.
        missing.sort(key=lambda each: each.known.asked)
        for follower in missing[:_ONE_BY_ONE]:
            follower.known.asked = time.monotonic()
            try:
                await self._ask_for(follower)
            except FirecrestError as error:
                if listed is None:
                    raise
                follower.known.failed(_words(error))

    async def _list(self) -> dict[str, JobStatus] | None:
        """Return all jobs, or None if only single answers may still come.

        A list fails as a whole for one odd job in it, or for its length.
        """
        try:
            listed = await self._firecrest.jobs(self.who)
        except FirecrestError as error:
            if error.status != 500:
                raise
            return None
        self._length = len(listed)
        return listed

    async def _ask_for(self, follower: Follower) -> None:
        """Ask for one job: its owner, who sees it for sure, or else whoever may have seen it before."""
        who = follower.owner or self.who
        try:
            status = await self._firecrest.status(who, follower.job_id)
        except FirecrestError as error:
            if who is self.who or error.status != 401:
                raise
            who = self.who
            status = await self._firecrest.status(who, follower.job_id)
        if status is not None:
            self._seen.add(follower.job_id)
            follower.known.saw(status)
        elif not who.everybody or follower.job_id in self._seen:
            follower.known.missed(time.monotonic())
        else:
            follower.known.failed(f"{who.key} may not see the job")


def _words(error: FirecrestError) -> str:
    return " ".join(part for part in (error.what, error.why) if part)
