"""`launcher render`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from launcher.cli.cluster_path import cluster_argument, clusters_option
from launcher.cli.extra import reads_cluster_files
from launcher.errors import InvalidOptions, LauncherError, UsageError

SOMEONE = "someone"
"""The user of a script that is only looked at."""


def _options(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Return keys and values; each key may come once."""
    options: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{each!r} is not key=value.", context, parameter)
        if key in options:
            raise click.BadParameter(f"{key!r} was given twice.", context, parameter)
        options[key] = value
    return options


def _complete_option(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what users of the cluster may choose, and then the values."""
    cluster = context.params.get("cluster")
    if not cluster:
        return []
    try:
        from launcher.clusters import fields, load_cluster  # noqa: PLC0415 - a base install may have no pydantic

        offered = fields(load_cluster(cluster), SOMEONE)
    except (LauncherError, ImportError):
        return []
    items = [
        f"{field.name}={value}"
        for field in offered
        for value in (
            [option.value for option in field.options] if incomplete.startswith(f"{field.name}=") else [""]
        )
    ]
    return [CompletionItem(each) for each in items if each.startswith(incomplete)]


class _Command(click.Command):
    """Knows the cluster also while a shell completes an option that has no value yet."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave such an option out."""
        unfinished = ctx.resilient_parsing and args[-1:] in (["-o"], ["--option"])
        return super().parse_args(ctx, args[:-1] if unfinished else args)


@click.command(cls=_Command)
@cluster_argument
@click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_options,
    shell_complete=_complete_option,
    help="What the user chooses, as key=value; once for each key. Without it the default counts.",
)
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
