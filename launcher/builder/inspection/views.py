"""The views of an image that may be anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from launcher.builder.inspection.look import text
from launcher.view import Patch


class View(NamedTuple):
    """A view.

    Attributes:
        name: Its name.
        description: What the image says of it.
        patch: What it changes; None if that is not to be understood.
    """

    name: str
    description: str
    patch: Patch | None

    @property
    def changes(self) -> tuple[str, ...]:
        """What it changes, each as a shell would be told."""
        if self.patch is None:
            return ("what it changes can't be understood",)
        lists = [
            _told(name, operation.kind, ":".join(operation.values))
            for name, operations in self.patch.lists.items()
            for operation in operations
        ]
        scalars = [
            _told(name, "unset" if value is None else "set", value or "")
            for name, value in self.patch.scalars.items()
        ]
        return (*lists, *scalars)


def views(given: Any) -> Iterator[View]:
    """Yield the views in `views` of `meta/env.json`."""
    for name, each in given.items() if isinstance(given, dict) else ():
        view = each if isinstance(each, dict) else {}
        env = view.get("env")
        try:
            patch = Patch.read(env.get("values") if isinstance(env, dict) else None)
        except ValueError:
            patch = None
        yield View(text(name), text(view.get("description")), patch)


def _told(name: str, kind: str, value: str) -> str:
    if kind == "unset":
        return f"unset {text(name)}"
    fields = {"prepend": (value, f"${name}"), "append": (f"${name}", value), "set": (value,)}[kind]
    return text(f"{name}={':'.join(fields)}")
