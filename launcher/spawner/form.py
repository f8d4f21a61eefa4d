"""The options form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from launcher.clusters import Cluster, parse_options
from launcher.errors import InvalidOptions

_ENVIRONMENT = Environment(
    loader=PackageLoader("launcher.spawner"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def render_form(cluster: Cluster, chosen: Mapping[str, Any], errors: Mapping[str, str]) -> str:
    """Return the form's fields as HTML; JupyterHub puts them into its own form.

    Args:
        cluster: The cluster file.
        chosen: What is filled in at first: earlier options, or input that was refused.
        errors: Field name → what is wrong with it.
    """
    try:
        defaults = parse_options(cluster, {}).as_options()
    except InvalidOptions:
        defaults = {}  # no time fits the first partition: the user must choose both
    return _ENVIRONMENT.get_template("form.html").render(
        cluster=cluster,
        chosen={name: str(value)[:200] for name, value in {**defaults, **chosen}.items()},
        errors={name: text for name, text in errors.items() if name in ("partition", "time")},
        others={name: text for name, text in errors.items() if name not in ("partition", "time")},
        duration=duration,
    )


def duration(minutes: int) -> str:
    """Return minutes in words: `45 minutes`, `1 hour`, `1 h 30 min`."""
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} minute{'s' if rest != 1 else ''}"
    if not rest:
        return f"{hours} hour{'s' if hours != 1 else ''}"
    return f"{hours} h {rest} min"
