"""The entry point: claim, preflight, listen, then JupyterLab."""

from __future__ import annotations

import os
import signal
import sys

from launcher import __version__
from launcher.errors import LauncherError, UsageError
from launcher.protocol import Claim, ClaimAnswer, EventKind, new_nonce
from launcher.singleuser.hub import Hub
from launcher.singleuser.listener import Listener, hosts
from launcher.singleuser.preflight import jupyterhub_version, preflight
from launcher.singleuser.reporter import Reporter
from launcher.singleuser.tls import Credentials, trusting

_HELP = """\
Usage: launcher-singleuser [--version | --help]

Starts a JupyterLab for JupyterHub inside a Slurm job. The batch script calls it; it takes everything
from its environment:

  LAUNCHER_TICKET         the one-time code by which this job claims its launch
  LAUNCHER_HUB_URL        the hub's API, such as https://hub.example.org/hub/api
  LAUNCHER_HUB_CA         a file of certificates to trust there (default: those of the system)
  LAUNCHER_CLAIM_TIMEOUT  seconds to go on asking a hub that does not answer (default: 120)

Exit codes: 0 ended, 1 JupyterLab broke down, 2 not started by a batch script, 20 hub not reachable,
21 not wanted by the hub, 22 a preflight failed, 23 nothing to listen on, 24 JupyterLab missing or not
starting.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the single-user server of this job; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if "--version" in arguments:
        print(__version__)
        return 0
    if "--help" in arguments or "-h" in arguments:
        print(_HELP)
        return 0
    if arguments:
        print(f"launcher-singleuser: unknown argument {arguments[0]!r}; see --help", file=sys.stderr)
        return UsageError.exit_code
    try:
        return _run()
    except LauncherError as error:
        print(f"launcher-singleuser: {error}", file=sys.stderr, flush=True)
        return error.exit_code


def _run() -> int:
    # A shell without job control starts what it puts behind with both ignored, and every kernel and terminal
    # would inherit that: no Ctrl-C there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # Out of the environment before anything else: kernels inherit it.
    ticket = os.environ.pop("LAUNCHER_TICKET", "")
    hub_url = os.environ.pop("LAUNCHER_HUB_URL", "")
    hub_ca = os.environ.pop("LAUNCHER_HUB_CA", "")
    timeout = os.environ.pop("LAUNCHER_CLAIM_TIMEOUT", "120")
    if not ticket or not hub_url:
        raise UsageError(
            "This is the JupyterHub launcher's single-user server, and no hub has asked for it.",
            why="LAUNCHER_TICKET and LAUNCHER_HUB_URL are not set; a batch script sets them.",
            todo="Start a server from JupyterHub. For a JupyterLab of your own: jupyter lab",
        )
    hub = Hub(
        hub_url,
        give_up_after=float(timeout) if timeout.isdecimal() else 120.0,
        context=trusting(hub_ca) if hub_url.startswith("https:") else None,
    )
    answer = hub.claim(
        Claim(
            ticket=ticket,
            nonce=new_nonce(),
            job_id=os.environ.get("SLURM_JOB_ID", "0"),
            node=os.environ.get("SLURMD_NODENAME") or os.uname().nodename,
            jupyterhub_version=jupyterhub_version() or "0",
            hosts=hosts(),
        )
    )
    credentials = Credentials(answer.tls) if answer.tls else None
    if credentials:
        # Only the public URL, which asks for no certificate, could be claimed at.
        hub = Hub(answer.environment["JUPYTERHUB_API_URL"], context=credentials.context())
    reporter = Reporter(hub, answer.launch_id, answer.launch_key)
    reporter.start()
    try:
        code = _serve(answer, reporter, credentials)
    except LauncherError as error:
        reporter.stopping("failed", str(error), error.exit_code)
        raise
    except Exception as error:
        reporter.stopping("failed", f"JupyterLab ended with {type(error).__name__}: {error}"[:1500], 1)
        raise
    reporter.stopping(reporter.reason, reporter.message, code)
    return code


def _serve(answer: ClaimAnswer, reporter: Reporter, credentials: Credentials | None) -> int:
    preflight(answer.start_directory, answer.jupyterhub_version)
    listener = Listener.open(
        networks=answer.networks, names=answer.names, interface=answer.interface, ports=answer.ports
    )
    reporter.send(EventKind.MOUNTED)
    os.environ.update(answer.environment)
    os.environ.update(credentials.environment if credentials else {})
    prefix = answer.environment.get("JUPYTERHUB_SERVICE_PREFIX", "/")
    scheme = "https" if credentials else "http"
    os.environ["JUPYTERHUB_SERVICE_URL"] = f"{scheme}://{listener.host}:{listener.port}{prefix}"
    reporter.send(EventKind.STARTING)
    from launcher.singleuser.server import serve  # noqa: PLC0415 - it imports JupyterLab

    return serve(answer, listener, reporter)
