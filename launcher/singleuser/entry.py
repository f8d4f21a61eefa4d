"""The entry point: claim, preflight, listen, then JupyterLab."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from launcher import __version__
from launcher.errors import LauncherError, UsageError
from launcher.protocol import Claim, ClaimAnswer, EventKind, new_nonce
from launcher.singleuser.ahead import ImportAhead
from launcher.singleuser.directory import PrivateDirectory
from launcher.singleuser.environment import Environments
from launcher.singleuser.hub import Hub
from launcher.singleuser.image import mounted
from launcher.singleuser.isolation import recover
from launcher.singleuser.listener import Listener, hosts
from launcher.singleuser.mounts import check_mounted
from launcher.singleuser.preflight import jupyterhub_version, preflight
from launcher.singleuser.reporter import Reporter
from launcher.singleuser.session import Session
from launcher.singleuser.shortcuts import START
from launcher.singleuser.tls import Credentials, machine_authorities, trusting

_HELP = """\
Usage: launcher-singleuser [--version | --help]
       launcher-singleuser [jupyterhub-singleuser] [OPTION...]

Starts a JupyterLab for JupyterHub inside a Slurm job. The launcher's batch script calls the first; it
takes everything from its environment:

  LAUNCHER_TICKET         the one-time code by which this job claims its launch
  LAUNCHER_HUB_URL        the hub's API, such as https://hub.example.org/hub/api
  LAUNCHER_HUB_CA         a file of certificates to trust there (default: those of the machine)
  LAUNCHER_CLAIM_TIMEOUT  seconds to go on asking a hub that does not answer (default: 120)
  LAUNCHER_STOCK          what to start as JupyterLab itself does: `all`, or names in docs/admin/start-up.md

Other spawners call the second in the place of jupyterhub-singleuser, with its options. Their environment
holds JUPYTERHUB_API_TOKEN and the like. If they give no port, batchspawner or FirecRESTSpawner is told one.

Exit codes: 0 ended, 1 JupyterLab broke down, 2 not started as it must be, 20 hub not reachable,
21 not wanted by the hub, 22 a preflight failed, 23 nothing to listen on, 24 JupyterLab missing or not
starting.
"""


def run(arguments: list[str]) -> int:
    """Run the single-user server of this job; return the exit code.

    Args:
        arguments: Of the command line.
    """
    if "--version" in arguments:
        print(__version__)
        return 0
    if "--help" in arguments or "-h" in arguments:
        print(_HELP)
        return 0
    if arguments and not _drops_in():
        print(f"launcher-singleuser: unknown argument {arguments[0]!r}; see --help", file=sys.stderr)
        return UsageError.exit_code
    try:
        return _run(arguments)
    except LauncherError as error:
        print(f"launcher-singleuser: {error}", file=sys.stderr, flush=True)
        return error.exit_code


class _Start(NamedTuple):
    """How a server begins: by a claim, or as another spawner asks."""

    answer: ClaimAnswer
    reporter: Reporter
    listen: Callable[[], Listener]
    scheme: str
    credentials: Credentials | None = None
    clock: float = 0.0


def _drops_in() -> bool:
    """Tell whether a hub's own spawner, and no batch script of the launcher's, has started this."""
    return bool(os.environ.get("JUPYTERHUB_API_TOKEN")) and not os.environ.get("LAUNCHER_TICKET")


def _run(arguments: list[str]) -> int:
    # A shell without job control starts what it puts behind with both ignored, and every kernel and terminal
    # would inherit that: no Ctrl-C there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    recover()
    drops_in = _drops_in()
    # Out of the environment before anything else: kernels inherit it.
    ticket = os.environ.pop("LAUNCHER_TICKET", "")
    hub_url = os.environ.pop("LAUNCHER_HUB_URL", "")
    hub_ca = os.environ.pop("LAUNCHER_HUB_CA", "")
    timeout = os.environ.pop("LAUNCHER_CLAIM_TIMEOUT", "120")
    stock = os.environ.pop("LAUNCHER_STOCK", "")
    if not drops_in and not (ticket and hub_url):
        raise UsageError(
            "This is the JupyterHub launcher's single-user server, and no hub has asked for it.",
            why="LAUNCHER_TICKET and LAUNCHER_HUB_URL are not set; a batch script sets them.",
            todo="Start a server from JupyterHub. For a JupyterLab of your own: jupyter lab",
        )
    give_up_after = float(timeout) if timeout.isdecimal() else 120.0
    job = dict(os.environ)
    # For this Python alone: those of the user's programs know their own places.
    os.environ.update(machine_authorities(job, hub_ca))
    START.begin(stock)
    with ExitStack() as stack:
        stack.callback(START.over)
        ahead = stack.enter_context(ImportAhead())
        start = (
            _dropped_in(arguments, give_up_after)
            if drops_in
            else _claimed(ticket, hub_url, hub_ca, give_up_after)
        )
        answer, credentials = start.answer, start.credentials
        reporter = stack.enter_context(start.reporter)
        images = mounted(job, answer.images)
        check_mounted(images)
        environments = Environments.of(job, images)
        preflight(answer, environments, start.clock)
        listener = start.listen()
        directory = stack.enter_context(PrivateDirectory(environments.user))
        session = Session(answer, listener, reporter, environments, directory.path)
        session.announce(start.scheme)
        reporter.send(EventKind.STARTING)
        ahead.join()
        os.environ.clear()
        os.environ.update(environments.server)
        os.environ.update(machine_authorities(environments.server, hub_ca))
        os.environ.update(credentials.environment if credentials else {})
        from launcher.singleuser.server import serve  # noqa: PLC0415 - it imports JupyterLab

        serve(session)
    return 0


def _claimed(ticket: str, hub_url: str, hub_ca: str, give_up_after: float) -> _Start:
    hub = Hub(
        hub_url,
        give_up_after=give_up_after,
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
    clock = hub.clock
    credentials = Credentials(answer.tls) if answer.tls else None
    if credentials:
        # Only the public URL, which asks for no certificate, could be claimed at.
        hub = Hub(answer.environment.get("JUPYTERHUB_API_URL", hub_url), context=credentials.context())
    return _Start(
        answer,
        Reporter(hub, answer.launch_id, answer.launch_key),
        lambda: Listener.open(
            networks=answer.networks, names=answer.names, interface=answer.interface, ports=answer.ports
        ),
        "https" if credentials else "http",
        credentials,
        clock,
    )


def _dropped_in(arguments: list[str], give_up_after: float) -> _Start:
    from launcher.singleuser.dropin import DropIn, PortReporter  # noqa: PLC0415 - claims do without

    drop_in = DropIn.of(os.environ, arguments, give_up_after)
    return _Start(
        drop_in.answer,
        PortReporter(drop_in),
        lambda: Listener.at(drop_in.host, drop_in.port),
        drop_in.scheme,
        clock=drop_in.hub.clock,
    )
