"""`launcher render`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from launcher.cli.cluster_path import cluster_argument, clusters_option
from launcher.cli.extra import reads_cluster_files
from launcher.cli.user_options import SOMEONE, CompletingCommand, user_options
from launcher.errors import InvalidOptions, LauncherError, UsageError


@click.command(cls=CompletingCommand)
@cluster_argument
@user_options("What the user chooses, as key=value; once for each key. Without it the default counts.")
@click.option(
    "--user", default=SOMEONE, show_default=True, metavar="NAME", help="The user's name on the cluster."
)
@click.option(
    "--hub",
    default="https://hub.example.org/hub/api",
    show_default=True,
    metavar="URL",
    help="The hub's API as compute nodes reach it.",
)
@clusters_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object: the request, and the script or the errors."
)
@click.pass_context
def render(
    context: click.Context,
    *,
    cluster: Path,
    options: dict[str, str],
    user: str,
    hub: str,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Print the script that would be submitted.

    CLUSTER is the name of a cluster, or the path of its file. The script is the one that a user gets who
    chooses these options, byte for byte, but for the launch's own id and ticket, which are masked. The form
    always sends what it shows chosen, such as a preselected account.

    \b
    Examples:
      launcher render daint
      launcher render ./mycluster.yaml -o partition=debug -o time=30 --user alice
      launcher render eiger > eiger.sh && sbatch --test-only eiger.sh

    Exit code 0, 2 for a wrong command line, 3 when the cluster file has a mistake, 4 for options that can't
    be had, 5 when what reads cluster files is not installed.
    """  # noqa: D301 - click's mark is the character itself
    del directory
    with reads_cluster_files():
        from launcher.clusters.check import load_checked  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.clusters.preview import preview, preview_facts  # noqa: PLC0415 - the same
    try:
        facts = preview_facts(user, hub)
    except ValueError:
        raise UsageError(
            f"{hub!r} is not the URL of a hub's API.", todo="It looks like https://hub.example.org/hub/api"
        ) from None
    except LauncherError as error:
        raise UsageError(error.what) from None
    file = load_checked(cluster)
    result: dict[str, Any] = {"cluster": file.cluster.name, "path": str(cluster), "user": user, "hub": hub}
    try:
        request, script = preview(file, options, facts)
    except InvalidOptions as error:
        if not as_json:
            raise
        click.echo(json.dumps({**result, "errors": error.fields}, indent=2))
        context.exit(error.exit_code)
    if as_json:
        click.echo(json.dumps({**result, "request": asdict(request), "script": script}, indent=2))
    else:
        click.echo(script.encode(), nl=False)
