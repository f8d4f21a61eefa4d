"""`launcher clusters`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from launcher.cli.rows import print_rows
from launcher.errors import InvalidFile


@click.command()
@click.argument("name", required=False, shell_complete=complete_cluster)
@clusters_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_context
def clusters(context: click.Context, name: str | None, directory: Path | None, *, as_json: bool) -> None:
    """List the clusters, or show all that is known of one.

    NAME is the name of a cluster, or the path of its file.

    \b
    Examples:
      launcher clusters
      launcher clusters daint
      launcher clusters --clusters /etc/jupyterhub/clusters --json

    Exit code 0, 2 for a wrong command line, 3 when a cluster file has a mistake, 5 when what reads cluster
    files is not installed.
    """  # noqa: D301 - click's mark is the character itself
    if name:
        _show(cluster_path(name, directory), as_json=as_json)
    elif not _list(directory_of(directory), as_json=as_json):
        context.exit(InvalidFile.exit_code)


def _list(directory: Path, *, as_json: bool) -> bool:
    """Print the clusters of a directory; tell whether all their files are good."""
    with reads_cluster_files():
        from launcher.clusters import ClusterFile  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.clusters.check import cluster_files  # noqa: PLC0415 - the same
    found: list[dict[str, Any]] = []
    for path in cluster_files(directory):
        one: dict[str, Any] = {"name": path.stem, "path": str(path)}
        try:
            cluster = ClusterFile.load(path).cluster
        except InvalidFile as error:
            found.append({**one, "ok": False, "problems": plain(error.problems)})
            continue
        one |= {"ok": True, "title": cluster.title, "system": cluster.firecrest.system}
        one["partitions"] = [each.name for each in cluster.partitions]
        one["environments"] = [each.id for each in cluster.environments]
        found.append(one)
    if as_json:
        _print_json({"directory": str(directory), "clusters": found})
    else:
        print_rows(
            [
                (
                    one["name"],
                    one["title"],
                    one["system"],
                    *map(", ".join, (one["partitions"], one["environments"])),
                )
                if one["ok"]
                else (one["name"], click.style(f"broken: launcher check {shown_path(one['path'])}", fg="red"))
                for one in found
            ],
            ("NAME", "TITLE", "SYSTEM", "PARTITIONS", "ENVIRONMENTS"),
        )
    return all(one["ok"] for one in found)


def _show(path: Path, *, as_json: bool) -> None:
    with reads_cluster_files():
        from launcher.clusters import ClusterFile, fields  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.clusters.overview import overview  # noqa: PLC0415 - the same
    cluster = ClusterFile.load(path).cluster
    if as_json:
        choices = [asdict(each) for each in fields(cluster, "{user}")]
        for each in choices:
            del each["accepts"]
        _print_json({"path": str(path), "cluster": cluster.model_dump(mode="json"), "choices": choices})
        return
    for number, table in enumerate(overview(cluster)):
        click.echo(f"{chr(10) if number else ''}{click.style(table.title, bold=True)}")
        print_rows(table.rows, table.header, indent="  ")


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
