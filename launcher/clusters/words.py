"""What pydantic finds wrong with a cluster file, in the words of those who write one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from launcher.clusters.model import Cluster
from launcher.clusters.node import NodeAddresses
from launcher.clusters.part import Part, Place
from launcher.clusters.problem import shown
from launcher.clusters.values import ALLOWED

Detail = dict[str, Any]
"""One error as pydantic describes it."""

_WORDS = (
    ("missing", "is needed"),
    ("int_", "must be a whole number"),
    ("bool_", "must be true or false"),
    ("tuple_type", "must be a list"),
    ("string_too_short", "must not be empty"),
    ("string_unicode", "must be text without halves of characters"),
    ("too_short", "must not be empty"),
    ("too_long", "must not have more than {max_length} items"),
    ("greater_than_equal", "must be {ge} or more"),
    ("less_than_equal", "must be {le} or less"),
    ("literal_error", "must be {expected}"),
    ("union_tag_not_found", "is needed: 'uenv', 'container' or 'host'"),
    ("union_tag_invalid", "must be 'uenv', 'container' or 'host'"),
    ("url_", "must be an http or https URL, such as https://api.example.org/hpc/firecrest/v2"),
    ("date", "must be a time with a zone, such as 2026-12-01T06:00:00+01:00"),
    ("timezone", "must be a time with a zone, such as 2026-12-01T06:00:00+01:00"),
)
"""How the kind of an error begins → what is said for it; for others pydantic's message serves."""

_TIME = re.compile(
    r"[0-9-]*[0-9]+(:[0-9]{2})+|[0-9.]+ ?(s|m|h|d|sec|min|hour|day|minute|second)[a-z]*", re.IGNORECASE
)


def place_of(detail: Detail) -> Place:
    """Return the keys on the way to an error; one of something that is not there counts as of its list."""
    place = _way(detail)[0]
    if detail["type"].startswith("union_tag"):
        return (*place, "kind")
    return place[:-1] if detail["type"] == "missing" and isinstance(place[-1], int) else place


def words_of(detail: Detail, written: str | None) -> str:
    """Return what is wrong, and what is allowed.

    Args:
        detail: The error.
        written: The plain value as it stands in the file, or None if it is no plain value.
    """
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        close = close_key(detail)
        hint = f"did you mean {close}?" if close else f"the keys here are {_keys_around(detail)}"
        return f"is not a key that goes here; {hint}"
    if given is None and kind != "missing":
        return f"has no value: {'it is needed' if _needed(detail) else 'give it one, or leave the key out'}"
    words = _words(detail)
    if kind == "union_tag_invalid":
        given = detail["ctx"]["tag"]
    if kind == "missing" or isinstance(given, dict | list | tuple):
        return words
    value = f"'{shown(given)}'" if isinstance(given, str) else shown(written or str(given))
    return f"{words} (it is {value})"


def close_key(detail: Detail) -> str | None:
    """Return the key that was probably meant by one that is not known."""
    close = get_close_matches(str(detail["loc"][-1])[:60], _keys_around(detail).split(", "), 1)
    return close[0] if close else None


def _words(detail: Detail) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return f"must be {ALLOWED[context['pattern']]}"
    if kind == "string_too_short" and given:
        return "must be longer"
    if kind == "string_type":
        return f"must be text{'' if isinstance(given, dict | list) else ': put it in quotes'}"
    if kind == "missing" and isinstance(detail["loc"][-1], int):
        return f"needs {detail['loc'][-1] + 1} items"
    if kind == "model_attributes_type":
        return "must be a mapping, with id and kind"
    if kind == "model_type":
        parts = _way(detail)[1]
        short = "a list of networks, or " if NodeAddresses in parts else ""
        return f"must be {short}a mapping of {_keys(parts)}"
    if kind.startswith("int_") and isinstance(given, str) and _TIME.fullmatch(given):
        unit = "seconds" if {"claim_timeout", "end_warning"} & set(detail["loc"]) else "minutes"
        return f"must be a whole number of {unit}"
    for start, words in _WORDS:
        if kind.startswith(start):
            return words.format_map(context)
    return shown(str(detail["msg"]).removeprefix("Value error, "), 300)


def _way(detail: Detail) -> tuple[Place, list[type[Part]]]:
    """Follow an error's location, which also names the members of unions, through the model.

    Returns:
        The keys, and the parts of the model that may stand there.
    """
    place: list[str | int] = []
    parts: list[type[Part]] = [Cluster]
    for step in detail["loc"]:
        if isinstance(step, int):
            place.append(step)
            continue
        tagged = [part for part in parts if _tag(part) == step]
        if tagged and len(parts) > 1:
            parts = tagged
            continue
        fields = [part.model_fields[step] for part in parts if step in part.model_fields]
        if fields:
            place.append(step)
            parts = [part for field in fields for part in _parts(field.annotation)]
    if detail["type"] == "extra_forbidden":
        place.append(detail["loc"][-1])
    return tuple(place), parts


def _tag(part: type[Part]) -> str | None:
    field = part.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field else None


def _parts(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _keys(parts: list[type[Part]]) -> str:
    return ", ".join(dict.fromkeys(name for part in parts for name in part.model_fields))


def _keys_around(detail: Detail) -> str:
    """Return the keys that are known where an unknown one stands."""
    return _keys(_way({**detail, "loc": detail["loc"][:-1], "type": ""})[1])


def _needed(detail: Detail) -> bool:
    *around, last = detail["loc"]
    parts = _way({**detail, "loc": tuple(around), "type": ""})[1]
    return any(part.model_fields[last].is_required() for part in parts if last in part.model_fields)
