"""Cluster files: YAML, read and checked, with all mistakes of a file reported at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from launcher.clusters.model import Cluster
from launcher.errors import InvalidFile


def load_cluster(path: Path) -> Cluster:
    """Read a cluster file.

    Args:
        path: The file; its name without the ending is the cluster's name.

    Raises:
        InvalidFile: With every problem as `file:line: key: what is wrong`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile([f"{path}: can't be read: {error}"]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidFile([f"{path}:{line}: not YAML: {error.problem or error}"]) from None
    except (yaml.YAMLError, ValueError) as error:  # a control character, a date that is none
        raise InvalidFile([f"{path}: not YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(values, dict):
        raise InvalidFile([f"{path}:1: a cluster file is a mapping of keys to values"])
    problems = [f"{path}:{line}: {key}: stands here a second time" for line, key in _repeated(root)]
    if values.get("name") != path.stem:
        line = _line(root, ("name",))
        problems.append(f"{path}:{line}: name: {values.get('name')!r} is not the file's name, {path.stem!r}")
    try:
        cluster = Cluster.model_validate(values)
    except ValidationError as error:
        details: list[Any] = error.errors(include_url=False)
        problems += [_problem(path, root, each) for each in details if not _follows(each, details)]
    if problems:
        raise InvalidFile(problems)
    return cluster


def _repeated(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Yield line and name of each key that its mapping already has: YAML would take the last one."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, key.value
            seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)


def _problem(path: Path, root: yaml.Node | None, detail: dict[str, Any]) -> str:
    place = detail["loc"]
    message = detail["msg"].removeprefix("Value error, ")
    if not place and ": " in message:  # a relation between keys, whose message names the first
        first, message = message.split(": ", 1)
        place = (first,)
    key = ".".join(str(part) for part in place)
    given = "" if isinstance(detail["input"], dict | list) else f" (it is {detail['input']!r})"
    return f"{path}:{_line(root, place)}: {key}{': ' if key else ''}{message}{given}"


def _follows(detail: dict[str, Any], details: list[Any]) -> bool:
    """Tell whether a list is said to be too short only because its items are wrong."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in details
    )


def _line(node: yaml.Node | None, place: tuple[int | str, ...]) -> int:
    """Return the line of a key, or that of the nearest thing around it."""
    line = node.start_mark.line + 1 if node else 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if not found:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
