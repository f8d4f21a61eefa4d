"""How a command line names a cluster: by its name, or by its file."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from launcher.cli.extra import reads_cluster_files
from launcher.errors import LauncherError, UsageError


def clusters_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--clusters`, the directory in which names of clusters are sought."""
    return click.option(
        "--clusters",
        "directory",
        envvar="LAUNCHER_CLUSTERS",
        show_envvar=True,
        is_eager=True,
        type=click.Path(path_type=Path),
        help="The directory of the cluster files. Without it that of those which come with the launcher.",
    )(command)


def cluster_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument CLUSTER, of which the command gets the path of the cluster file."""
    return click.argument(
        "cluster",
        callback=lambda context, _, value: cluster_path(value, context.params.get("directory")),
        shell_complete=complete_cluster,
    )(command)


def cluster_path(named: str, given: Path | None) -> Path:
    """Return the file of a cluster.

    Args:
        named: The cluster's name, or the path of its file: that holds a slash or ends in `.yaml`.
        given: The directory that `--clusters` names, if it does.

    Raises:
        UsageError: If no cluster has that name; it tells which there are.
    """
    if "/" in named or named.endswith(".yaml"):
        return Path(named)
    directory = directory_of(given)
    names = _names(directory)
    if named in names:
        return directory / f"{named}.yaml"
    close = get_close_matches(named, names, 1)
    raise UsageError(
        f"There is no cluster {named!r} in {directory.absolute()}.",
        why=f"There are {', '.join(names)}." if names else "It holds no cluster file.",
        todo=f"Did you mean {close[0]}?"
        if close
        else "Give one of these, the path of a cluster file, or another directory by --clusters.",
    )


def complete_cluster(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of the clusters to a shell, or paths once it looks like one."""
    if "/" in incomplete:
        return [CompletionItem(incomplete, type="file")]
    try:
        names = _names(directory_of(context.params.get("directory")))
    except LauncherError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def directory_of(given: Path | None) -> Path:
    """Return the directory of the cluster files: the one that was given, or the launcher's own.

    Raises:
        MissingPart: If none was given, and cluster files can't be read.
    """
    if given:
        return given
    with reads_cluster_files():
        from launcher.clusters.template import template_directory  # noqa: PLC0415 - a base install may have none
    return template_directory() / "clusters"


def shown_path(path: Path | str) -> str:
    """Return a path as people like to read it: from here, where it is below here."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _names(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.yaml") if not path.name.startswith("."))
