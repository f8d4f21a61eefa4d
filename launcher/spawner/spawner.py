"""The spawner: one launch from Start to the end of its job."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jupyterhub
from jupyterhub.spawner import Spawner
from traitlets import Float, List, Unicode, default

from launcher.clusters import (
    Cluster,
    LaunchRequest,
    LaunchSite,
    load_cluster,
    options_from_form,
    parse_options,
    render,
)
from launcher.errors import FirecrestError, InvalidFile, InvalidOptions, JobRejected, LauncherError
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
from launcher.spawner.firecrest import JobStatus, Verdict
from launcher.spawner.form import render_form
from launcher.spawner.jobs import UserJobs
from launcher.spawner.launches import Launch, Launches
from launcher.spawner.record import STATE_KEY, LaunchRecord, Phase

TICKET_MARGIN = 600.0
"""Seconds that a ticket outlives `start_timeout`."""

_ALIVE_FOR = 2.5 * ALIVE_INTERVAL
_TASKS: set[asyncio.Task[Any]] = set()


def _run_detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run something that the cancelling of its caller must not cancel."""
    task = asyncio.create_task(work)
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return task


@lru_cache(maxsize=64)
def _load_cluster(path: Path, _changed: int) -> Cluster:
    return load_cluster(path)


class LauncherSpawner(Spawner):
    """Starts each user's JupyterLab as a Slurm job, through FirecREST."""

    cluster_file = Unicode(help="Path of the cluster file.").tag(config=True)
    template_directories = List(
        Unicode(), help="Directories of batch templates, sought before this project's own."
    ).tag(config=True)
    job_poll_interval = Float(
        3.0,
        help="Seconds between two looks at a job that waits; later looks are up to five times as far apart.",
    ).tag(config=True)
    stop_timeout = Float(30.0, help="Seconds to wait for a cancelled job to be gone.").tag(config=True)

    _launch: Launch | None = None
    _request: LaunchRequest | None = None

    @default("start_timeout")
    def _start_timeout_covers_the_queue(self) -> int:
        return 4 * 3600

    @default("poll_interval")
    def _poll_interval_is_a_safety_net(self) -> int:
        return 300

    @default("env_keep")
    def _hub_environment_stays_at_the_hub(self) -> list[str]:
        return []

    # ---- what a user asks for

    @property
    def cluster(self) -> Cluster:
        """The cluster file, read and checked again whenever it was changed."""
        path = Path(self.cluster_file)
        try:
            return _load_cluster(path, path.stat().st_mtime_ns)
        except (OSError, InvalidFile) as error:
            self.log.error("The cluster file can't be used:\n%s", error)
            raise failure.LaunchFailed(
                "The hub's description of this cluster has a mistake.\n"
                "Tell the site's support: the hub's log names it.",
                reason="cluster_file",
                status_code=424,
            ) from None

    @property
    def _jobs(self) -> UserJobs:
        return UserJobs(self.cluster, self.user)

    async def get_options_form(self) -> str:
        """Return the form, filled in with what this user sent last, errors beside the fields."""
        rejected = self._rejected.pop(self.user.name, None)
        chosen, errors = rejected or (self.orm_spawner.user_options or {}, {})
        return render_form(self.cluster, chosen, errors)

    @property
    def _rejected(self) -> dict[str, tuple[Mapping[str, Any], Mapping[str, str]]]:
        # The form is rendered again by the user's default spawner, also for a named server.
        kept: dict[str, Any] = self.user.settings.setdefault("launcher_rejected_options", {})
        return kept

    @default("options_from_form")
    def _options_from_form(self) -> Any:
        def convert(form: Mapping[str, list[Any]]) -> dict[str, Any]:
            options = options_from_form(form)
            try:
                return parse_options(self.cluster, options).as_options()
            except InvalidOptions as error:
                self._rejected[self.user.name] = (options, error.fields)
                raise failure.from_error(error) from None

        return convert

    def options_from_query(self, query_data: Mapping[str, list[Any]]) -> dict[str, Any]:
        """Refuse options from a link: it may be somebody else's choice."""
        del query_data
        raise failure.from_error(InvalidOptions({"": "A link can't choose options here. Use the form."}))

    @default("apply_user_options")
    def _apply_user_options(self) -> Any:
        def apply(_: Spawner, options: Mapping[str, Any]) -> None:
            self._request = None
            try:
                self._request = parse_options(self.cluster, options)
            except InvalidOptions as error:
                raise failure.from_error(error) from None

        return apply

    # ---- what is saved

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
        request = self._request
        if request is None:
            raise failure.LaunchFailed("The options were not checked.", reason="options")
        try:
            launch = await self._adopt(request) or self._submit_new(request)
            return await self._until_ready(launch)
        except LauncherError as error:
            raise failure.from_error(error) from None

    async def _adopt(self, request: LaunchRequest) -> Launch | None:
        """Return the launch of an earlier hub if its job still waits; end any other."""
        launch = self._launch
        if launch is None or launch.record.phase is Phase.GONE:
            return None
        record = launch.record
        if record.phase is Phase.SUBMITTED and record.options == request.as_options():
            status = await self._jobs.status(record.job_id)
            if status and status.verdict is not Verdict.DEAD:
                launch.spawner = self
                record.ticket_expires = time.time() + self.start_timeout + TICKET_MARGIN
                self._save(launch)
                launch.say(10, f"Found job {record.job_id}, submitted before the hub was restarted")
                return launch
        await self._end(launch)
        return None

    def _submit_new(self, request: LaunchRequest) -> Launch:
        """Save the record of a new launch, then begin its submit."""
        ticket = new_ticket()
        site = LaunchSite(
            launch_id=new_launch_id(),
            ticket=ticket,
            hub_api_url=self.get_env()["JUPYTERHUB_API_URL"],
            user=self.user.name,
        )
        directories = [Path(each) for each in self.template_directories] or None
        script = render(self.cluster, request, site, directories=directories)
        record = LaunchRecord(
            launch_id=site.launch_id,
            ticket_hash=ticket_hash(ticket),
            ticket_expires=time.time() + self.start_timeout + TICKET_MARGIN,
            cluster=self.cluster.name,
            script_hash=hashlib.sha256(script.replace(ticket, "").encode()).hexdigest(),
            options=request.as_options(),
        )
        launch = self._launch = self._launches.add(Launch(record))
        launch.spawner = self
        self._save_state()
        launch.submission = _run_detached(self._submit(launch, script))
        return launch

    async def _submit(self, launch: Launch, script: str) -> None:
        """Submit; runs on though start() is cancelled, so that the job's id is never lost."""
        record = launch.record
        try:
            launch.say(5, f"Submitting a job to {self.cluster.title}")
            job_id = await self._jobs.submit(script)
        except LauncherError as error:
            if record.job_id:
                self.log.warning("Job %s has claimed its launch; its submit failed: %s", record.job_id, error)
                return
            # Without a plain refusal the job may exist: then its claim is refused, which ends it.
            certain = isinstance(error, JobRejected) or getattr(error, "status", None) in (-1, 400, 401, 404)
            record.phase = Phase.GONE if certain else Phase.ENDING
            self._save(launch)
            launch.fail(failure.from_error(error))
            return
        record.job_id = job_id
        if record.phase is Phase.SUBMITTING:
            record.phase = Phase.SUBMITTED
        self._save(launch)
        self.log.info("Launch %s of %s is job %s", record.launch_id, self.user.name, job_id)
        launch.say(10, f"Submitted as job {job_id}")
        if not launch.wanted:
            launch.submission = None
            await self.stop()

    async def _until_ready(self, launch: Launch) -> str:
        """Wait until the server listens, looking at the job from time to time."""
        record = launch.record
        interval, running_since = self.job_poll_interval, None
        next_look = time.monotonic() + min(1.0, interval)
        while record.phase is not Phase.READY:
            if launch.failure:
                await self.stop()
                raise launch.failure
            if launch.ended is not None:
                launch.fail(
                    failure.node_said(
                        record.job_id,
                        launch.ended,
                        launch.exit_code,
                        await self._jobs.log_tail(record.job_id),
                    )
                )
                continue
            if record.job_id and time.monotonic() >= next_look:
                status = await self._look(launch)
                if status and status.state == "RUNNING" and record.phase is Phase.SUBMITTED:
                    running_since = running_since or time.monotonic()
                    if time.monotonic() - running_since > self.cluster.claim_timeout:
                        launch.fail(await self._unclaimed(launch))
                interval = min(interval * 1.3, 5 * self.job_poll_interval)
                next_look = time.monotonic() + interval
                continue  # what happened meanwhile wakes nobody
            await launch.change(timeout=max(0.05, next_look - time.monotonic()) if record.job_id else 60)
        launch.say(95, "JupyterLab is ready")
        return record.url

    async def _look(self, launch: Launch) -> JobStatus | None:
        """Ask FirecREST for the job; say what it does; a job that is dead fails the launch."""
        record = launch.record
        try:
            status = await self._jobs.status(record.job_id)
        except FirecrestError as error:
            self.log.warning("Job %s: %s", record.job_id, error)
            return None
        if status is None or record.phase is Phase.READY:
            return status
        if status.verdict is Verdict.DEAD:
            log = await self._jobs.log_tail(record.job_id)
            record.phase = Phase.GONE
            self._save(launch)
            launch.fail(failure.job_ended(record.job_id, status, log))
        elif record.phase is Phase.SUBMITTED:
            if status.waiting:
                reason = f": {status.reason}" if status.reason else ""
                launch.say(20, f"Job {record.job_id} is pending{reason}")
            elif status.state == "RUNNING":
                launch.say(30, f"Job {record.job_id} is running on {status.nodes}")
        return status

    async def _unclaimed(self, launch: Launch) -> failure.LaunchFailed:
        record = launch.record
        return failure.LaunchFailed(
            f"Job {record.job_id} runs, but did not reach the hub for {self.cluster.claim_timeout} seconds.\n"
            "The node may not reach it, or the environment could not be mounted. Tell the site's support.",
            reason="unclaimed",
            log=await self._jobs.log_tail(record.job_id),
        )

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
        record = launch.record
        record.nonce, record.node = claim.nonce, claim.node
        record.job_id = record.job_id or claim.job_id
        record.phase = Phase.CLAIMED
        self._save(launch)
        launch.last_event = time.monotonic()
        launch.say(40, f"Running on {claim.node} as job {record.job_id}")
        environment = {name: str(value) for name, value in self.get_env().items() if name != "JPY_API_TOKEN"}
        return ClaimAnswer(
            launch_id=record.launch_id,
            launch_key=launch_key,
            environment=environment,
            arguments=list(self.get_args()),
            networks=[str(network) for network in self.cluster.node_addresses],
            ports=self.cluster.ports,
            jupyterhub_version=jupyterhub.__version__,
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
            _run_detached(self.poll_and_notify())

    def _ready(self, launch: Launch, event: Event) -> str:
        """Build the server's URL from what the node reports, if it lies where a server may be."""
        try:
            launch.record.url = server_url(self.cluster, event.address, event.port)
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
                _run_detached(self._see_off(launch))
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
        except FirecrestError as error:
            self.log.warning(
                "Server %s of job %s: can't tell its state: %s", self._log_name, record.job_id, error
            )
            return None
        if status is None or status.verdict is not Verdict.DEAD:
            return None
        record.phase = Phase.GONE
        self._save(launch)
        return status.exit_code or 0

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
