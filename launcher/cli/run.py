"""`launcher run`."""

from __future__ import annotations

import os
import platform
from typing import Any

import click

from launcher.builder.mount import WAYS, command, session
from launcher.errors import LauncherError, UsageError


class _WithCommand(click.Command):
    """Keeps what follows `--` apart: click would take it for more images."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["launcher.argv"] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "--", "COMMAND..."]


@click.command(cls=_WithCommand)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE[:MOUNT]...")
@click.option(
    "--view", "views", metavar="[NAME:]VIEW,...", help="Views to load, instead of the default ones."
)
@click.option("--no-default-view", is_flag=True, help="Load no view.")
@click.option("--user", metavar="NAME", help="Run the command as this account, as root only.")
@click.option("--with", "how", type=click.Choice(WAYS), help="How to mount; else whatever this machine has.")
@click.pass_context
def run(context: click.Context, /, **given: Any) -> None:
    """Run a command with uenv images mounted, which nobody else sees.

    An IMAGE is a squashfs file; where it does not say itself where it belongs, MOUNT does. The mounts are
    read-only, and gone when the command ends. Machines without the directory MOUNT are fine for `namespace`
    and `squashfuse`: only the command sees one.

    Unless others are named, the images' default views are loaded, as `uenv run` does from version 10 on; the
    command finds UENV_MOUNT_LIST and UENV_VIEW as in any session of uenv.

    Root stays root without --user: try an image as an ordinary account, as its users will.

    \b
    Examples:
      launcher run jupyterlab.squashfs -- jupyter lab --version
      launcher run jupyterlab.squashfs prgenv.squashfs:/user-environment --view default -- bash
      launcher run --user nobody jupyterlab.squashfs -- launcher-singleuser --version

    The ways of mounting, in the order in which they are tried: `namespace` (root, loop devices),
    `squashfs-mount` and `uenv` (where uenv is installed), `squashfuse` (everybody, where /dev/fuse is open to
    all).

    Exit code: that of the command; 127 if there is no such command, 126 if it can't be started, 125 if an
    image can't be read or mounted, 2 for a wrong command line, 5 if this machine has no way to mount images.
    """  # noqa: D301 - click's mark is the character itself
    argv = context.meta["launcher.argv"]
    if not argv:
        raise UsageError("No command is named.", todo="Put it last: launcher run IMAGE -- COMMAND")
    if given["no_default_view"] and given["views"]:
        raise UsageError("--view and --no-default-view exclude each other.")
    try:
        full = _command(argv, **given)
        try:
            os.execvp(full[0], full)  # noqa: S606 - it becomes the command
        except OSError as error:
            raise LauncherError("The command can't be started.", why=f"{error.strerror}.") from None
    except LauncherError as error:
        if error.exit_code == LauncherError.exit_code:
            # As where mounting fails: 1 may be the command's.
            error.exit_code = 125
        raise


def _command(argv: list[str], **given: Any) -> list[str]:
    images = session.described(given["images"])
    machine = platform.machine()
    for each in images:
        if each.arch not in ("", machine):
            # What such a program ends with, the shell's "Syntax error" among them, explains nothing.
            click.echo(f"{each.name} is for {each.arch}: this machine, {machine}, can't run it.", err=True)
    named = [] if given["no_default_view"] else given["views"] and given["views"].split(",")
    changes = session.changes(images, session.views(images, named), os.environ)
    return command(session.mounted(images), argv, user=given["user"], how=given["how"], changes=changes)
