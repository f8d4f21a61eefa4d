"""`launcher diff`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.extra import builds_images
from launcher.cli.inspect import megabytes
from launcher.cli.rows import print_rows
from launcher.errors import LauncherError, UsageError

if TYPE_CHECKING:
    from launcher.builder.difference import Change, Difference, Grown

_SHOWN = 15
"""How many lines of what takes other room."""
_IMAGE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("before", metavar="A", type=_IMAGE)
@click.argument("after", metavar="B", type=_IMAGE)
@click.option("--files", is_flag=True, help="Compare the lists of files, too: kind, size, mode, link.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_context
def diff(context: click.Context, before: Path, after: Path, *, files: bool, as_json: bool) -> None:
    """Show how image B differs from image A.

    What counts is what they say of themselves (name, mount, views), what they are built for, and the versions
    of their packages, of Python and of code-server; with --files, also which files they hold. The contents of
    files are not compared, which takes long: the last example does that.

    \b
    Examples:
      launcher diff old.squashfs new.squashfs
      launcher diff --files one.squashfs other.squashfs
      launcher diff --json old.squashfs new.squashfs | jq .packages
      launcher run --no-default-view a.squashfs:/a b.squashfs:/b -- diff -r --no-dereference /a /b

    Exit code, as of diff: 0 when nothing that counts differs, 1 when something does; 2 for a wrong command
    line, or a file that is no image or is damaged, 5 when what looks into images is not installed.
    """  # noqa: D301 - click's mark is the character itself
    with builds_images():
        from launcher.builder.difference import difference  # noqa: PLC0415 - a base install may have no pydantic
    try:
        found = difference(before, after, files=files)
    except LauncherError as error:
        if error.exit_code != LauncherError.exit_code:
            raise
        # 1 says that images differ.
        raise UsageError(error.what, why=error.why, todo=error.todo) from None
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2))
    else:
        _print(found)
    if not found.equal:
        context.exit(1)


def _print(found: Difference) -> None:
    if found.identical:
        click.echo("The images are the same, bit for bit.")
        return
    if found.equal:
        what = "packages and metadata" if found.files is None else "packages, metadata and lists of files"
        click.echo(f"The images have equal {what}, but they are not the same bit for bit.")
    _changes("What they say of themselves", found.metadata)
    _changes("Packages", found.packages)
    _sizes(found.sizes)
    _changes("Files", found.files or ())
    if found.files is None and not found.packages:
        click.echo("\nWhich files differ: --files")


def _changes(title: str, changes: Iterable[Change]) -> None:
    rows = [
        (
            click.style(each.name, fg=_color(each)),
            each.before or "-",
            each.after or "-",
        )
        for each in changes
    ]
    if rows:
        click.secho(f"\n{title}", bold=True)
        print_rows(rows, ("NAME", "A", "B"), indent="  ")


def _color(change: Change) -> str:
    if change.before and change.after:
        return "yellow"
    return "green" if change.after else "red"


def _sizes(sizes: Sequence[Grown]) -> None:
    if not sizes:
        return
    click.secho("\nRoom, unpacked", bold=True)
    total = sum(each.after - each.before for each in sizes)
    rows = [
        (each.name, megabytes(each.before), megabytes(each.after), _signed(each.after - each.before))
        for each in sizes[:_SHOWN]
    ]
    if len(sizes) > _SHOWN:
        rows.append((f"and {len(sizes) - _SHOWN} more", "", "", ""))
    rows.append(("all", "", "", _signed(total)))
    print_rows(rows, ("NAME", "A", "B", "CHANGE"), indent="  ")


def _signed(size: int) -> str:
    return f"{size / 1e6:+.1f} MB" if abs(size) >= 50_000 else f"{size:+} bytes"


def _plain(found: Difference) -> dict[str, Any]:
    return {
        "identical": found.identical,
        "equal": found.equal,
        "metadata": _plain_changes(found.metadata),
        "packages": _plain_changes(found.packages),
        "sizes": [each._asdict() for each in found.sizes],
        "files": None if found.files is None else _plain_changes(found.files),
    }


def _plain_changes(changes: Iterable[Change]) -> list[dict[str, str | None]]:
    return [
        {"name": each.name, "before": each.before or None, "after": each.after or None} for each in changes
    ]
