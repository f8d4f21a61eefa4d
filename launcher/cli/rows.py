"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import click


def print_rows(rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = (), indent: str = "") -> None:
    """Print columns, each as wide as it must be; the last of a row may be of any width.

    Args:
        rows: The rows, whose cells may have styles.
        header: What stands above them, dimmed.
        indent: What stands before each.
    """
    lines = [header, *rows] if header else list(rows)
    lengths = [[len(click.unstyle(cell)) for cell in line] for line in lines]
    widths = [
        max((line[column] for line in lengths if len(line) > column + 1), default=0)
        for column in range(max(map(len, lines)))
    ]
    for line, length in zip(lines, lengths, strict=True):
        *cells, last = line
        padded = [cell + " " * (width - own) for cell, width, own in zip(cells, widths, length, strict=False)]
        text = f"{indent}{'  '.join([*padded, last])}".rstrip()
        click.echo(click.style(text, dim=True) if header and line is header else text)
