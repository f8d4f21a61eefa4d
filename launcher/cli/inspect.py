"""`launcher inspect`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.cluster_path import shown_path
from launcher.cli.extra import builds_images
from launcher.cli.rows import print_rows

if TYPE_CHECKING:
    from launcher.builder.difference import Age
    from launcher.builder.inspection import Inspection
    from launcher.builder.lock import Floor

    Old = tuple[str, str, Floor]

_SHOWN = 15
"""How many lines of what takes most room."""


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--lock",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The lock that its age is told against; else that of the launcher's own recipe of its name.",
)
@click.option("--all", "everything", is_flag=True, help="List every package, and all that takes room.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def inspect(image: Path, lock: Path | None, *, everything: bool, as_json: bool) -> None:
    """Show what an image holds, without mounting it.

    IMAGE is a squashfs file: one of the launcher's, or any other, of which less can be known.

    \b
    Examples:
      launcher inspect jupyterlab.squashfs
      launcher inspect jupyterlab.squashfs --lock uenv/jupyterlab/requirements.txt
      launcher inspect --json jupyterlab.squashfs | jq .packages

    That it was verified is claimed by the file beside it, which anybody could have written.

    Exit code 0, also for an image that is old; 1 if the file is no image or is damaged, 2 for a wrong
    command line, 3 when the lock has a mistake, 5 when what looks into images is not installed.
    """  # noqa: D301 - click's mark is the character itself
    with builds_images():
        from launcher.builder import difference  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.builder.inspection import inspect as look  # noqa: PLC0415 - the same
        from launcher.builder.lock import below_floors  # noqa: PLC0415 - the same
    found = look(image)
    lock = lock or difference.own_lock(found)
    age = difference.age(found, lock) if lock else None
    old = below_floors((each.name, each.version) for each in found.packages)
    if as_json:
        click.echo(json.dumps(_plain(found, age, old), indent=2))
    else:
        _print(found, age, old, everything=everything)


def megabytes(size: int) -> str:
    """Return a size as people read it."""
    return "< 0.1 MB" if 0 < size < 50_000 else f"{size / 1e6:.1f} MB"


def _print(image: Inspection, age: Age | None, old: Sequence[Old], *, everything: bool) -> None:
    click.secho(_named(image.path), bold=True)
    print_rows([row for row in _facts(image, age) if row[1]], indent="  ")
    for name, version, floor in old:
        text = f"{name} {version} is older than {floor.at_least}: {floor.because} ({floor.source})."
        click.secho(text, fg="red")
    for note in image.notes:
        click.secho(note, fg="yellow")
    if image.views:
        _title("Views")
    for view in image.views:
        default = " (default)" if view.name == image.default_view else ""
        click.echo(f"  {view.name}{default}{': ' if view.description else ''}{view.description}")
        for change in view.changes:
            click.echo(f"    {change}")
    _table("What takes room", ("NAME", "VERSION", "SIZE", "SHARE"), _room(image), everything=everything)
    if age:
        rows = [(each.name, each.before, each.after or "not in it") for each in age.packages]
        _table("Other than the lock", ("NAME", "IMAGE", "LOCK"), rows, everything=everything)


def _facts(image: Inspection, age: Age | None) -> list[tuple[str, str]]:
    verified, locked = image.verified, image.locked
    needs = f"needs {_dotted(verified.glibc)}, by the file beside it" if verified and verified.glibc else ""
    built_for = f"built for {image.glibc}" if image.glibc else ""
    ran = "" if verified and verified.ran else ", but its programs were not run"
    compression = (
        f", {image.compression} in blocks of {image.block_size >> 10} kB" if image.compression else ""
    )
    return [
        ("name", image.name),
        ("description", image.description),
        ("mount", image.mount),
        ("size", f"{megabytes(image.size)}{compression}"),
        ("unpacked", megabytes(image.unpacked)),
        ("architecture", image.arch),
        ("glibc", ", ".join(filter(None, (built_for, needs)))),
        ("GPUs", "" if image.gpu is None else "built for them" if image.gpu else "not built for them"),
        ("Python", " ".join(filter(None, (image.python, image.interpreter)))),
        ("code-server", image.code_server),
        ("packages", str(len(image.packages) or "")),
        ("verified", f"{verified.checks} checks held{ran}, by the file beside it" if verified else ""),
        ("locked", str(locked) if locked else ""),
        ("age", _told(image, age) if age else ""),
    ]


def _told(image: Inspection, age: Age) -> str:
    of = f"{_named(shown_path(age.lock))} of {age.locked}"
    if not age.packages:
        return f"all packages are as in {of}"
    return f"{len(age.packages)} of {len(image.packages)} packages are other than in {of}"


def _named(path: Path | str) -> str:
    """Return a path as it can stand in one line."""
    from launcher.yaml_file import shown  # noqa: PLC0415 - a base install may have no pydantic

    return shown(str(path), 1000)


def _room(image: Inspection) -> list[tuple[str, ...]]:
    """Return what takes room, the largest first."""
    parts = [(each.size, each.name, each.version) for each in image.packages]
    parts += [(size, name, "") for name, size in image.rest.items()]
    return [
        (name, version, megabytes(size), f"{100 * size / max(image.unpacked, 1):.0f} %")
        for size, name, version in sorted(parts, key=lambda part: (-part[0], part[1:]))
    ]


def _table(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, everything: bool) -> None:
    """Print a table, its beginning only if not all of it is wanted."""
    if not rows:
        return
    _title(title)
    print_rows(rows if everything else rows[:_SHOWN], header, indent="  ")
    if not everything and len(rows) > _SHOWN:
        click.echo(f"  and {len(rows) - _SHOWN} more: --all")


def _title(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _dotted(version: tuple[int, int]) -> str:
    return "{}.{}".format(*version)


def _plain(image: Inspection, age: Age | None, old: Sequence[Old]) -> dict[str, Any]:
    verified = image.verified
    return {
        "path": str(image.path),
        "size": image.size,
        "unpacked": image.unpacked,
        "compression": image.compression or None,
        "block_size": image.block_size,
        "name": image.name or None,
        "description": image.description or None,
        "mount": image.mount or None,
        "default_view": image.default_view or None,
        "views": [
            {"name": each.name, "description": each.description, "changes": each.changes}
            for each in image.views
        ],
        "architecture": image.arch or None,
        "python": image.python or None,
        "interpreter": image.interpreter or None,
        "code_server": image.code_server or None,
        "glibc": image.glibc or None,
        "gpu": image.gpu,
        "verified": verified
        and {
            "checks": verified.checks,
            "ran": verified.ran,
            "glibc": _dotted(verified.glibc) if verified.glibc else None,
        },
        "locked": str(image.locked) if image.locked else None,
        "packages": [each._asdict() for each in image.packages],
        "rest": dict(image.rest),
        "age": age
        and {
            "lock": str(age.lock),
            "locked": str(age.locked),
            "packages": [
                {"name": each.name, "image": each.before or None, "lock": each.after or None}
                for each in age.packages
            ],
        },
        "floors": [
            {"name": name, "version": version, "at_least": floor.at_least, "because": floor.because}
            for name, version, floor in old
        ],
        "notes": list(image.notes),
    }
