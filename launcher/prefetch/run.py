"""A prefetch from its beginning to its report."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from launcher.check.signals import ended_by_signals
from launcher.clusters import Cluster
from launcher.errors import CheckFailed
from launcher.firecrest.login import ClientCredentials
from launcher.prefetch.here import stage_here
from launcher.prefetch.remote import stage_remotely
from launcher.prefetch.report import Outcome, Report, State, Told
from launcher.prefetch.script import Job
from launcher.prefetch.wanted import Kind, Wanted, wanted
from launcher.protocol import Pulling
from launcher.words.pending import pulling

_LATER = "its image is fetched when a container first starts from it; --containers starts one now"


class Say(Protocol):
    """Takes lines for people; the next one takes the place of a passing one."""

    def __call__(self, line: str, *, passing: bool = False) -> None:
        """Take a line."""


class Errand:
    """The images of one cluster file.

    Args:
        cluster: The cluster file.
        environments: Ids of the environments that count; without one all do.
        containers: Whether a container is started from each EDF.

    Raises:
        UsageError: If there is no such environment.
    """

    def __init__(self, cluster: Cluster, environments: Collection[str], *, containers: bool) -> None:
        self._cluster = cluster
        found = wanted(cluster, environments)
        self._left = [each for each in found if each.kind is Kind.EDF and not containers]
        self._staged = [each for each in found if each not in self._left]

    def look(self) -> Report:
        """Return which images there are, without asking anybody."""
        outcomes = [Outcome(each, State.WANTED) for each in self._staged]
        return self._report("nowhere", outcomes)

    async def run(
        self, credentials: Mapping[str, str], job: Job, *, timeout: float, say: Say, terminal: bool
    ) -> Report:
        """Stage the images, by a job if there are credentials for FirecREST, else on this machine.

        Args:
            credentials: `token_url`, `client_id` and `client_secret`, or nothing.
            job: What the job asks for.
            timeout: Seconds that a job may take.
            say: Takes lines for people.
            terminal: Whether passing lines can be shown.

        Raises:
            CheckFailed: If a signal ended it.
            FirecrestError: If no job could be submitted.
            MissingPart: If a program is not on this machine.
        """
        place = "firecrest" if credentials else "here"
        if not self._staged:
            return self._report(place, [])
        progress = _Progress(say, terminal=terminal)
        try:
            with ended_by_signals():
                if not credentials:
                    return self._report(place, await stage_here(self._cluster, self._staged, progress.show))
                who = ClientCredentials("account", credentials, everybody=False)
                staged = await stage_remotely(
                    self._cluster,
                    self._staged,
                    who,
                    job,
                    timeout=timeout,
                    say=say,
                    on_change=progress.show,
                )
        except asyncio.CancelledError:
            raise CheckFailed("The prefetch was interrupted.") from None
        return self._report(place, staged.outcomes, staged.job_id, staged.trouble)

    def _report(self, place: str, outcomes: list[Outcome], job_id: str = "", trouble: str = "") -> Report:
        left = [Outcome(each, State.NOT_STAGED, _LATER) for each in self._left]
        return Report(self._cluster.name, place, [*outcomes, *left], job_id, trouble)


class _Progress:
    def __init__(self, say: Say, *, terminal: bool) -> None:
        self._say = say
        self._terminal = terminal
        self._told: set[int] = set()
        self._begun: set[Wanted] = set()

    def show(self, told: Told) -> None:
        for number, outcome in told.outcomes.items():
            if number not in self._told:
                self._told.add(number)
                self._say(f"{outcome.wanted.image}: {outcome.state}")
        if told.pulling:
            image, done, total = told.pulling
            if self._terminal:
                text = pulling(Pulling("", image.image, done, total))[1]
                self._say(text.partition(": the first use")[0], passing=True)
            elif image not in self._begun:
                self._begun.add(image)
                self._say(f"{image.image}: pulling")
