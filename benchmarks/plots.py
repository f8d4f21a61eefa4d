"""Plots as SVG, readable on light and dark pages."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

import pygal
from pygal.style import Style

# pygal's hook for plugins with maps, of which Python warns at each module that is not found.
sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, pygal.PluginImportFixer)]

_STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    guide_stroke_color="#d5d5d5",
    major_guide_stroke_color="#b5b5b5",
    colors=(
        "#0b6e99",
        "#d9730d",
        "#448361",
        "#9065b0",
        "#c4554d",
        "#787774",
        "#cb912f",
        "#c14c8a",
        "#37352f",
    ),
    font_family="sans-serif",
    title_font_size=18,
    legend_font_size=13,
    label_font_size=13,
    value_font_size=13,
)
_LEFT_OUT = re.compile(r"<!--.*?-->|<script\b.*?</script>", re.DOTALL)


def stacked(title: str, rows: Mapping[str, Sequence[float]], columns: Sequence[str]) -> str:
    """Return bars that lie, a row for each name, of parts one after the other.

    Args:
        title: What is shown, with its unit.
        rows: Name → the length of each part.
        columns: The names of the parts.
    """
    chart = pygal.HorizontalStackedBar(**_settings(title, len(rows)))
    # They are drawn from below.
    chart.x_labels = list(rows)[::-1]
    for number, column in enumerate(columns):
        chart.add(column, [parts[number] for parts in rows.values()][::-1])
    return _drawn(chart)


def bars(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return bars that lie, side by side.

    Args:
        title: What is shown, with its unit.
        rows: Name of a group → name → length. The names are the same in each.
    """
    chart = pygal.HorizontalBar(**_settings(title, len(rows) * 2), print_values=True)
    chart.x_labels = list(rows)[::-1]
    for name in dict.fromkeys(name for row in rows.values() for name in row):
        chart.add(name, [row.get(name) for row in rows.values()][::-1])
    return _drawn(chart)


def curves(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_title: str,
    *,
    logarithmic: bool = False,
) -> str:
    """Return curves.

    Args:
        title: What is shown, with its unit.
        series: Name → points.
        x_title: What the points lie along.
        logarithmic: Whether both are shown by their orders of magnitude; all are above zero then.
    """
    chart = pygal.XY(**_settings(title, 6), x_title=x_title, logarithmic=logarithmic, show_dots=True)
    if logarithmic:
        across, up = zip(*(point for points in series.values() for point in points), strict=True)
        chart.x_labels, chart.y_labels = _decades(across), _decades(up)
    for name, points in series.items():
        chart.add(name, list(points))
    return _drawn(chart)


def _decades(values: Sequence[float]) -> list[float]:
    """Return the powers of ten that figures lie between."""
    return [10.0**power for power in range(floor(log10(min(values))), ceil(log10(max(values))) + 1)]


def _settings(title: str, rows: int) -> dict[str, Any]:
    return {
        "title": title,
        "style": _STYLE,
        "js": (),
        "width": 800,
        "height": 160 + 45 * rows,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 3,
        "disable_xml_declaration": True,
        "no_prefix": True,
        "show_x_guides": False,
        "truncate_legend": -1,
        "truncate_label": -1,
    }


def _drawn(chart: Any) -> str:
    # Without the day and the script, and with lines: of the same figures comes the same, of others few lines.
    svg = _LEFT_OUT.sub("", chart.render(is_unicode=True)).strip()
    return svg.replace("><", ">\n<") + "\n"
