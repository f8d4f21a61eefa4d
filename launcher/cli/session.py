"""`launcher session`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from launcher.cli.rows import print_rows
from launcher.errors import UsageError
from launcher.job_end import asked


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def session(*, as_json: bool) -> None:
    """Tell what this session has: job, node, time left, images, kernels.

    It is for terminals and notebooks of a session that JupyterHub has started. Slurm is asked how long the
    job has left; if it does not answer, what it said when the job began counts. The session ends a little
    earlier, so that all can be saved.

    \b
    Examples:
      launcher session
      launcher session --json
      launcher session --json | jq .time_left    seconds until the session ends

    Exit code 0, 2 for a wrong command line or outside of a session.
    """  # noqa: D301 - click's mark is the character itself
    told = _told()
    told |= _time_left(told["job"], told["end_warning"])
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for number, (title, rows) in enumerate(_tables(told)):
        if number:
            click.echo()
        if title:
            click.secho(title, bold=True)
        print_rows(rows, indent="  " if title else "")


def _told() -> dict[str, Any]:
    """Return what the server has written down of its session, and of the kernels once they are found.

    Raises:
        UsageError: If this is no session, or one that is over.
    """
    path = Path(os.environ.get("LAUNCHER_SESSION", ""))
    if not path.name:
        raise UsageError(
            "This is no terminal of a session.",
            why="LAUNCHER_SESSION is not set; the server sets it for its terminals and kernels.",
            todo="Start a server from JupyterHub, and open a terminal in JupyterLab.",
        )
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            "The session of this terminal is over, or runs on another node.", why=f"{error}."
        ) from None
    try:
        told["kernels"] = json.loads(path.with_name("kernels.json").read_bytes())
    except (OSError, ValueError):
        told["kernels"] = None
    return told


def _time_left(job: dict[str, Any], early: float) -> dict[str, Any]:
    """Return when a session ends that ends so many seconds before its job, and how long that is."""
    end, known = job["end"], job["end"] is not None
    with contextlib.suppress(LookupError):
        end, known = asked(job["id"]), True
    ends = None if end is None else int(end - early)
    left = None if ends is None else max(0, ends - int(time.time()))
    words = "no limit" if known and left is None else _words(left)
    return {
        "job": job | {"end": None if end is None else int(end)},
        "ends": ends,
        "time_left": left,
        "time_left_words": words,
    }


def _words(seconds: int | None) -> str:
    if seconds is None:
        return "unknown"
    if not seconds:
        return "over"
    days, rest = divmod(seconds // 60, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts) or "less than a minute"


def _tables(told: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield titles and rows."""
    yield "", [(click.style(name, dim=True), _plain(value)) for name, value in _facts(told) if value]
    if told["images"]:
        yield (
            "Images",
            [(*map(_plain, (each["label"], each["mount"])), _views(each)) for each in told["images"]],
        )
    kernels = told["kernels"]
    if kernels is None:
        yield "Kernels", [("They are still being looked for.",)]
    else:
        yield "Kernels", [row for each in kernels for row in _kernel(each)] or [("There are none.",)]


def _facts(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    environment, job = told["environment"], told["job"]
    yield "cluster", told["cluster"]
    title, kind = environment["title"], environment["kind"]
    yield "environment", f"{title} ({kind})" if title and kind else title or kind
    yield "job", job["id"]
    yield "partition", job["partition"]
    yield "account", job["account"]
    of = "" if job["nodes"] in ("", told["node"]) else f" (of {job['nodes']})"
    yield "node", f"{told['node']}{of}"
    until = (
        f", until {time.strftime('%Y-%m-%d %H:%M %Z', time.localtime(told['ends']))}"
        if told["time_left"]
        else ""
    )
    yield "time left", f"{told['time_left_words']}{until}"
    yield "started in", told["start_directory"]
    yield "hub", told["hub"]


def _views(image: dict[str, Any]) -> str:
    loaded = [f"{click.style(_plain(name), bold=True)} (loaded)" for name in image["loaded"]]
    return ", ".join([*loaded, *map(_plain, image["others"])]) or "no views"


def _kernel(kernel: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield _plain(kernel["title"]), _plain(kernel["program"])
    if kernel["problem"]:
        yield (click.style(f"  can't run: {_plain(kernel['problem'])}", fg="yellow"),)
    if kernel["fix"]:
        yield (f"  to mend it: {_plain(kernel['fix'])}",)


def _plain(text: str) -> str:
    """Return a text of an image or a user as a terminal may have it: nothing that moves its cursor."""
    encoding = sys.stdout.encoding or "utf-8"
    shown = "".join(each if each.isprintable() else "?" for each in text)
    return shown.encode(encoding, "replace").decode(encoding)
