"""`launcher demo`: the site for a person, or for a program that does what a person would."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import click

from launcher.check import Report
from launcher.check import check as check_hub
from launcher.check.outcome import say, tell
from launcher.check.signals import ended_by_signals
from launcher.errors import CheckFailed, SandboxError
from launcher.sandbox.processes import check_port
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

_RESTARTS = 3
_RESTARTS_WITHIN = 60.0


async def run(scheduler: str, port: int | None, cluster: Path | None, state: Path | None) -> None:
    """Run the site until a signal asks for its end.

    Raises:
        LauncherError: If a part does not start, or ends by itself.
    """
    with contextlib.suppress(asyncio.CancelledError), ended_by_signals():
        async with _site(scheduler, port, cluster, state) as site:
            _welcome(site, kept=state, tried=cluster)
            await _watch(site)
    click.echo("Everything is stopped." + (f" Its files are in {state}." if state else ""))


async def check(
    scheduler: str, port: int | None, cluster: Path | None, state: Path | None, *, as_json: bool
) -> None:
    """Start the site, use it as a person would, stop it, and print what held.

    Raises:
        CheckFailed: If a step did not hold.
        LauncherError: If a part does not start.
    """
    try:
        with ended_by_signals():
            async with _site(scheduler, port, cluster, state) as site:
                report = await _check(site, quiet=as_json)
    except asyncio.CancelledError:
        raise CheckFailed("The check was interrupted.") from None
    tell(report, as_json=as_json)


async def _check(site: Site, *, quiet: bool) -> Report:
    account = next(iter(site.accounts))

    async def job_gone() -> bool:
        return not await site.live_jobs(account.name)

    return await check_hub(
        site.url,
        username=account.name,
        password=account.password,
        job_gone=job_gone,
        on_step=None if quiet else say,
    )


@contextlib.asynccontextmanager
async def _site(
    scheduler: str, port: int | None, cluster: Path | None, state: Path | None
) -> AsyncIterator[Site]:
    if port:
        check_port(port)
    with state_directory(state) as directory:
        site = Site(directory, scheduler=scheduler, port=port or 0, cluster=cluster, with_admin=True)
        for note in site.cluster.notes() if cluster else ():
            click.echo(f"In the sandbox, {note}.", err=True)
        await site.start(lambda line: click.echo(f"{line} …", err=True))
        try:
            yield site
        finally:
            click.echo("Stopping servers, jobs and the site …", err=True)
            await site.stop()


def _welcome(site: Site, *, kept: Path | None, tried: Path | None) -> None:
    admin = next(iter(site.accounts)).name
    lines = [
        "",
        f"JupyterHub is at {site.url}",
        "",
        "Log in as one of",
        *(f"  {account.name:<8} password {account.password}" for account in site.accounts),
        "",
        "Then press Start: a Slurm job runs JupyterLab, and the browser lands in it."
        if site.scheduler.kind == "slurm"
        else "Then press Start: a job (a plain process: Slurm is not used) runs JupyterLab, and the browser "
        "lands in it.",
        f"Cluster file: {site.cluster_file}",
        *(["  made from yours for this run; a batch template of yours is used where it is"] if tried else []),
        f"  edit it, and see {site.url}hub/launcher/clusters as {admin}, who is an admin",
        f"Logs: {site.state}/hub",
        f"Ctrl-C ends it all and leaves {kept or 'nothing'} behind.",
        "",
    ]
    click.echo("\n".join(lines))


async def _watch(site: Site) -> None:
    """Wait; start a hub that ended again, as a site's service manager would.

    Raises:
        SandboxError: If the proxy ends, or the hub ends again and again.
    """
    hub = site.hub
    assert hub.process
    ends: list[float] = []
    proxy = asyncio.ensure_future(hub.proxy.wait())
    while True:
        ended = asyncio.ensure_future(hub.process.wait())
        await asyncio.wait({proxy, ended}, return_when=asyncio.FIRST_COMPLETED)
        if proxy.done():
            raise SandboxError("The proxy ended.", why=hub.proxy.tail())
        ends = [end for end in ends if time.monotonic() - end < _RESTARTS_WITHIN] + [time.monotonic()]
        if len(ends) > _RESTARTS:
            raise SandboxError("JupyterHub ends again and again.", why=hub.process.tail())
        click.echo("JupyterHub ended; starting it again …", err=True)
        await hub.start_hub()
