"""A YAML file's text, in which the place of each key can be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from launcher.errors import InvalidFile
from launcher.yaml_file.part import Place
from launcher.yaml_file.problem import Problem, shown
from launcher.yaml_file.seen import Seen
from launcher.yaml_file.text import TAG, NotYamlError, compose, position, scalar

MAX_BYTES = 256 * 1024
"""A file is no longer; those in use have a tenth of it."""

_SCALARS = {f"{TAG}{name}" for name in ("bool", "float", "int", "null", "str", "timestamp")}
_Pairs = dict[str, tuple[yaml.Node, yaml.Node]]


class Source:
    """A YAML file as it is now.

    Args:
        path: The file.
        seen: Notes that it is read.

    Attributes:
        path: The file.
        values: What it says, as YAML's plain values.
        problems: What is wrong with its keys as such.

    Raises:
        InvalidFile: If it can't be read, or is not YAML.
    """

    def __init__(self, path: Path, seen: Seen | None = None) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._pairs_of: dict[int, _Pairs] = {}
        self._value_of: dict[int, Any] = {}
        try:
            self._text = _read(path, seen or Seen())
            self._root = compose(self._text)
            self.values = self._value(self._root) if self._root else None
        except NotYamlError as error:
            raise InvalidFile(
                [Problem(error.message, file=path, line=error.line, column=error.column)]
            ) from None

    def problem(self, place: Place, message: str, *, of_key: bool = False) -> Problem:
        """Return a problem at its place.

        Args:
            place: The key that it is about; of one that is not there, the nearest thing around it counts.
            message: What is wrong.
            of_key: Whether it is with the key, not with its value.
        """
        mark, names = self._root.start_mark if self._root else None, []
        for name, key, node in self._along(place):
            names.append(name)
            if node:
                # A plain value in the key's line is the place; all else is sought by its key.
                beside = isinstance(node, yaml.ScalarNode) and node.value and node.style not in ("|", ">")
                in_line = key is None or (beside and node.start_mark.line == key.start_mark.line)
                mark = (node if in_line and not (key and of_key) else key or node).start_mark
        return self._at(mark, message, ".".join(names))

    def has(self, place: Place) -> bool:
        """Tell whether there is something at a place."""
        return self._node(place) is not None

    def written(self, place: Place) -> str | None:
        """Return the plain value at a place as it is written there, or None for all but plain values."""
        node = self._node(place)
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def problem_inside(self, place: Place, line: int, column: int, message: str) -> Problem:
        """Return a problem in a text of several lines, at its line in the file where that can be told.

        Args:
            place: The key of the text.
            line: Line in the text, from 1; one after the last stands for the last.
            column: Column in that line, from 1.
            message: What is wrong.
        """
        problem = self.problem(place, message)
        node = self._node(place)
        if not isinstance(node, yaml.ScalarNode):
            return problem
        start = node.start_mark
        texts = node.value.rstrip("\n").split("\n")
        if line > len(texts):
            line, column = len(texts), 1
        if node.style is None and len(texts) == 1:
            return Problem(
                message, file=self.path, line=start.line + 1, column=start.column + column, key=problem.key
            )
        below = self._text.split("\n")[start.line + line : start.line + line + 1]
        if node.style != "|" or not below or not below[0].endswith(texts[line - 1]):
            return problem
        indented = len(below[0]) - len(texts[line - 1])
        return Problem(
            message, file=self.path, line=start.line + line + 1, column=indented + column, key=problem.key
        )

    def _value(self, node: yaml.Node) -> Any:
        if id(node) not in self._value_of:
            if isinstance(node, yaml.MappingNode):
                _expect(node, {f"{TAG}map"})
                value: Any = {name: self._value(each) for name, (_, each) in self._pairs(node).items()}
            elif isinstance(node, yaml.SequenceNode):
                _expect(node, {f"{TAG}seq"})
                value = [self._value(each) for each in node.value]
            else:
                _expect(node, _SCALARS)
                value = scalar(node) if isinstance(node, yaml.ScalarNode) else None
            self._value_of[id(node)] = value
        return self._value_of[id(node)]

    def _pairs(self, node: yaml.MappingNode) -> _Pairs:
        """Return what a mapping holds, by key, with what it merges from others."""
        if id(node) in self._pairs_of:
            return self._pairs_of[id(node)]
        own: _Pairs = {}
        merged: _Pairs = {}
        for key, value in node.value:
            if key.tag == f"{TAG}merge":
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(each, yaml.MappingNode):
                        raise NotYamlError.at(key.start_mark, "<<: only mappings can be merged")
                    merged = self._pairs(each) | merged
            elif not isinstance(key, yaml.ScalarNode):
                self.problems.append(self._at(key.start_mark, "a key is a name, not a list or a mapping"))
            elif key.tag != f"{TAG}str":
                self.problems.append(self._at(key.start_mark, "is not a key", shown(key.value) or "null"))
            elif key.value in own:
                first = own[key.value][0].start_mark.line + 1
                message = f"stands here a second time; the first is in line {first}"
                self.problems.append(self._at(key.start_mark, message, shown(key.value)))
            else:
                own[key.value] = key, value
        self._pairs_of[id(node)] = merged | own
        return self._pairs_of[id(node)]

    def _node(self, place: Place) -> yaml.Node | None:
        node = None
        for _, _, node in self._along(place):  # noqa: B007 - the last one is wanted
            pass
        return node

    def _along(self, place: Place) -> Iterator[tuple[str, yaml.Node | None, yaml.Node | None]]:
        """Yield name, key and value of what is on the way to a place, as far as it is there."""
        node = self._root
        for part in place:
            if isinstance(node, yaml.MappingNode):
                key, node = self._pairs(node).get(str(part), (None, None))
                yield shown(str(part)), key, node
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part] if part < len(node.value) else None
                yield str(part), None, node
            if node is None:
                return
            # Else a short form: `choices` or `networks` was left out, or the list around its one value.

    def _at(self, mark: yaml.Mark | None, message: str, key: str = "") -> Problem:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(message, file=self.path, line=line, column=column, key=key)


def _read(path: Path, seen: Seen) -> str:
    try:
        data = seen.read(path)
    except (OSError, ValueError) as error:
        raise NotYamlError(f"can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise NotYamlError(f"can't be read: is longer than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        message = f"not YAML: byte {data[error.start]:#04x} is not UTF-8"
        raise NotYamlError(message, *position(before)) from None


def _expect(node: yaml.Node, tags: set[str]) -> None:
    if node.tag not in tags:
        tag = shown(node.tag.replace(TAG, "!!"))
        raise NotYamlError.at(node.start_mark, f"the tag {tag} has no place in this file")
