"""What nobody runs is taken out of an image."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from launcher.builder.cache import remove
from launcher.builder.progress import Progress

_PIECE = re.compile(r"\[!?[^]!][^]]*\]|.", re.DOTALL)


def prune(root: Path, patterns: Iterable[str], progress: Progress) -> dict[str, int]:
    """Remove the files and directories that match patterns, and what `RECORD` files say of them.

    Args:
        root: The image's files.
        patterns: Patterns of paths below it: `*`, `?`, `[a-f]` and `[!a-f]` stay within a step, `**` stands
            for any directories.
        progress: Told of patterns that match nothing.

    Returns:
        Pattern → bytes that it removed; what matches several counts for the first.
    """
    pruning = _Pruning(patterns)
    pruning.visit(root, "")
    for pattern in pruning.bytes_of:
        if pattern not in pruning.matched:
            progress.note(f"prune: {pattern} matches nothing.")
    for record in pruning.records:
        _forget(record, pruning.gone)
    return pruning.bytes_of


def expression(pattern: str) -> re.Pattern[str]:
    """Return a pattern of paths as a regular expression."""
    *steps, last = pattern.rstrip("/").split("/")
    around = "".join("(?:[^/]+/)*" if step == "**" else f"{_step(step)}/" for step in steps)
    return re.compile(around + (".+" if last == "**" else _step(last)))


def _step(step: str) -> str:
    return "".join(_one(each) for each in _PIECE.findall(step))


def _one(piece: str) -> str:
    if len(piece) == 1:
        return {"*": "[^/]*", "?": "[^/]"}.get(piece) or re.escape(piece)
    inner = re.sub(r"([\\^\[&~|])", r"\\\1", piece[1:-1].removeprefix("!"))
    return f"[^/{inner}]" if piece[1] == "!" else f"[{inner}]"


class _Pruning:
    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = {pattern: expression(pattern) for pattern in patterns}
        self.bytes_of = dict.fromkeys(self._rules, 0)
        self.matched: set[str] = set()
        self.gone: set[str] = set()
        self.records: list[Path] = []

    def visit(self, directory: os.PathLike[str], within: str) -> None:
        """Prune a directory; `within` is its path below the root, with a slash."""
        with os.scandir(directory) as entries:
            here = list(entries)
        for entry in here:
            name = f"{within}{entry.name}"
            fitting = [pattern for pattern, rule in self._rules.items() if rule.fullmatch(name)]
            if fitting:
                self.matched.update(fitting)
                for file in _files(entry):
                    self.gone.add(file.path)
                    self.bytes_of[fitting[0]] += file.stat(follow_symlinks=False).st_size
                remove(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                self.visit(entry, f"{name}/")
            elif name.endswith(".dist-info/RECORD"):
                self.records.append(Path(entry.path))


def _files(entry: os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    if not entry.is_dir(follow_symlinks=False):
        yield entry
        return
    with os.scandir(entry) as entries:
        for inner in entries:
            yield from _files(inner)


def _forget(record: Path, gone: set[str]) -> None:
    """Take files out of the `RECORD` of what installed them."""
    library = record.parents[1]
    rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
    kept = [row for row in rows if row and os.path.normpath(library / row[0]) not in gone]
    if len(kept) != len(rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(kept)
        record.write_text(text.getvalue(), encoding="utf-8")
