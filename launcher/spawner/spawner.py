"""The spawner: one launch from Start to the end of its job."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import Dict, Enum, Float, default

from launcher import certificates, server
from launcher.clusters import Cluster, LaunchFacts, log_path, parse_options
from launcher.clusters.address import server_url
from launcher.clusters.answer import claim_answer
from launcher.database.launch_record import STATE_KEY, LaunchRecord, Phase
from launcher.database.server_token import forget_token, use_token
from launcher.detached import run_detached
from launcher.errors import InvalidFile, InvalidOptions
from launcher.firecrest import Verdict
from launcher.firecrest.jobs import Access, Jobs
from launcher.form.last_session import LastSessions
from launcher.form.options import Chosen, UserOptions
from launcher.protocol import (
    Claim,
    ClaimAnswer,
    Event,
    EventKind,
    derive_api_token,
    derive_launch_key,
    new_launch_id,
    new_ticket,
    ticket_hash,
)
from launcher.spawner import verdict
from launcher.spawner.ending import explain, see_off
from launcher.spawner.launches import SUCCESSOR_WITHIN, Launch, Launches
from launcher.spawner.start import Start
from launcher.words import failure
from launcher.words.ended import Ended, still_ending, stopped

TICKET_MARGIN = 600.0
"""Seconds that a ticket outlives `start_timeout`."""
_SAY_WHY = 30.0
"""Seconds before `start_timeout` at which a start fails by itself, in words."""
_ABANDONED_AFTER = 30.0


class LauncherSpawner(UserOptions, Spawner):
    """Starts each user's JupyterLab as a Slurm job, through FirecREST."""

    stop_timeout = Float(30.0, help="Seconds that Stop waits for the job to be gone.").tag(config=True)
    service_account = Dict(
        help="""
        Client credentials (`token_url`, `client_id`, `client_secret`) of a service account that may see and
        cancel everybody's jobs. With it one question answers for all users, and Stop needs no user's log-in.
        Without it each user's own token is used.
        """
    ).tag(config=True)
    user_accounts = Dict(
        help="""
        Hub user → client credentials (the same, and `username`, the account's name on the cluster) that this
        user launches with. For users that have no log-in of their own, such as a service that checks the hub.
        """
    ).tag(config=True)
    strays = Enum(
        ["cancel", "report"],
        "cancel",
        help="What becomes of a job of this hub that no launch wants, `stray_grace` after it was seen.",
    ).tag(config=True)
    stray_grace = Float(
        600.0,
        help="Seconds for which such a job is left alone: the database may just be restored from a copy.",
    ).tag(config=True)

    _launch: Launch | None = None
    _last: Launch | None = None  # for whose end a start waits
    _used_token = ""
    _deadline = 0.0

    @default("start_timeout")
    def _start_timeout_covers_the_queue(self) -> int:
        return 4 * 3600

    @default("http_timeout")
    def _http_timeout_bears_a_hole_in_the_network(self) -> int:
        # A server that does not answer when it should first is told of sooner, and in words.
        return 600

    @default("poll_interval")
    def _poll_interval_is_a_safety_net(self) -> int:
        return 300

    @default("env_keep")
    def _hub_environment_stays_at_the_hub(self) -> list[str]:
        return []

    # ---- what is saved

    @property
    def _launches(self) -> Launches:
        return Launches.of(self.user.settings, self.user.db)

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the launch that was saved."""
        super().load_state(state)
        record = LaunchRecord.from_state(state)
        if record is None:
            return
        launch = self._launch = self._launches.add(Launch(record, self.user.name, self.name))
        if launch.record.phase is Phase.READY:
            launch.spawner = self
            self.api_token = self._api_token(launch)

    def get_state(self) -> dict[str, Any]:
        """Return what must survive a restart of the hub."""
        state: dict[str, Any] = super().get_state()
        if self._launch and not self._launch.gone:
            state[STATE_KEY] = self._launch.record.to_state()
        return state

    def clear_state(self) -> None:
        """Forget what is over; the record of a job that may exist stays."""
        super().clear_state()
        self._waits_no_more()
        wanted = self._launch is not None and self._launch.wanted
        if self._launch and self._launch.gone:
            self._launch = None
        if self._used_token and not wanted:
            # A launch that nobody goes on with leaves its token to the next one, if there is one.
            token, self._used_token = self._used_token, ""
            forget_token(self.user.db, token)

    def _waits_no_more(self) -> Launch | None:
        """Have no start wait for the end of a launch; return that, if one did."""
        last, self._last = self._last, None
        if last:
            last.record.successor_until = 0.0
        return last

    def _cluster_of(self, launch: Launch) -> Cluster:
        """Return the cluster of a launch by what its file says now or, if that can't be told, said then."""
        try:
            return self.version_of(launch.record.cluster).cluster
        except InvalidFile:
            if launch.cluster is None:
                raise
            return launch.cluster

    def _jobs(self, launch: Launch) -> Jobs:
        return Access.of(self.user.settings).jobs(self._cluster_of(launch), self.user)

    # ---- Start

    def checked(self, options: dict[str, Any]) -> Chosen | None:
        """Check a start's options; those of a launch that is under way were checked when it began.

        Raises:
            InvalidOptions: With what is wrong, by field.
            InvalidFile: If the cluster can't be chosen.
        """
        launch = self._launch
        if launch and launch.wanted and options == launch.record.asked:
            return None
        return self.choose(options)

    async def start(self) -> str:
        """Launch a job, or take up the one that was launched before, and return the server's URL."""
        self._deadline = time.monotonic() + self.start_timeout - min(_SAY_WHY, self.start_timeout / 10)
        try:
            with failure.shown(failure.login_url(self.user, self.name)):
                start = await self._taken_up() or self._submitted()
                return await start.until_ready(self._proves)
        except asyncio.CancelledError:
            if self._launch:
                run_detached(self._unless_abandoned(self._launch))
            raise

    async def _unless_abandoned(self, launch: Launch) -> None:
        """End a launch whose start was cancelled, if JupyterHub has not: it can't while its proxy is down."""
        await asyncio.sleep(_ABANDONED_AFTER)
        if self._launch is not launch or self.pending:
            return
        if launch.wanted:
            self.log.warning("Start of %s was cancelled, and nobody has ended it", launch.name)
            self._end(launch)
        elif last := self._waits_no_more():
            self._launches.save_later(last)

    def _submitted(self) -> Start:
        """Submit a job of a new launch, whose record is saved before."""
        if not self.api_token or self.pending == "stop":  # JupyterHub ended this start while it waited
            raise stopped()
        launch, script = self._new_launch(self._chosen or self.choose(self.user_options))
        start = self._begin(launch)
        start.submit(script, self._saved(launch, new=True))
        return start

    def _begin(self, launch: Launch) -> Start:
        """Be whose launch it is; it is saved after that."""
        launch.spawner, launch.awaited, launch.row = self, False, self.orm_spawner
        return Start(
            launch,
            self._jobs(launch),
            seconds=self._deadline - time.monotonic(),
            save=partial(self._save, launch),
            end=partial(self._end, launch),
            log=self.log,
        )

    async def _saved(self, launch: Launch, *, new: bool = False) -> None:
        """Save a launch that begins, and its token in the place of the one that JupyterHub has made."""
        token, before = self._api_token(launch), self._used_token
        self._used_token = token

        def its_token() -> None:
            if launch.wanted:  # else it was stopped meanwhile, and its token is good for nothing any more
                use_token(self, token, before, new=new)

        await self._launches.saved(launch, its_token)

    async def _taken_up(self) -> Start | None:
        """Go on with the launch that was begun before, if it is what the user asks for; end any other.

        A job that may be there never gets a second one beside it.
        """
        launch = self._launch
        if launch is None or launch.gone:
            return None
        record = launch.record
        if launch.wanted and (self.user_options == record.asked or self._asks_for(launch)):
            awaited, start = launch.awaited, self._begin(launch)
            record.ticket_expires = time.time() + self.start_timeout + TICKET_MARGIN
            await self._saved(launch)
            if record.job_id or await start.found():
                launch.say(10, f"Found job {record.job_id}, submitted before")
                # Of a job that ended while the hub was away its user has yet to hear.
                if start.was_ready:
                    await self.get_url()
                    if launch.gone:
                        raise failure.lost(record.job_id)
                    return start
                if awaited or (await self._jobs(launch).look(record.job_id)).verdict is not Verdict.DEAD:
                    return start
            if not launch.wanted:
                raise stopped()
            # The next launch's token and record take the place of its own, at once.
            launch.enter(Phase.GONE)
            self._launches.save_later(launch)
            return None
        self._last, record.successor_until = launch, time.time() + SUCCESSOR_WITHIN
        self._end(launch)
        await self._launches.saved(launch)
        if not await self.see_off(launch, within=self.stop_timeout):
            raise still_ending(record.job_id, launch.ending_problem)
        return None

    def _asks_for(self, launch: Launch) -> bool:
        """Tell whether the user asks for what a launch is, in other words."""
        try:
            chosen = self._chosen or self.choose(self.user_options)
        except (InvalidOptions, InvalidFile):
            return False
        return (chosen.version.cluster.name, chosen.request.options) == (
            launch.record.cluster,
            launch.record.options,
        )

    def _new_launch(self, chosen: Chosen) -> tuple[Launch, str]:
        """Return a new launch and its script."""
        version, request = chosen.version, chosen.request
        ticket = new_ticket()
        facts = LaunchFacts(
            launch_id=new_launch_id(self.user.settings["cookie_secret"]),
            ticket=ticket,
            hub_api_url=self._claim_url,
            user=self.cluster_user,
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
            asked=dict(self.user_options),
            cluster_file=version.cluster.model_dump(mode="json", exclude_defaults=True),
        )
        launch = self._launch = self._launches.add(Launch(record, self.user.name, self.name))
        return launch, script

    @property
    def _claim_url(self) -> str:
        """The hub's API as a node reaches it that has no certificate yet."""
        if self.internal_ssl and self.public_hub_url:
            return f"{self.public_hub_url.rstrip('/')}/api"
        return str(self.get_env()["JUPYTERHUB_API_URL"])

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens, for the pending page."""
        shown = None
        while True:
            launch = self._launch
            if launch is not None and launch is not shown and not launch.wanted and not launch.failure:
                shown = launch
                yield {"progress": 2, "message": "Your last session is still ending"}
            elif launch is not None and launch is not shown and launch.spawner is self:
                shown = launch
                async for message in launch.progress():
                    yield message
            await asyncio.sleep(0.1)  # until JupyterHub, whose own steps tell nobody, has made the next

    async def create_certs(self) -> dict[str, str]:
        """Make none: the node is known only when its job claims the launch, and gets one then."""
        return {}

    # ---- what the job says

    async def claimed(self, launch: Launch, claim: Claim, launch_key: str) -> ClaimAnswer:
        """Bind a launch to the job that claims it, and return what the job needs."""
        record, cluster = launch.record, launch.cluster or self._cluster_of(launch)
        record.nonce, record.node = claim.nonce, claim.node
        record.job_id = record.job_id or claim.job_id
        launch.enter(Phase.CLAIMED)
        # A start that never gets a node takes no word on the last session away.
        LastSessions.of(self.user.settings).forget(self.user, self.name)
        launch.alive()
        launch.say(40, f"Running on {claim.node} as job {record.job_id}")
        self.log.info(
            "Job %s on %s claims launch %s of %s; it has JupyterHub %s",
            *(claim.job_id, claim.node, record.launch_id, launch.name, claim.jupyterhub_version),
        )
        environment = {name: str(value) for name, value in self.get_env().items() if name != "JPY_API_TOKEN"}
        await self._launches.saved(launch)
        return claim_answer(
            cluster,
            parse_options(cluster, record.options, user=self.cluster_user),
            launch_id=record.launch_id,
            launch_key=launch_key,
            environment=environment | {"JUPYTERHUB_API_TOKEN": self._api_token(launch)},
            arguments=list(self.get_args()),
            log=log_path(cluster, self.cluster_user, record.job_id),
            tls=await certificates.make(self, claim, cluster) if self.internal_ssl else None,
        )

    def happened(self, launch: Launch, event: Event) -> str:
        """Take an event from the node; return what is wrong with it, or nothing."""
        if launch.starting:
            if event.kind is EventKind.STARTING:
                launch.say(70, "JupyterLab is starting")
            elif event.port:  # `ready`, or an `alive` of one whose `ready` an earlier hub has heard
                return self._ready(launch, event)
        return ""

    def said_to_end(self, launch: Launch) -> None:
        """Look at once after a server that was ready, when its node or its script has said that it ends."""
        if launch.record.phase is Phase.READY:
            self.log.info("Server %s says that it ends: %r", self._log_name, launch.reason or launch.ended)
            run_detached(self.poll_and_notify())

    def _ready(self, launch: Launch, event: Event) -> str:
        """Build the server's URL from what the node reports, if it lies where a server may be."""
        cluster = launch.cluster or self._cluster_of(launch)
        try:
            launch.record.url = server_url(cluster, event.address, event.port, tls=self.internal_ssl)
        except ValueError as error:
            launch.fail(failure.wrong_address(launch.record.job_id, str(error)))
            return str(error)
        launch.enter(Phase.READY)
        # JupyterHub itself saves in a moment what the start has come to.
        self._launches.save_later(launch)
        return ""

    # ---- is it alive

    async def poll(self) -> int | None:
        """Return None while the server may be there; an error is never taken for its end."""
        launch = self._launch
        if launch is None or launch.gone:
            return 0
        if launch.ended is not None and launch.record.phase in (Phase.READY, Phase.ENDING):
            self._keep_how_it_ended(launch)
            self._end(launch)
            return launch.exit_code or 0
        if launch.failure is not None:
            self._end(launch)  # whoever waits for the start hears why at once, not when the job is gone
            return launch.exit_code or 1
        if launch.record.phase is not Phase.READY:
            # A launch that an earlier hub began: core drops it without stop(), and the record stays.
            return None if launch.spawner is self else 0
        in_doubt = launch.doubt is not None
        try:
            told = await verdict.of(launch, self._jobs(launch), self._proves, self.log)
        except Exception:
            # JupyterHub takes an exception here for a server that is not there.
            self.log.exception("Server %s: can't tell whether it lives", self._log_name)
            return None
        if told is not Verdict.DEAD:
            if launch.doubt is not None and not in_doubt:
                run_detached(self._settle(launch))
            return None
        self._keep_how_it_ended(launch)
        launch.enter(Phase.GONE)
        self._save(launch)
        run_detached(explain(launch, self._jobs(launch), self.log))
        return launch.exit_code or 0

    def _keep_how_it_ended(self, launch: Launch) -> None:
        """Keep for its user how a session ends, unless they end it or, as its start fails, hear of it so."""
        over = launch.record.phase is not Phase.READY or launch.how_ended or launch.ending
        if over or self.pending == "spawn":
            return
        record, cluster = launch.record, launch.cluster
        launch.how_ended = Ended(
            record.job_id,
            record.node,
            at=time.time(),
            reason=launch.reason,
            message=launch.message,
            exit_code=launch.exit_code,
            heard=launch.ended is not None,
            status=launch.doubt.final if launch.doubt else None,
            memory=str(record.options.get("memory") or ""),
            idle=cluster.idle.server if cluster else None,
        )
        LastSessions.of(self.user.settings).keep(self.user, self.name, launch.how_ended)

    def _save(self, launch: Launch) -> None:
        if launch.wanted:
            self._launches.save_later(launch)
            return
        try:
            forget_token(self.user.db, self._api_token(launch))
        finally:
            self._launches.save(launch)  # takes one that is gone out of memory though the database is away

    async def _settle(self, launch: Launch) -> None:
        """Have JupyterHub told as soon as a server in doubt is known to be dead."""
        if await verdict.settled(launch, self._jobs(launch), self._proves) is Verdict.DEAD:
            await self.poll_and_notify()

    async def get_url(self) -> str:
        """Return the server's URL once it answers, or once its job is known to be dead.

        The record's URL counts: a hub that died right after `ready` has not saved its own. After a restart
        JupyterHub stops a server that does not answer within `http_timeout`: it must not be told of one
        that a short hole in the network hides.
        """
        launch, pause = self._launch, 1.0
        if launch is None:
            return str(self.server.url)
        while launch.record.phase is Phase.READY:
            try:
                if await self._proves(launch) or await self.poll() is not None:
                    break
            except Exception:
                self.log.exception("Server %s: can't tell whether it is there", self._log_name)
            await launch.change(pause)
            pause = min(pause * 1.5, 30.0)
        return self._url_of(launch.record.url)

    def _url_of(self, url: str) -> str:
        return f"{url}{self.server.base_url if self.server else '/'}"

    def _api_token(self, launch: Launch) -> str:
        return derive_api_token(self.user.settings["cookie_secret"], launch.record.launch_id)

    def _way_to(self, launch: Launch) -> tuple[str, str, ssl.SSLContext | None]:
        """Return what asking a launch's server takes: its URL, the launch key and the TLS context."""
        settings = self.user.settings
        key = derive_launch_key(settings["cookie_secret"], launch.record.launch_id)
        return self._url_of(launch.record.url), key, certificates.client_context(settings)

    async def _proves(self, launch: Launch) -> bool:
        return await server.proves(*self._way_to(launch))

    # ---- Stop

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - JupyterHub's signature
        """End the server and its job, and wait until it is gone unless told otherwise."""
        if self._launch:
            await self.see_off(self._launch, within=0 if now else self.stop_timeout)

    async def see_off(self, launch: Launch, within: float = 0) -> bool:
        """Begin to end a launch, and wait for it at most so many seconds; tell whether its job is gone."""
        ending = self._end(launch)
        launch.touch()  # it may just sleep
        if ending:
            await asyncio.wait({ending}, timeout=within)
        return launch.gone

    def _end(self, launch: Launch) -> asyncio.Task[None] | None:
        """See a launch off; its record stays until the job is known to be gone."""
        if (launch.ending is None or launch.ending.done()) and not launch.gone:
            ask, save = partial(self._asked_to_stop, launch), partial(self._save, launch)
            launch.ending = run_detached(
                see_off(launch, self._jobs(launch), ask=ask, save=save, log=self.log)
            )
        return launch.ending

    def delete_forever(self) -> None:
        """End what is left when JupyterHub deletes a server or its user."""
        LastSessions.of(self.user.settings).forget(self.user, self.name)
        if self._launch:
            self._launch.record.successor_until = 0.0
            self._end(self._launch)

    async def _asked_to_stop(self, launch: Launch) -> bool:
        return await server.stop(*self._way_to(launch))
