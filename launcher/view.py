"""Views of uenv images: how one changes the environment of whoever loads it.

The form and its meaning are those of the uenv command line, https://github.com/eth-cscs/uenv
(`src/util/envvars.cpp`): a view holds *lists*, such as PATH, with operations in order, and *scalars*.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPANSION = re.compile(r"\$\{@(.*?)(@\}|\Z)", re.DOTALL)
_OPERATIONS = ("prepend", "append", "set", "unset")


class Operation(NamedTuple):
    """One change of a list.

    Attributes:
        kind: `prepend`, `append`, `set` or `unset`.
        values: The fields that are added, or that the list is set to.
    """

    kind: str
    values: tuple[str, ...]


class Patch(NamedTuple):
    """What a view, or several one after the other, change.

    Attributes:
        lists: Variable → operations, in order.
        scalars: Variable → value, or None to unset it.
    """

    lists: dict[str, tuple[Operation, ...]]
    scalars: dict[str, str | None]

    @classmethod
    def read(cls, values: Any) -> Patch:
        """Read `env.values` of a view in an image's `meta/env.json`.

        As in uenv, names that no shell can set are left out, and a scalar wins over a list of its name.

        Raises:
            ValueError: If it is not of that form; the text says what is wrong.
        """
        if not isinstance(values, dict):
            raise ValueError("env.values: not an object")  # noqa: TRY004 - a fault of the file
        scalars = _mapping(values, "scalar")
        for name, value in scalars.items():
            if value is not None and not _is_value(value):
                raise ValueError(f"{name}: neither null nor a text that a variable can hold")
        lists: dict[str, tuple[Operation, ...]] = {}
        for name, given in _mapping(values, "list").items():
            if not isinstance(given, list):
                raise ValueError(f"{name}: not a list of operations")  # noqa: TRY004 - a fault of the file
            operations = tuple(_operation(name, each) for each in given)
            if operations and name not in scalars and _NAME.fullmatch(name):
                lists[name] = operations
        return cls(lists, {name: value for name, value in scalars.items() if _NAME.fullmatch(name)})

    @classmethod
    def merged(cls, patches: Iterable[Patch]) -> Patch:
        """Return several as one: the last scalar wins, operations follow each other."""
        lists: dict[str, tuple[Operation, ...]] = {}
        scalars: dict[str, str | None] = {}
        for patch in patches:
            scalars |= patch.scalars
            for name, operations in patch.lists.items():
                lists[name] = (*lists.get(name, ()), *operations)
        return cls(lists, scalars)

    def applied(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with this loaded, as uenv loads it."""
        changed = dict(environment)
        for name, value in self.scalars.items():
            _put(changed, name, None if value is None else _expanded(value, environment))
        scalars_set = dict(changed)
        for name, operations in self.lists.items():
            fields = _folded(operations, changed.get(name, "").split(":"))
            _put(changed, name, None if fields is None else _expanded(_joined(fields), scalars_set))
        return changed

    def undone(self, environment: Mapping[str, str], mount: str) -> dict[str, str]:
        """Return an environment without what this adds to it; what it replaced can't be known any more.

        Args:
            environment: Variables.
            mount: Where the view's image is mounted. Fields of lists that are elsewhere stay, such as
                `/usr/bin`: they may have been there before.
        """
        changed = dict(environment)
        for name, value in self.scalars.items():
            if value is not None and changed.get(name) == _expanded(value, environment):
                del changed[name]
        for name in self.lists:
            if name in changed:
                added = {field for field in self._added(name, environment) if is_below(field, mount)}
                left = [field for field in changed[name].split(":") if field and field not in added]
                _put(changed, name, ":".join(left) or None)
        return changed

    def is_loaded(self, environment: Mapping[str, str]) -> bool:
        """Tell whether an environment has all that this adds, and nothing that this unsets."""
        return all(
            name not in environment
            if _folded(operations, []) is None
            else set(self._added(name, environment)) <= set(environment.get(name, "").split(":"))
            for name, operations in self.lists.items()
        ) and all(_holds(name, value, environment) for name, value in self.scalars.items())

    def _added(self, name: str, environment: Mapping[str, str]) -> list[str]:
        """Return the fields of a list that are there once this is loaded, whatever was there before."""
        before = {**environment, name: ""}
        fields = _folded(self.lists[name], []) or []
        return [each for each in _expanded(":".join(fields), before).split(":") if each]


def is_below(path: str, directory: str) -> bool:
    """Tell whether a path is a directory, or below it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def _folded(operations: Iterable[Operation], fields: list[str]) -> list[str] | None:
    """Return what operations make of a list; None if it ends up unset."""
    folded: list[str] | None = fields
    for kind, values in operations:
        if kind == "unset":
            folded = None
        elif kind == "set":
            folded = list(values)
        elif kind == "prepend":
            folded = [*values, *(folded or [])]
        else:
            folded = [*(folded or []), *values]
    return folded


def _holds(name: str, value: str | None, environment: Mapping[str, str]) -> bool:
    """Tell whether a scalar has a value, whatever it had before if the value goes on from that."""
    found = environment.get(name)
    if value is None or found is None:
        return found is value
    before, itself, after = value.partition(f"${{@{name}@}}")
    if not itself:
        return found == _expanded(value, environment)
    return found.startswith(_expanded(before, environment)) and found.endswith(_expanded(after, environment))


def _is_value(value: Any) -> bool:
    """Tell whether a program can be started with this in its environment."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _mapping(values: dict[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{key}: not an object")  # noqa: TRY004 - a fault of the file
    return found


def _operation(name: str, given: Any) -> Operation:
    kind = given.get("op") if isinstance(given, dict) else None
    if kind not in _OPERATIONS:
        raise ValueError(f"{name}: an operation is one of {', '.join(_OPERATIONS)}")
    values = given.get("value", [])
    if not isinstance(values, list) or not all(map(_is_value, values)):
        raise ValueError(f"{name}: the value of {kind} is not a list of texts that a variable can hold")
    return Operation(kind, () if kind == "unset" else tuple(values))


def _expanded(value: str, environment: Mapping[str, str]) -> str:
    """Replace each `${@NAME@}` by that variable, or by nothing where there is none or it never ends."""
    if "${@" not in value:
        return value
    return _EXPANSION.sub(
        lambda found: environment.get(found[1], "") if found[2] and _NAME.fullmatch(found[1]) else "", value
    )


def _joined(fields: Iterable[str]) -> str:
    """Join the fields of a list, without empty ones and those that came before."""
    return ":".join(field for field in dict.fromkeys(fields) if field)


def _put(environment: dict[str, str], name: str, value: str | None) -> None:
    if value is None:
        environment.pop(name, None)
    else:
        environment[name] = value
