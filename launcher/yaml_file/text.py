"""YAML as nodes that know their place, read with care: no text can hurt, and none is taken for a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from launcher.yaml_file.problem import shown

MAX_VALUES = 20_000
"""A file has no more values, each alias counted as all that it stands for."""

MAX_DEPTH = 30
"""Lists and mappings are nested no deeper."""

TAG = "tag:yaml.org,2002:"
"""How the tags of YAML's own kinds begin."""

_IN_WORDS = {
    "mapping values are not allowed here": "a second ': ' in one line; text that has one goes in quotes",
    "found character '\\t'": "a tab; indent with blanks",
    "found character '@'": "text that begins with '@' goes in quotes",
    "found character '`'": "text that begins with '`' goes in quotes",
    "found character '%'": "text that begins with '%' goes in quotes",
    "expected <block end>, but found '<scalar>'": "text goes in quotes as a whole, or without any; "
    "text that begins with '{' or '[' goes in quotes",
    "expected <block end>": "this does not fit what is above; look at the indentation",
    "could not find expected ':'": "a key without ': ' after it",
    "expected alphabetic or numeric character": "text that begins with '*' or '&' goes in quotes",
    "expected ',' or ']', but got '{'": "text that holds '{' goes in quotes here",
    "expected ',' or ']'": "a '[' that is not closed, or a ',' that is missing",
    "expected ',' or '}'": "a '{' that is not closed, or a ',' that is missing",
    "found unexpected end of stream": "a quote that is not closed",
    "but found another document": "a second document begins here; a file is one",
}
"""How the parser's message begins → what an admin reads."""


class NotYamlError(Exception):
    """A text can't be read.

    Args:
        message: Why.
        line: Where, from 1.
        column: Where, from 1.
    """

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column

    @classmethod
    def at(cls, mark: yaml.Mark | None, message: str) -> NotYamlError:
        """Return the error for a mark."""
        return cls(message, mark.line + 1, mark.column + 1) if mark else cls(message)


class _Loader(yaml.SafeLoader):
    """Reads `24:00` as the text that it is, not as the number 1440 in the base of sixty."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in (f"{TAG}int", f"{TAG}float", f"{TAG}value")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(r"[-+]?(0|[1-9][0-9]{0,17})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{TAG}float", re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"), list("-+.0123456789")
)


def compose(text: str) -> yaml.Node | None:
    """Return the node of a text, or None if there is nothing in it.

    Raises:
        NotYamlError: If it is not YAML, contains itself, or stands for more than anybody needs.
    """
    loader = None
    try:
        loader = _Loader(text)
        root: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYamlError.at(mark, f"not YAML: {_in_words(error)}") from None
    except yaml.reader.ReaderError as error:
        message = f"not YAML: character {error.character:#06x} is not allowed"
        raise NotYamlError(message, *position(text[: error.position])) from None
    except RecursionError:
        raise _too_deep(loader.get_mark() if loader else None) from None
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, a version of 5000 digits
        mark = loader.get_mark() if loader else None
        raise NotYamlError.at(mark, f"not YAML: {shown(str(error), 120)}") from None
    if root:
        _measure(root, {}, 0)
    return root


def scalar(node: yaml.ScalarNode) -> Any:
    """Return a plain value; what only looks like a date is text."""
    try:
        value = SafeConstructor().construct_object(node)
    except (ValueError, LookupError, AttributeError, OverflowError, yaml.YAMLError):
        return node.value
    return value if isinstance(value, bool | int | float | str | date | None) else node.value


def position(before: str) -> tuple[int, int]:
    """Return line and column of what comes after a text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _in_words(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context)
    if undefined := re.match("found undefined alias '(.*)'", problem):
        return f"*{undefined[1]} stands for nothing: there is no &{undefined[1]} above"
    words = next((text for start, text in _IN_WORDS.items() if problem.startswith(start)), problem)
    return shown(words, 120)


def _measure(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """Count values, each alias as all that it stands for: few lines can stand for millions."""
    if depth > MAX_DEPTH:
        raise _too_deep(node.start_mark)
    size = sizes.get(id(node))
    if size is None:
        sizes[id(node)] = 0
        size = 1 + sum(_measure(each, sizes, depth + 1) for each in _inner(node))
        sizes[id(node)] = size
    if size == 0:
        raise NotYamlError.at(node.start_mark, "contains itself, by an alias")
    if size > MAX_VALUES:
        raise NotYamlError.at(node.start_mark, f"stands for more than {MAX_VALUES} values, with its aliases")
    return size


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _too_deep(mark: yaml.Mark | None) -> NotYamlError:
    return NotYamlError.at(mark, f"is nested deeper than {MAX_DEPTH} levels")
