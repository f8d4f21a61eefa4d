"""Jobs of this hub that no launch wants: seen in what FirecREST lists anyway, or looked for."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from logging import Logger
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import utcnow

from launcher.clusters import Cluster
from launcher.detached import run_detached
from launcher.errors import LauncherError
from launcher.firecrest import JobStatus, Verdict
from launcher.firecrest.identity import Identity
from launcher.firecrest.jobs import Access, Jobs
from launcher.metrics import STRAYS
from launcher.protocol import made_here
from launcher.spawner.launches import Launches

_JUST_ENDING = 60.0
_SURVEY_EVERY = 600.0
_AT_FIRST = 2
_ACTIVE_FOR = 24 * 3600


class Strays:
    """Finds strays, and reports or cancels them.

    A job counts as one only if its script, read with its owner's token, names a launch of this very hub.

    Args:
        hub: The JupyterHub application.
        access: How its clusters are reached.
        clusters: Gives the clusters that the hub offers now.
        cancel: Whether strays are cancelled.
        grace: Seconds for which one is left alone before.
        log: The hub's.
    """

    def __init__(
        self,
        hub: Any,
        access: Access,
        clusters: Callable[[], list[Cluster]],
        log: Logger,
        *,
        cancel: bool,
        grace: float,
    ) -> None:
        self._hub = hub
        self._secret: bytes = hub.tornado_settings["cookie_secret"]
        self._launches = Launches.of(hub.tornado_settings, hub.db)
        self._access = access
        self._cancel = cancel
        self._grace = grace
        self._log = log
        self._clusters = clusters
        self._suspects: dict[str, Identity] = {}
        self._known: set[tuple[str, str]] = set()
        access.listed, access.suspect = self.listed, self.suspect

    def listed(self, cluster: Cluster, who: Identity, jobs: dict[str, JobStatus]) -> None:
        """Take notice of what an identity sees on a cluster."""
        ours = {launch.record.job_id for launch in self._launches if launch.record.cluster == cluster.name}
        # A submit whose answer is on its way has a job that no record names yet.
        waiting = {launch.user for launch in self._launches if not launch.record.job_id}
        for job_id, status in jobs.items():
            key = (cluster.name, job_id)
            name = status.user if who.everybody else who.name
            if status.verdict is Verdict.DEAD:
                self._known.discard(key)
            elif job_id not in ours and key not in self._known and self._access.hub_user(name) not in waiting:
                self._known.add(key)
                run_detached(self._look_at(cluster, name, job_id))

    async def _look_at(self, cluster: Cluster, name: str, job_id: str) -> None:
        key = (cluster.name, job_id)
        jobs = self._jobs(cluster, name)
        try:
            if jobs is None or not await self._is_stray(jobs, job_id):
                return
            # One that is just ending looks the same.
            first = min(self._grace, _JUST_ENDING)
            await asyncio.sleep(first)
            if not await self._is_stray(jobs, job_id):
                return
            self._log.warning(
                "Job %s of %s on %s is one that no launch wants; %s",
                *(job_id, name, cluster.name),
                "it is about to be cancelled" if self._cancel else "it ends when it asks the hub",
            )
            STRAYS.labels(cluster.name, "seen").inc()
            await asyncio.sleep(self._grace - first)
            if self._cancel and await self._is_stray(jobs, job_id) and await jobs.cancel(job_id):
                self._log.warning("Job %s of %s on %s was cancelled", job_id, name, cluster.name)
                STRAYS.labels(cluster.name, "cancelled").inc()
        except LauncherError as error:
            self._log.info("Job %s of %s: can't tell whether it is a stray: %s", job_id, name, error)
            self._known.discard(key)  # the next list is another chance
        except Exception:  # noqa: BLE001 - likewise
            self._log.exception("Job %s of %s: can't tell whether it is a stray", job_id, name)
            self._known.discard(key)

    def _jobs(self, cluster: Cluster, name: str) -> Jobs | None:
        """Return the jobs of an owner who is known here by the name that the cluster knows."""
        user = self._hub.users.get(self._access.hub_user(name))
        return self._access.jobs(cluster, user) if user is not None else None

    async def _is_stray(self, jobs: Jobs, job_id: str) -> bool:
        """Tell whether a job lives, and names a launch of this hub that is not known or has another job."""
        if (await jobs.look(job_id)).verdict is not Verdict.ALIVE:
            return False
        launch_id = await jobs.mark(job_id)
        launch = self._launches.get(launch_id)
        if launch is not None:
            return bool(launch.record.job_id) and launch.record.job_id != job_id
        return made_here(self._secret, launch_id)

    async def watch(self) -> None:
        """Look twice after the hub has started, and later at those of whom something is not known."""
        for look in itertools.count():
            try:
                owners = await self._active() if look < _AT_FIRST else list(self._suspects.values())
                self._suspects.clear()
                for cluster in self._clusters():
                    for who in owners:
                        await self._survey(cluster, who)
            except Exception:  # noqa: BLE001 - one look that fails must not be the last
                self._log.exception("Can't look for strays")
            await asyncio.sleep(_SURVEY_EVERY * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load

    def suspect(self, owner: Identity) -> None:
        """Note that somebody may have strays: a submit was not answered."""
        who = self._access.service or owner
        self._suspects[who.key] = who

    async def _survey(self, cluster: Cluster, who: Identity) -> None:
        try:
            self.listed(cluster, who, await self._access.firecrest(cluster).jobs(who))
        except LauncherError as error:
            self._log.warning("Jobs of %s on %s can't be listed: %s", who.key, cluster.name, error)
            self.suspect(who)

    async def _active(self) -> list[Identity]:
        """Return the service account, or else those users who were there of late and need no other token."""
        if self._access.service:
            return [self._access.service]
        since = utcnow(with_tz=False) - timedelta(seconds=_ACTIVE_FOR)
        active = self._hub.db.query(orm.User).filter(orm.User.last_activity >= since).all()
        users = [self._hub.users[user] for user in active]
        return [self._access.identity(user) for user in users if await self._access.is_fresh(user)]
