"""What pydantic finds wrong with a file, in the words of those who write one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args, get_origin

from launcher.yaml_file.part import Part, Place
from launcher.yaml_file.problem import shown

Detail = dict[str, Any]
"""One error as pydantic describes it."""

_WORDS = (
    ("missing", "is needed"),
    ("int_", "must be a whole number"),
    ("bool_", "must be true or false"),
    ("tuple_type", "must be a list"),
    ("dict_type", "must be a mapping"),
    ("string_too_short", "must not be empty"),
    ("string_unicode", "must be text without halves of characters"),
    ("too_short", "must not be empty"),
    ("too_long", "must not have more than {max_length} items"),
    ("greater_than_equal", "must be {ge} or more"),
    ("less_than_equal", "must be {le} or less"),
    ("literal_error", "must be {expected}"),
    ("url_", "must be an http or https URL, such as https://api.example.org/hpc/firecrest/v2"),
    ("date", "must be a time with a zone, such as 2026-12-01T06:00:00+01:00"),
    ("timezone", "must be a time with a zone, such as 2026-12-01T06:00:00+01:00"),
)
"""How the kind of an error begins → what is said for it; for others pydantic's message serves."""


class Words(NamedTuple):
    """The words for what is wrong with files of one kind.

    Attributes:
        root: The model of the whole file.
        allowed: Pattern of a text → what it allows, in words.
        special: Returns what is said for an error where one of these parts may stand, or None for the usual.
    """

    root: type[Part]
    allowed: Mapping[str, str]
    special: Callable[[Detail, list[type[Part]]], str | None] = lambda detail, parts: None  # noqa: ARG005

    def place_of(self, detail: Detail) -> Place:
        """Return the keys on the way to an error; something that is not there counts as its list."""
        place = self._way(detail)[0]
        if detail["type"].startswith("union_tag"):
            return (*place, "kind")
        return place[:-1] if detail["type"] == "missing" and isinstance(place[-1], int) else place

    def words_of(self, detail: Detail, written: str | None) -> str:
        """Return what is wrong, and what is allowed.

        Args:
            detail: The error.
            written: The plain value as it stands in the file, or None if it is no plain value.
        """
        kind, given = detail["type"], detail["input"]
        if kind == "extra_forbidden":
            close = self.close_key(detail)
            hint = f"did you mean {close}?" if close else f"the keys here are {self._keys_around(detail)}"
            return f"is not a key that goes here; {hint}"
        if given is None and kind != "missing" and detail["loc"]:
            needed = self._needed(detail)
            return f"has no value: {'it is needed' if needed else 'give it one, or leave the key out'}"
        words = self.special(detail, self._way(detail)[1]) or self._words(detail)
        if kind == "union_tag_invalid":
            given = detail["ctx"]["tag"]
        if kind == "missing" or given is None or isinstance(given, dict | list | tuple):
            return words
        value = f"'{shown(given)}'" if isinstance(given, str) else shown(written or str(given))
        return f"{words} (it is {value})"

    def close_key(self, detail: Detail) -> str | None:
        """Return the key that was probably meant by one that is not known."""
        close = get_close_matches(str(detail["loc"][-1])[:60], self._keys_around(detail).split(", "), 1)
        return close[0] if close else None

    def _words(self, detail: Detail) -> str:
        kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
        if kind == "string_pattern_mismatch":
            return f"must be {self.allowed[context['pattern']]}"
        if kind == "string_too_short" and given:
            return "must be longer"
        if kind == "string_type":
            return f"must be text{'' if isinstance(given, dict | list) else ': put it in quotes'}"
        if kind == "missing" and isinstance(detail["loc"][-1], int):
            return f"needs {detail['loc'][-1] + 1} items"
        if kind == "model_type":
            return f"must be a mapping of {_keys(self._way(detail)[1])}"
        for start, words in _WORDS:
            if kind.startswith(start):
                return words.format_map(context)
        return shown(str(detail["msg"]).removeprefix("Value error, "), 300)

    def _way(self, detail: Detail) -> tuple[Place, list[type[Part]]]:
        """Follow an error's location, which also names the members of unions, through the model.

        Returns:
            The keys, and the parts of the model that may stand there.
        """
        place: list[str | int] = []
        parts: list[type[Part]] = [self.root]
        named = False
        for step in detail["loc"]:
            if isinstance(step, int):
                place.append(step)
                continue
            if named:
                # The key of a mapping whose keys the file chooses.
                place.append(step)
                named = False
                continue
            tagged = [part for part in parts if _tag(part) == step]
            if tagged and len(parts) > 1:
                parts = tagged
                continue
            fields = [part.field(step) for part in parts if part.field(step)]
            if fields:
                place.append(step)
                named = any(_is_mapping(field.annotation) for field in fields if field)
                parts = [part for field in fields if field for part in _parts(field.annotation)]
        if detail["type"] == "extra_forbidden":
            place.append(detail["loc"][-1])
        return tuple(place), parts

    def _keys_around(self, detail: Detail) -> str:
        """Return the keys that are known where an unknown one stands."""
        return _keys(self._way({**detail, "loc": detail["loc"][:-1], "type": ""})[1])

    def _needed(self, detail: Detail) -> bool:
        *around, last = detail["loc"]
        parts = self._way({**detail, "loc": tuple(around), "type": ""})[1]
        fields = [part.field(str(last)) for part in parts]
        return any(field.is_required() for field in fields if field)


def _tag(part: type[Part]) -> str | None:
    field = part.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field else None


def _parts(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is dict


def _keys(parts: list[type[Part]]) -> str:
    return ", ".join(
        dict.fromkeys(field.alias or name for part in parts for name, field in part.model_fields.items())
    )
