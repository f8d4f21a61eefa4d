"""`launcher …`: parse, call, print."""

from __future__ import annotations

import sys

import click

from launcher import __version__
from launcher.cli.demo import demo
from launcher.errors import LauncherError


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Completion: eval "$(_LAUNCHER_COMPLETE=bash_source launcher)" (or zsh_source, fish_source).',
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """JupyterLab on the compute nodes of an HPC cluster.

    \b
    Examples:
      launcher demo           a whole site on this machine, to try in a browser
      launcher demo --check   the same, tried by a program: exit code 0 when all of it works
    """  # noqa: D301 - click's mark is the character itself


cli.add_command(demo)


def main() -> None:
    """Run the command line; an error for people ends with its own exit code and no traceback."""
    try:
        cli(prog_name="launcher")
    except LauncherError as error:
        click.secho(f"Error: {error.what}", fg="red", err=True)
        for line in (error.why, error.todo):
            if line:
                click.echo(line, err=True)
        sys.exit(error.exit_code)
