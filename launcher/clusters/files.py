"""Cluster files: YAML, read and checked, with all mistakes of a file reported at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launcher.clusters.model import Cluster
from launcher.clusters.problem import Problem
from launcher.clusters.source import Source
from launcher.clusters.words import Detail, close_key, place_of, words_of
from launcher.errors import InvalidFile


def load_cluster(path: Path) -> Cluster:
    """Read a cluster file.

    Args:
        path: The file; its name without the ending is the cluster's name.

    Raises:
        InvalidFile: With every problem as `file:line:column: key: what is wrong, what is allowed`.
    """
    return parse_cluster(Source(path))


def parse_cluster(source: Source) -> Cluster:
    """Check what a cluster file says.

    Raises:
        InvalidFile: With every problem, in the order of the file.
    """
    if not isinstance(source.values, dict):
        raise InvalidFile([source.problem((), "a cluster file is a mapping of keys to values")])
    problems = list(source.problems)
    name = source.values.get("name")
    if isinstance(name, str) and name != source.path.stem:
        problems.append(source.problem(("name",), f"must be the file's name, {source.path.stem}"))
    try:
        cluster = Cluster.model_validate(source.values)
    except ValidationError as error:
        problems += _problems(source, error.errors(include_url=False))
    if problems:
        # What others merge or repeat by an alias is wrong once.
        once = {
            (each.line, each.column, each.key.rpartition(".")[2], each.message): each
            for each in reversed(problems)
        }
        raise InvalidFile([once[place] for place in sorted(once)])
    return cluster


def _problems(source: Source, details: list[Any]) -> Iterator[Problem]:
    meant = {(*place_of(each)[:-1], close_key(each)) for each in details if each["type"] == "extra_forbidden"}
    for detail in details:
        place = place_of(detail)
        if detail["type"] == "relations":
            for inner, text in detail["ctx"]["problems"]:
                unset = inner and not place and not source.has(inner[:1])
                yield source.problem((*place, *inner), f"{text}; this is the default" if unset else text)
        elif not (_follows(detail, details) or (detail["type"] == "missing" and place in meant)):
            unknown = detail["type"] == "extra_forbidden"
            yield source.problem(place, words_of(detail, source.written(place)), of_key=unknown)


def _follows(detail: Detail, details: list[Detail]) -> bool:
    """Tell whether an error says no more than others do."""
    place = detail["loc"]
    # A list counts its good items only; a name that can stand for a list is one way to write it.
    if detail["type"] == "too_short":
        return any(len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in details)
    return detail["type"] == "literal_error" and str(place[-1]).startswith("literal[")
