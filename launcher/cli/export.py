"""`launcher export`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.cluster_path import cluster_argument, clusters_option
from launcher.cli.extra import reads_cluster_files
from launcher.errors import UsageError


@click.command()
@click.argument("kind", type=click.Choice(["jupyterhub", "f7t4jhub", "z2jh", "edf"]))
@cluster_argument
@click.argument("environment", required=False)
@click.option(
    "--nested", is_flag=True, help="Put a chart's values below its name, as a chart around it wants them."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a file; without it the result is printed.",
)
@click.option("--force", is_flag=True, help="With -o: replace the file if it is there.")
@clusters_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Make a JSON object: kind, cluster, environment, and content or values.",
)
def export(
    *,
    kind: str,
    cluster: Path,
    environment: str | None,
    nested: bool,
    output: Path | None,
    force: bool,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Make the configuration of a hub for a cluster, or that of a container.

    KIND is what the hub is installed with: JupyterHub alone, the Helm chart f7t4jhub, or the one of Zero to
    JupyterHub. CLUSTER is the name of a cluster, or the path of its file. The result holds all that a hub
    needs of the cluster, and for each setting the reason; it holds no secret, but names what a site has to
    set. With the KIND edf it is the environment definition file, for the container engine, of the container
    that is ENVIRONMENT in the cluster file.

    \b
    Examples:
      launcher export jupyterhub daint -o jupyterhub_config.py
      launcher export z2jh ./mycluster.yaml > values.yaml
      launcher export f7t4jhub daint --nested      for a chart around it, as with ArgoCD
      launcher export edf ./mycluster.yaml pytorch -o pytorch.toml

    Exit code 0, 2 for a wrong command line, 3 when the cluster file has a mistake, 5 when what reads cluster
    files is not installed.
    """  # noqa: D301 - click's mark is the character itself
    del directory
    if nested and kind not in ("f7t4jhub", "z2jh"):
        raise UsageError("--nested goes with a chart: f7t4jhub or z2jh.")
    if (kind == "edf") != (environment is not None):
        raise UsageError("ENVIRONMENT goes with edf.", todo="Try: launcher export edf CLUSTER ENVIRONMENT")
    if force and not output:
        raise UsageError("--force goes with -o.")
    with reads_cluster_files():
        from launcher.export import Kind, edf, write  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.export import export as make  # noqa: PLC0415 - the same
    document = edf(cluster, environment) if environment else make(Kind(kind), cluster, nested=nested)
    text = document.json if as_json else document.content
    if output:
        write(output, text, replace=force)
    else:
        click.echo(text.encode(), nl=False)
