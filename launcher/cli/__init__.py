"""`launcher …`: parse, call, print."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from importlib import import_module

import click

from launcher import __version__
from launcher.cli.problems import plain
from launcher.errors import InvalidFile, InvalidOptions, LauncherError

COMMANDS = (
    *("build", "check", "clusters", "demo", "diff", "export", "inspect"),
    *("lock", "prefetch", "render", "run", "schema", "session", "smoke"),
)
"""Each is a function of the module of its name."""


class _Commands(click.Group):
    """Imports commands as they are needed: terminals of sessions and completion wait for `launcher`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"launcher.cli.{cmd_name}"), cmd_name)
        return command


@click.group(
    cls=_Commands,
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
      launcher clusters       which clusters there are
      launcher check          what is wrong with their files
      launcher render daint   the script that a session on one of them is submitted with
      launcher smoke https://hub.example.org   whether sessions work at a hub that is running
      launcher prefetch daint   has the images of a cluster at hand before the first user asks for one
      launcher build uenv jupyterlab   the image that sessions run from; then inspect, diff, run
      launcher session        in a terminal of a session: what it has, and how long it lasts
    """  # noqa: D301 - click's mark is the character itself


def main() -> None:
    """Run the command line; an error for people ends with its own exit code and no traceback."""
    color = False if os.environ.get("NO_COLOR") else None
    try:
        cli(prog_name="launcher", color=color)
    except InvalidFile as error:
        if "--json" in sys.argv:
            click.echo(json.dumps({"problems": plain(error.problems)}, indent=2, ensure_ascii=False))
        else:
            _print_red(error.problems, color=color)
        sys.exit(error.exit_code)
    except InvalidOptions as error:
        _print_red(error.lines, color=color)
        sys.exit(error.exit_code)
    except LauncherError as error:
        click.secho(f"Error: {error.what}", fg="red", err=True, color=color)
        for line in (error.why, error.todo):
            if line:
                click.echo(line, err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        # Where standard output goes is full.
        with contextlib.suppress(OSError):
            click.echo(f"Error: can't write: {error.strerror}.", err=True)
        # Python would try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _print_red(lines: list[str], *, color: bool | None) -> None:
    for line in lines:
        click.secho(line, fg="red", err=True, color=color)
