"""`launcher check`."""

from __future__ import annotations

import json
import os.path
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.cluster_path import (
    cluster_path,
    clusters_option,
    complete_cluster,
    directory_of,
    shown_path,
)
from launcher.cli.extra import reads_cluster_files
from launcher.cli.problems import plain
from launcher.errors import InvalidFile

if TYPE_CHECKING:
    from launcher.clusters.check import Checked


def _paths(context: click.Context, _: click.Parameter, given: tuple[str, ...]) -> list[Path]:
    """Take what is there as it is, whatever it is called; the rest names clusters."""
    directory = context.params.get("directory")
    return [Path(each) if os.path.lexists(each) else cluster_path(each, directory) for each in given]


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, callback=_paths, shell_complete=complete_cluster)
@clusters_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
@click.pass_context
def check(context: click.Context, paths: list[Path], directory: Path | None, *, as_json: bool) -> None:
    """Check cluster files and their batch templates.

    PATH is a cluster file, a directory of them, or the name of a cluster. Without one, all in the directory
    of the cluster files are checked. Each is read; a script is made for each of its partitions and
    environments; bash, and shellcheck where it is installed, look at the scripts, and run none. All mistakes
    are told, one a line, as file:line:column: key: what is wrong, what is allowed.

    \b
    Examples:
      launcher check
      launcher check mycluster.yaml
      launcher check /etc/jupyterhub/clusters --json

    Exit code 0 when all is good, 2 for a wrong command line, 3 when a file has a mistake, 5 when what reads
    cluster files is not installed.
    """  # noqa: D301 - click's mark is the character itself
    with reads_cluster_files():
        from launcher.clusters import check as checks  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.clusters.shell import find_shellcheck  # noqa: PLC0415 - the same
    found = [
        file
        for path in paths or [directory_of(directory)]
        for file in (checks.cluster_files(path) if path.is_dir() else [path])
    ]
    files = list({file.absolute(): file for file in found}.values())
    shellcheck = find_shellcheck()
    with _progress(files) as each_file:
        checked = [checks.check(file, shellcheck) for file in each_file]
    if as_json:
        result = {"shellcheck": shellcheck is not None, "files": [_plain(each) for each in checked]}
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        for each in checked:
            _print(each)
        if not shellcheck:
            click.echo("shellcheck was not found; bash alone looked at the scripts.", err=True)
    if any(each.problems for each in checked):
        context.exit(InvalidFile.exit_code)


def _print(checked: Checked) -> None:
    for problem in checked.problems:
        place = click.style(f"{shown_path(problem.file)}:{problem.line}:{problem.column}:", bold=True)
        key = f" {problem.key}:" if problem.key else ""
        click.echo(f"{place}{key} {problem.message}")
    if not checked.problems:
        scripts = f"{checked.scripts} script{'s' if checked.scripts != 1 else ''}"
        click.echo(f"{shown_path(checked.path)}: {click.style('ok', fg='green')}, {scripts}")


def _plain(checked: Checked) -> dict[str, object]:
    return {
        "path": shown_path(checked.path),
        "ok": not checked.problems,
        "scripts": checked.scripts,
        "problems": plain(checked.problems),
    }


@contextmanager
def _progress(files: list[Path]) -> Iterator[Iterator[Path]]:
    """Show on a terminal how far the check is, where there is more than one file."""
    if len(files) == 1 or not (sys.stderr and sys.stderr.isatty()):
        yield iter(files)
        return
    with click.progressbar(files, label="Checking", file=sys.stderr) as bar:
        yield iter(bar)
