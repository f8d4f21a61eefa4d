"""An export: the configuration of a hub for one cluster, with all that it needs."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from launcher.clusters import Cluster
from launcher.export.embedded import Embedded, embedded
from launcher.export.setting import login_settings, settings


class Kind(StrEnum):
    """What a hub is installed with."""

    JUPYTERHUB = "jupyterhub"
    F7T4JHUB = "f7t4jhub"
    Z2JH = "z2jh"

    @property
    def chart(self) -> str | None:
        """The Helm chart's name, or None where there is no chart."""
        return {Kind.F7T4JHUB: "f7t4jhub", Kind.Z2JH: "jupyterhub"}.get(self)

    @property
    def template(self) -> str:
        """The file that holds what all exports of this kind have in common."""
        return f"{self}.yaml.j2" if self.chart else f"{self}.py.j2"


@dataclass(frozen=True)
class Document:
    """An export.

    Attributes:
        kind: What the hub is installed with.
        cluster: The cluster's name.
        content: Python, or YAML where there is a chart.
    """

    kind: Kind
    cluster: str
    content: str

    @property
    def json(self) -> str:
        """The export for programs: a chart's values as they are, and Python as text."""
        told: dict[str, Any] = {"kind": self.kind, "cluster": self.cluster}
        if self.kind.chart:
            told["values"] = yaml.safe_load(self.content)
        else:
            told["content"] = self.content
        return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def export(kind: Kind, cluster_file: Path, *, nested: bool = False) -> Document:
    """Return the configuration of a hub that starts servers on a cluster.

    Args:
        kind: What the hub is installed with.
        cluster_file: The cluster file.
        nested: Whether a chart's values shall stand below its name, as a chart around it wants them.

    Raises:
        InvalidFile: If the cluster file or its batch template has a mistake, with every problem.
    """
    loaded, files = embedded(cluster_file)
    text = _environment().get_template(kind.template).render(_variables(kind, loaded.cluster, files))
    if nested and kind.chart:
        text = f"{kind.chart}:\n{textwrap.indent(text, '  ')}"
    return Document(kind, loaded.cluster.name, text)


def _variables(kind: Kind, cluster: Cluster, files: list[Embedded]) -> dict[str, Any]:
    chosen = settings(cluster)
    if kind is not Kind.F7T4JHUB:  # whose own values say how people log in
        chosen += login_settings()
    return {
        "kind": kind.value,
        "cluster": cluster,
        "files": files,
        "settings": chosen,
        "start_timeout": next(each.value for each in chosen if each.name == "start_timeout"),
    }


@cache
def _environment() -> Environment:
    environment = Environment(  # noqa: S701 - Python and YAML, not HTML
        loader=PackageLoader("launcher.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["comment"] = lambda text: textwrap.fill(
        text, 100, initial_indent="# ", subsequent_indent="# ", break_long_words=False
    )
    environment.filters["python"] = _python
    environment.filters["yaml"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


def _python(value: object) -> str:
    return repr(value) if isinstance(value, bool) else json.dumps(value)
