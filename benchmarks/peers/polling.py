"""A spawner that asks FirecREST for what FirecRESTSpawner asks it for, and as often; see `loop`.

In the configuration of a JupyterHub (in a sandbox's, the first two and the system are known):

    c.JupyterHub.spawner_class = "benchmarks.peers.polling.PollingSpawner"
    c.PollingSpawner.firecrest_url = "http://127.0.0.1:…"
    c.PollingSpawner.token_url = "http://127.0.0.1:…/token"
    c.PollingSpawner.clients = {"alice": {"client_id": "…", "client_secret": "…"}}
    c.PollingSpawner.working_directory = "/home/{username}"

A server is told no port. It chooses one and tells the hub, at `/hub/api/firecrestspawner` or, as
`batchspawner-singleuser` does, at `/hub/api/batchspawner`; batchspawner must not be imported in the same hub.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
from jupyterhub.apihandlers import APIHandler, default_handlers
from jupyterhub.spawner import Spawner
from jupyterhub.user import User
from tornado.web import HTTPError
from traitlets import Dict, Float, Unicode, default

from benchmarks.peers.loop import LIVE, PROGRESS, STARTUP, STEADY, Calls, granted, session
from launcher.clusters import Cluster, ClusterFile


@cache
def _http() -> aiohttp.ClientSession:
    """Return what all users' requests are made with, for as long as the hub runs."""
    return session()


def _sandbox_cluster() -> Cluster:
    return ClusterFile.load(Path(os.environ["LAUNCHER_SANDBOX_CLUSTER_FILE"])).cluster


class PollingSpawner(Spawner):
    """Starts a server as a Slurm job, and looks for itself what became of it."""

    firecrest_url = Unicode(help="FirecREST's base.").tag(config=True)
    system = Unicode(help="The cluster's name there.").tag(config=True)
    token_url = Unicode(help="The identity provider's token endpoint.").tag(config=True)
    clients = Dict(
        help="""
        User → client credentials (`client_id`, `client_secret`) whose tokens are theirs. Others have those of
        their log-in, whose refresh token is spent on each.
        """
    ).tag(config=True)
    working_directory = Unicode("/home/{username}", help="Where jobs begin.").tag(config=True)
    script = Unicode(
        "#!/bin/bash\n{environment}\nexec {command}\n",
        help="The batch script: what is not `{environment}` or `{command}` has its braces doubled.",
    ).tag(config=True)
    server_address = Unicode(help="Where servers are; the job's node if it is empty.").tag(config=True)
    startup_poll_interval = Float(STARTUP, help="Seconds between two looks of a start.").tag(config=True)
    progress_interval = Float(PROGRESS, help="Seconds between two looks of its page.").tag(config=True)

    _job_id = ""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._renewing = asyncio.Lock()

    @default("firecrest_url")
    def _firecrest_url_of_the_sandbox(self) -> str:
        return str(_sandbox_cluster().firecrest.url)

    @default("system")
    def _system_of_the_sandbox(self) -> str:
        return _sandbox_cluster().firecrest.system

    @default("token_url")
    def _token_url_of_the_sandbox(self) -> str:
        return f"{os.environ['LAUNCHER_SANDBOX_ISSUER']}/token"

    @default("poll_interval")
    def _looks_at_servers_that_run(self) -> int:
        return int(STEADY)

    @default("cmd")
    def _wrapped(self) -> list[str]:
        return ["batchspawner-singleuser", "jupyterhub-singleuser"]

    @property
    def _calls(self) -> Calls:
        return Calls(_http(), self.firecrest_url, self.system, self._token)

    async def _token(self) -> str:
        if told := self.clients.get(self.user.name):
            client = (told["client_id"], told["client_secret"])
            answer = await granted(_http(), self.token_url, client, grant_type="client_credentials")
            return str(answer["access_token"])
        # A refresh token that has another in its place is good once.
        async with self._renewing:
            state = await self.user.get_auth_state()
            login = self.user.authenticator
            answer = await granted(
                _http(),
                self.token_url,
                (login.client_id, login.client_secret),
                grant_type="refresh_token",
                refresh_token=state["refresh_token"],
            )
            await self.user.save_auth_state(state | answer)
        return str(answer["access_token"])

    def get_state(self) -> dict[str, Any]:
        """Return what must survive a restart of the hub."""
        return {**super().get_state(), "job_id": self._job_id}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what was saved."""
        super().load_state(state)
        self._job_id = state.get("job_id", "")

    def clear_state(self) -> None:
        """Forget the job."""
        super().clear_state()
        self._job_id = ""

    async def start(self) -> tuple[str, int]:
        """Submit a job, wait until it runs, and until its server has told a port."""
        self.port = 0
        variables = self.get_env().items()
        environment = "\n".join(f"export {name}={shlex.quote(str(value))}" for name, value in variables)
        command = shlex.join([*self.cmd, *self.get_args()])
        script = self.script.format(environment=environment, command=command)
        self._job_id = await self._calls.submit(script, self.format_string(self.working_directory))
        job = await self._calls.until_running(self._job_id, self.startup_poll_interval)
        while not self.port:  # noqa: ASYNC110 - a loop is what is shown here
            await asyncio.sleep(self.startup_poll_interval)
        return self.server_address or job.node, self.port

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the pending page shows, each time by a look of its own."""
        while not self._job_id:  # noqa: ASYNC110 - as above
            await asyncio.sleep(self.progress_interval)
        async for job in self._calls.watched(self._job_id, self.progress_interval):
            yield {"message": f"Job {self._job_id}: {job.state or 'not known'}"}
        yield {"message": f"Job {self._job_id} runs, its server starts"}

    async def poll(self) -> int | None:
        """Return None while the job may be there."""
        if not self._job_id:
            return 0
        return None if (await self._calls.look(self._job_id)).state in LIVE else 1

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as JupyterHub calls it
        """Cancel the job."""
        if self._job_id:
            await self._calls.cancel(self._job_id)


class PortHandler(APIHandler):
    """Takes the port that a server has chosen, from that server."""

    def post(self) -> None:
        """Tell the spawner whose token it is."""
        user, token = self.current_user, self.get_auth_token()
        spawners = user.spawners.values() if isinstance(user, User) else ()
        spawner = next((each for each in spawners if each.api_token == token), None)
        if spawner is None:
            raise HTTPError(403)
        spawner.port = int(self.get_json_body()["port"])
        self.set_status(201)
        self.finish({"message": "The port is taken"})


default_handlers += [(rf"/api/{name}", PortHandler) for name in ("firecrestspawner", "batchspawner")]
