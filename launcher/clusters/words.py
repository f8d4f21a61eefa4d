"""What is wrong with a cluster file, in words that only a cluster file needs."""

from __future__ import annotations

import re

from launcher.clusters.model import Cluster
from launcher.clusters.node import NodeAddresses
from launcher.clusters.values import ALLOWED
from launcher.yaml_file import Detail, Part, Words

_TIME = re.compile(
    r"[0-9-]*[0-9]+(:[0-9]{2})+|[0-9.]+ ?(s|m|h|d|sec|min|hour|day|minute|second)[a-z]*", re.IGNORECASE
)
_KINDS = "'uenv', 'container' or 'host'"


def _special(detail: Detail, parts: list[type[Part]]) -> str | None:
    kind, given = detail["type"], detail["input"]
    if kind == "union_tag_not_found":
        return f"is needed: {_KINDS}"
    if kind == "union_tag_invalid":
        return f"must be {_KINDS}"
    if kind == "model_attributes_type":
        return "must be a mapping, with id and kind"
    if kind == "model_type" and NodeAddresses in parts:
        keys = ", ".join(name for part in parts for name in part.model_fields)
        return f"must be a list of networks, or a mapping of {keys}"
    if kind.startswith("int_") and isinstance(given, str) and _TIME.fullmatch(given):
        unit = "seconds" if {"claim_timeout", "end_warning"} & set(detail["loc"]) else "minutes"
        return f"must be a whole number of {unit}"
    return None


WORDS = Words(Cluster, ALLOWED, _special)
"""The words for cluster files."""
