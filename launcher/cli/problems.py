"""Mistakes of a file as a program reads them."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.cli.cluster_path import shown_path


def plain(problems: Iterable[str]) -> list[dict[str, object]]:
    """Return problems as JSON objects: `file`, `line`, `column`, `key` and `message`."""
    keys = ("line", "column", "key", "message")
    return [
        {"file": shown_path(getattr(each, "file", "")), **{key: getattr(each, key) for key in keys}}
        if hasattr(each, "message")
        else {"message": each}
        for each in problems
    ]
