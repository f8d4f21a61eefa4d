"""Figures in `docs/performance.md`: each benchmark's between two marks, and all targets together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.results import Result, load_all

PAGE = Path(__file__).parents[1] / "docs/performance.md"
PLOTS = PAGE.parent / "images/performance"
TARGETS = "targets"


def begin(name: str) -> str:
    """Return the mark before what a benchmark writes."""
    return f"<!-- {name}: `make bench` writes this -->"


def end(name: str) -> str:
    """Return the mark after it."""
    return f"<!-- {name} end -->"


def written(page: str, name: str, text: str) -> str:
    """Return a page with a text between the marks of a benchmark.

    Raises:
        ValueError: If the page lacks a mark.
    """
    first, last = begin(name), end(name)
    start, stop = page.index(first) + len(first), page.index(last)
    return f"{page[:start]}\n\n{text.strip()}\n\n{page[stop:]}"


def refresh(name: str, text: str, plots: Mapping[str, str]) -> None:
    """Write what a benchmark shows, and the table of all targets, into the page; and its plots beside it."""
    page = written(PAGE.read_text(), name, text)
    PAGE.write_text(written(page, TARGETS, targets(load_all().values())))
    PLOTS.mkdir(parents=True, exist_ok=True)
    for file, plot in plots.items():
        (PLOTS / file).write_text(plot)


def targets(results: Iterable[Result]) -> str:
    """Return the table of all figures that have a target; what does not hold is in bold."""
    rows = []
    for each in results:
        if each.target:
            cells = [
                each.name,
                f"{each.value:g} {each.unit}",
                str(each.target),
                "yes" if each.holds else "no",
            ]
            rows.append(cells if each.holds else [f"**{cell}**" for cell in cells])
    return table(["", "measured", "target", "holds"], rows)


def spread(result: Result) -> str:
    """Return a figure with the least and the most that were seen, as `0.42 (0.40-0.51)`."""
    low, high = result.spread
    return f"{result.value:g}" if low == high else f"{result.value:g} ({low:g}-{high:g})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, whose first column is text and whose others are figures."""
    cells = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def plot(file: str, text: str) -> str:
    """Return the Markdown of a plot.

    Args:
        file: The name that `refresh` gets.
        text: What is to be seen there, for those who can't.
    """
    return f"![{text}](images/performance/{file})"
