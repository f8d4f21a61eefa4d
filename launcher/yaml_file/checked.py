"""A file's text becomes a checked model, with all mistakes reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from launcher.errors import InvalidFile
from launcher.yaml_file.part import Part
from launcher.yaml_file.problem import Problem
from launcher.yaml_file.source import Source
from launcher.yaml_file.words import Detail, Words

_Model = TypeVar("_Model", bound=Part)


def checked(source: Source, model: type[_Model], words: Words, problems: Iterable[Problem] = ()) -> _Model:
    """Check what a file says.

    Args:
        source: The file.
        model: What it must be.
        words: The words for what is wrong with it.
        problems: What is known to be wrong with it already.

    Raises:
        InvalidFile: With every problem, in the order of the file.
    """
    problems = [*source.problems, *problems]
    try:
        value = model.model_validate(source.values)
    except ValidationError as error:
        problems += _problems(source, words, error.errors(include_url=False))
    if problems:
        # What others merge or repeat by an alias is wrong once.
        once = {
            (each.line, each.column, each.key.rpartition(".")[2], each.message): each
            for each in reversed(problems)
        }
        raise InvalidFile([once[place] for place in sorted(once)])
    return value


def _problems(source: Source, words: Words, details: list[Any]) -> Iterator[Problem]:
    meant = {
        (*words.place_of(each)[:-1], words.close_key(each))
        for each in details
        if each["type"] == "extra_forbidden"
    }
    for detail in details:
        place = words.place_of(detail)
        if detail["type"] == "relations":
            for inner, text in detail["ctx"]["problems"]:
                unset = inner and not place and not source.has(inner[:1])
                yield source.problem((*place, *inner), f"{text}; this is the default" if unset else text)
        elif not (_follows(detail, details) or (detail["type"] == "missing" and place in meant)):
            unknown = detail["type"] == "extra_forbidden"
            yield source.problem(place, words.words_of(detail, source.written(place)), of_key=unknown)


def _follows(detail: Detail, details: list[Detail]) -> bool:
    """Tell whether an error says no more than others do."""
    place = detail["loc"]
    # A list counts its good items only; a name that can stand for a list is one way to write it.
    if detail["type"] == "too_short":
        return any(len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in details)
    return detail["type"] == "literal_error" and str(place[-1]).startswith("literal[")
