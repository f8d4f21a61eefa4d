"""`launcher prefetch`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.cluster_path import cluster_argument, clusters_option
from launcher.cli.extra import reads_cluster_files
from launcher.cli.rows import print_rows
from launcher.errors import CheckFailed, MissingPart, UsageError

if TYPE_CHECKING:
    from launcher.prefetch.report import Report

_CREDENTIALS = {
    "token_url": "AUTH_TOKEN_URL",
    "client_id": "FIRECREST_CLIENT_ID",
    "client_secret": "FIRECREST_CLIENT_SECRET",
}


@click.command()
@cluster_argument
@clusters_option
@click.option(
    "--environment",
    "environments",
    multiple=True,
    metavar="ID",
    help="Only the images of this environment; may be given several times.",
)
@click.option("--here", is_flag=True, help="Stage on this machine, whatever credentials there are.")
@click.option("--user", default="", metavar="NAME", help="The account's name on the cluster, for a job.")
@click.option("--account", default="", metavar="NAME", help="The job's Slurm account.")
@click.option(
    "--partition",
    default="",
    metavar="NAME",
    help="The job's partition; without it the cluster file's first.",
)
@click.option(
    "--time",
    "minutes",
    type=click.IntRange(min=1),
    metavar="MINUTES",
    help="How long the job may run; without it an hour, or less where the partition allows less.",
)
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=7200,
    show_default=True,
    metavar="SECONDS",
    help="How long the job may take, the queue included; then it is cancelled.",
)
@click.option(
    "--containers",
    is_flag=True,
    help="Start a container from each EDF, too, by srun: the container engine then fetches its image.",
)
@click.option("--dry-run", is_flag=True, help="Only tell which images there are; ask nobody.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
def prefetch(
    cluster: Path,
    directory: Path | None,
    *,
    environments: tuple[str, ...],
    here: bool,
    user: str,
    account: str,
    partition: str,
    minutes: int | None,
    timeout: int,
    containers: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Stage the images that a cluster file names, so that no first session has to pull them.

    CLUSTER is the name of a cluster, or the path of its file. Images that the uenv repository does not hold
    are pulled into it: into the one that the cluster file names, else into the account's own.

    A job does it that FirecREST submits, if these variables hold client credentials: AUTH_TOKEN_URL,
    FIRECREST_CLIENT_ID, FIRECREST_CLIENT_SECRET; --user says what their account is called on the cluster.
    Without them it is done on this machine, where uenv must be. Ctrl-C ends it, and cancels the job.

    \b
    Examples:
      launcher prefetch daint --dry-run
      launcher prefetch daint --here
      launcher prefetch daint --user svc-jupyter --account csstaff --partition debug

    Exit code 0 when all images are there, 2 for a wrong command line, 3 when the cluster file has a mistake,
    5 when something is not installed, 7 when an image is not there, 8 or 9 when no job could be submitted.
    """  # noqa: D301 - click's mark is the character itself
    del directory
    with reads_cluster_files():
        from launcher.clusters.check import load_checked  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.prefetch.run import Errand  # noqa: PLC0415 - the same
        from launcher.prefetch.script import Job  # noqa: PLC0415 - the same
    credentials = {} if here or dry_run else _credentials()
    if not (here or dry_run or credentials or shutil.which("uenv")):
        raise MissingPart(
            "There is no uenv on this machine, and there are no credentials for FirecREST.",
            todo=f"Run this on the cluster, or set {', '.join(_CREDENTIALS.values())}.",
        )
    if credentials and not user:
        raise UsageError(
            "What the account is called on the cluster is not known.",
            todo="Say --user NAME, or --here for this machine.",
        )
    errand = Errand(load_checked(cluster).cluster, environments, containers=containers)
    if dry_run:
        report = errand.look()
    else:
        import asyncio  # noqa: PLC0415 - no help and no other command needs it

        job = Job(user, account, partition, minutes)
        report = asyncio.run(
            errand.run(credentials, job, timeout=timeout, say=_say, terminal=sys.stderr.isatty())
        )
    _tell(report, as_json=as_json)


def _credentials() -> dict[str, str]:
    """Return the client credentials in the environment; none of them, or all.

    Raises:
        UsageError: If only some are there.
    """
    found = {name: os.environ.get(variable, "").strip() for name, variable in _CREDENTIALS.items()}
    absent = [_CREDENTIALS[name] for name, value in found.items() if not value]
    if len(absent) == len(_CREDENTIALS):
        return {}
    if absent:
        raise UsageError(
            f"The credentials for FirecREST are not whole: {', '.join(absent)} is not set.",
            todo="Set all of them, or say --here for this machine.",
        )
    return found


def _say(line: str, *, passing: bool = False) -> None:
    """Print what happens meanwhile; on a terminal the next line takes the place of a passing one."""
    click.echo(f"\r{line}\x1b[K" if sys.stderr.isatty() else line, err=True, nl=not passing)


def _tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        rows = [
            (each.state.value, each.wanted.image, ", ".join(each.wanted.used_by), each.why)
            for each in report.outcomes
        ]
        print_rows(rows, ("STATE", "IMAGE", "FOR", ""))
    if report.trouble:
        click.echo(report.trouble, err=True)
    if not report.ok:
        bad = [each.wanted.image for each in report.outcomes if not each.ok]
        raise CheckFailed(
            f"{len(bad)} of {len(report.outcomes)} images are not there: {', '.join(bad)}.",
            why=report.trouble,
        )
