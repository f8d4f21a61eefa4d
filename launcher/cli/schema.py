"""`launcher schema`."""

from __future__ import annotations

import click

from launcher.cli.extra import reads_cluster_files


@click.command()
@click.option(
    "--json/--docs",
    "as_json",
    default=True,
    help="A JSON Schema for editors and other programs, which is what is printed without an option; or a "
    "reference for people, in Markdown.",
)
def schema(*, as_json: bool) -> None:
    """Print what a cluster file may hold.

    The JSON Schema is of draft 2020-12. An editor with the YAML language server uses it for a cluster file
    that begins with the line

    \b
      # yaml-language-server: $schema=../cluster.schema.json

    It knows each key by itself; `launcher check` also knows what keys must say together.

    \b
    Examples:
      launcher schema > cluster.schema.json
      launcher schema --docs > cluster-file.md

    Exit code 0, 2 for a wrong command line, 5 when the package that reads cluster files is not installed.
    """  # noqa: D301 - click's mark is the character itself
    with reads_cluster_files():
        from launcher.clusters.reference import reference  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.clusters.schema import schema_text  # noqa: PLC0415 - the same
    click.echo(schema_text() if as_json else reference(), nl=False)
