"""What a user chooses, on a command line: `-o key=value`, completed from the cluster's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from launcher.cli.cluster_path import cluster_path
from launcher.errors import LauncherError

SOMEONE = "someone"
"""The user of a script that is only looked at."""


def user_options(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the option `-o`, of which the command gets a mapping as `options`."""
    return click.option(
        "-o",
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_options,
        shell_complete=_complete,
        help=help_text,
    )


class CompletingCommand(click.Command):
    """Knows the cluster also while a shell completes an option that has no value yet."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave such an option out."""
        unfinished = ctx.resilient_parsing and args[-1:] in (["-o"], ["--option"])
        return super().parse_args(ctx, args[:-1] if unfinished else args)


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


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what users of the cluster may choose, and then the values."""
    cluster = context.params.get("cluster")
    if not cluster:
        return []
    try:
        from launcher.clusters import fields, load_cluster  # noqa: PLC0415 - a base install may have no pydantic

        offered = fields(load_cluster(cluster_path(str(cluster), context.params.get("directory"))), SOMEONE)
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
