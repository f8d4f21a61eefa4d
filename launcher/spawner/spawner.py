"""The spawner: one launch from Start to the end of its job."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import Float, default

from launcher.clusters import (
    ClusterFile,
    LaunchFacts,
    LaunchRequest,
    parse_options,
)
from launcher.errors import InvalidFile, InvalidOptions, LauncherError
from launcher.protocol import (
    ALIVE_INTERVAL,
    Claim,
    ClaimAnswer,
    Event,
    EventKind,
    derive_launch_key,
    new_launch_id,
    new_ticket,
    ticket_hash,
)
from launcher.spawner import failure, probe
from launcher.spawner.address import server_url
from launcher.spawner.answer import claim_answer
from launcher.spawner.detached import run_detached
from launcher.spawner.firecrest import Verdict
from launcher.spawner.jobs import UserJobs
from launcher.spawner.launches import Launch, Launches
from launcher.spawner.options import UserOptions
from launcher.spawner.record import STATE_KEY, LaunchRecord, Phase
from launcher.spawner.start import Start

TICKET_MARGIN = 600.0
"""Seconds that a ticket outlives `start_timeout`."""

_ALIVE_FOR = 2.5 * ALIVE_INTERVAL
_UNKNOWN_IS_GONE = 3


class LauncherSpawner(UserOptions, Spawner):
    """Starts each user's JupyterLab as a Slurm job, through FirecREST."""

    job_poll_interval = Float(
        3.0,
        help="Seconds between two looks at a job that waits; later looks are up to five times as far apart.",
    ).tag(config=True)
    stop_timeout = Float(30.0, help="Seconds to wait for a cancelled job to be gone.").tag(config=True)

    _launch: Launch | None = None

    @default("start_timeout")
    def _start_timeout_covers_the_queue(self) -> int:
        return 4 * 3600

    @default("poll_interval")
    def _poll_interval_is_a_safety_net(self) -> int:
        return 300

    @default("env_keep")
    def _hub_environment_stays_at_the_hub(self) -> list[str]:
        return []

    # ---- what is saved

    @property
    def _jobs(self) -> UserJobs:
        """The user's jobs on the cluster of the launch, by what its file says now if that can be told."""
        began = self._launch.cluster if self._launch else None
        try:
            now = self.cluster
        except InvalidFile:
            if began is None:
                raise
            now = began
        return UserJobs(began if began and began.name != now.name else now, self.user)

    @property
    def _launches(self) -> Launches:
        return Launches.of(self.user.settings, self.user.db)

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the launch that was saved."""
        super().load_state(state)
        record = LaunchRecord.from_state(state)
        self._launch = self._launches.add(Launch(record)) if record else None
        if self._launch and self._launch.record.phase is Phase.READY:
            self._launch.spawner = self

    def get_state(self) -> dict[str, Any]:
        """Return what must survive a restart of the hub."""
        state: dict[str, Any] = super().get_state()
        if self._launch and self._launch.record.phase is not Phase.GONE:
            state[STATE_KEY] = self._launch.record.to_state()
        return state

    def clear_state(self) -> None:
        """Forget what is over; the record of a job that may exist stays."""
        super().clear_state()
        if self._launch and self._launch.record.phase is Phase.GONE:
            self._launch = None

    def _save(self, launch: Launch) -> None:
        """Save a launch's record now; a launch that another has replaced saves nothing any more.

        JupyterHub itself saves only once start() has returned: too late for a hub that dies before.
        """
        if launch.record.phase is Phase.GONE:
            self._launches.remove(launch)
        saved = LaunchRecord.from_state(self.orm_spawner.state or {})
        if saved is None or saved.launch_id == launch.record.launch_id:
            self._save_state()

    def _save_state(self) -> None:
        self.orm_spawner.state = self.get_state()
        self.user.db.commit()

    # ---- Start

    async def start(self) -> str:
        """Launch a job, or adopt the one that an earlier hub launched, and return the server's URL."""
        request, version = self._request, self._version
        if request is None or version is None:
            raise failure.LaunchFailed("The options were not checked.", reason="options")
        with failure.shown():
            launch, script = await self._adopt(), None
            if launch is None:
                launch, script = self._new_launch(version, request)
            cluster = launch.cluster = launch.cluster or version.cluster
            start = Start(
                launch,
                cluster,
                UserJobs(cluster, self.user),
                interval=self.job_poll_interval,
                save=lambda: self._save(launch),
                end=self.stop,
                log=self.log,
            )
            if script is not None:
                start.submit(script)
            return await start.until_ready()

    async def _adopt(self) -> Launch | None:
        """Return the launch of an earlier hub if its job still waits; end any other."""
        launch = self._launch
        if launch is None or launch.record.phase is Phase.GONE:
            return None
        record = launch.record
        if record.phase is Phase.SUBMITTED and self._asks_for(launch):
            status = await self._jobs.status(record.job_id)
            if status and status.verdict is not Verdict.DEAD:
                launch.spawner = self
                record.ticket_expires = time.time() + self.start_timeout + TICKET_MARGIN
                self._save(launch)
                launch.say(10, f"Found job {record.job_id}, submitted before the hub was restarted")
                return launch
        await self._end(launch)
        if record.phase is not Phase.GONE:
            raise LauncherError(
                f"Job {record.job_id} of your last session is still ending."
                if record.job_id
                else "Your last session is still ending.",
                todo="Press Start again in a minute.",
            )
        return None

    def _asks_for(self, launch: Launch) -> bool:
        """Tell whether the user asks for what a launch is, by the cluster file as it was then."""
        try:
            cluster = launch.cluster or self.cluster
            asked = parse_options(cluster, self.user_options, user=self.user.name)
        except InvalidOptions:
            return False
        return asked.options == launch.record.options

    def _new_launch(self, version: ClusterFile, request: LaunchRequest) -> tuple[Launch, str]:
        """Save the record of a new launch; return it with its script."""
        ticket = new_ticket()
        facts = LaunchFacts(
            launch_id=new_launch_id(),
            ticket=ticket,
            hub_api_url=self.get_env()["JUPYTERHUB_API_URL"],
            user=self.user.name,
        )
        try:
            script = version.render(request, facts)
        except InvalidFile as error:
            self.log.error("The batch template of %s can't be used:\n%s", version.path, error)
            raise
        record = LaunchRecord(
            launch_id=facts.launch_id,
            ticket_hash=ticket_hash(ticket),
            ticket_expires=time.time() + self.start_timeout + TICKET_MARGIN,
            cluster=version.cluster.name,
            script_hash=hashlib.sha256(script.replace(ticket, "").encode()).hexdigest(),
            options=request.options,
            cluster_file=version.cluster.model_dump(mode="json", exclude_defaults=True),
        )
        launch = self._launch = self._launches.add(Launch(record))
        launch.spawner = self
        self._save_state()
        return launch, script

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens, for the pending page."""
        # JupyterHub's own steps, which tell nobody, come before start().
        while self._launch is None or self._launch.spawner is not self:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        async for message in self._launch.progress():
            yield message

    # ---- what the job says

    def claimed(self, launch: Launch, claim: Claim, launch_key: str) -> ClaimAnswer:
        """Bind a launch to the job that claims it, and return what the job needs."""
        record, cluster = launch.record, launch.cluster or self.cluster
        record.nonce, record.node = claim.nonce, claim.node
        record.job_id = record.job_id or claim.job_id
        record.phase = Phase.CLAIMED
        self._save(launch)
        launch.last_event = time.monotonic()
        launch.say(40, f"Running on {claim.node} as job {record.job_id}")
        self.log.info(
            "Job %s on %s claims launch %s of %s; it has JupyterHub %s",
            *(claim.job_id, claim.node, record.launch_id, self.user.name, claim.jupyterhub_version),
        )
        environment = {name: str(value) for name, value in self.get_env().items() if name != "JPY_API_TOKEN"}
        return claim_answer(
            cluster,
            parse_options(cluster, record.options, user=self.user.name),
            launch_id=record.launch_id,
            launch_key=launch_key,
            environment=environment,
            arguments=list(self.get_args()),
        )

    def happened(self, launch: Launch, event: Event) -> str:
        """Take an event from the node; return what is wrong with it, or nothing."""
        record = launch.record
        if record.phase is Phase.CLAIMED:
            if event.kind is EventKind.MOUNTED:
                launch.say(55, f"Environment mounted on {record.node}")
            elif event.kind is EventKind.STARTING:
                launch.say(70, "JupyterLab is starting")
            elif event.kind is EventKind.READY:
                return self._ready(launch, event)
        return ""

    def said_to_end(self, launch: Launch) -> None:
        """Look at once after a server that was ready, when its node or its script has said that it ends."""
        if launch.record.phase is Phase.READY:
            self.log.info("Server %s says that it ends: %r", self._log_name, launch.ended)
            run_detached(self.poll_and_notify())

    def _ready(self, launch: Launch, event: Event) -> str:
        """Build the server's URL from what the node reports, if it lies where a server may be."""
        try:
            launch.record.url = server_url(launch.cluster or self.cluster, event.address, event.port)
        except ValueError as error:
            launch.fail(
                failure.LaunchFailed(f"The node reported a wrong address.\n{error}", reason="address")
            )
            return str(error)
        launch.record.phase = Phase.READY
        self._save(launch)
        launch.touch()
        return ""

    # ---- is it alive

    async def poll(self) -> int | None:
        """Return None while the server may be there; an error is never taken for its end."""
        launch = self._launch
        if launch is None or launch.record.phase is Phase.GONE:
            return 0
        record = launch.record
        if launch.ended is not None and record.phase in (Phase.READY, Phase.ENDING):
            if record.phase is Phase.READY:
                record.phase = Phase.ENDING
                self._save(launch)
                run_detached(self._see_off(launch))
            return launch.exit_code or 0
        if record.phase is not Phase.READY:
            # A launch that an earlier hub began: core drops it without stop(), and the record stays.
            return None if launch.spawner is self else 0
        if launch.last_event is not None and time.monotonic() - launch.last_event < _ALIVE_FOR:
            return None
        if await self._probe(record):
            launch.last_event = time.monotonic()
            return None
        try:
            status = await self._jobs.status(record.job_id)
        except LauncherError as error:
            self.log.warning(
                "Server %s of job %s: can't tell its state: %s", self._log_name, record.job_id, error
            )
            return None
        # One "unknown job" may be a slip of accounting; several, and no answer from the server, are not.
        launch.unknown = 0 if status else launch.unknown + 1
        if launch.unknown < _UNKNOWN_IS_GONE and (status is None or status.verdict is not Verdict.DEAD):
            return None
        record.phase = Phase.GONE
        self._save(launch)
        return (status and status.exit_code) or 0

    async def get_url(self) -> str:
        """Return the server's URL once it answers, or once its job is known to be dead.

        The record's URL counts: a hub that died right after `ready` has not saved its own. After a restart
        JupyterHub stops a server that does not answer within `http_timeout`: it must not be told of one
        that a short hole in the network hides.
        """
        pause = 1.0
        while self._launch and self._launch.record.phase is Phase.READY:
            try:
                if await self._probe(self._launch.record) or await self.poll() is not None:
                    break
            except Exception:
                self.log.exception("Server %s: can't tell whether it is there", self._log_name)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 30.0)
        return self._url_of(self._launch.record) if self._launch else str(self.server.url)

    def _url_of(self, record: LaunchRecord) -> str:
        return f"{record.url}{self.server.base_url if self.server else '/'}"

    async def _probe(self, record: LaunchRecord) -> bool:
        key = derive_launch_key(self.user.settings["cookie_secret"], record.launch_id)
        return await probe.answers(self._url_of(record), key)

    # ---- Stop

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - JupyterHub's signature
        """Cancel the job, and wait until it is gone unless told otherwise."""
        launch = self._launch
        if launch is None or launch.record.phase is Phase.GONE:
            return
        try:
            await self._end(launch, wait=not now)
        except LauncherError as error:
            self.log.error("Job %s is not cancelled yet: %s", launch.record.job_id, error)

    async def _end(self, launch: Launch, *, wait: bool = True) -> None:
        """Cancel a launch's job; its record stays until the job is known to be gone."""
        record = launch.record
        if record.phase is Phase.GONE:
            return
        record.phase = Phase.ENDING
        self._save(launch)
        launch.touch()
        submission = launch.submission
        if submission and not submission.done():
            # The job's id is on its way, and the submit itself cancels a job that nobody wants any more.
            await asyncio.wait({submission}, timeout=self.stop_timeout)
            return
        # A submit whose answer was lost may have submitted all the same.
        record.job_id = record.job_id or await self._jobs.find(record.launch_id) or ""
        if record.job_id:
            await self._jobs.cancel(record.job_id)
            if wait and not await self._jobs.ended(record.job_id, within=self.stop_timeout):
                return
        record.phase = Phase.GONE
        self._save(launch)

    async def _see_off(self, launch: Launch) -> None:
        """Let a server that said it stops do so, and cancel its job only if it does not."""
        record = launch.record
        try:
            if await self._jobs.ended(record.job_id, within=self.stop_timeout):
                record.phase = Phase.GONE
                self._save(launch)
            else:
                await self._end(launch)
        except LauncherError as error:
            self.log.error("Job %s: can't tell whether it has ended: %s", record.job_id, error)
