"""The microarchitectures that a recipe's images are made for by Stackinator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from launcher.builder.stackinator.config import ALLOWED, named
from launcher.errors import UsageError
from launcher.yaml_file import Part, Source, Words, checked

DIRECTORY = "recipe"
"""Where the Stackinator recipes lie in a recipe: `v2` and `v3`, with what both have."""

FILE = "uarchs.yaml"
"""Which microarchitectures they are for."""


class Uarch(NamedTuple):
    """A microarchitecture.

    Attributes:
        name: Its name in labels: `gh200`.
        arch: Its processors, as `uname -m` names them.
        gpu: Whether its machines have GPUs.
    """

    name: str
    arch: str
    gpu: bool


class _Part(Part):
    arch: Literal["x86_64", "aarch64"]
    """Its processors, as `uname -m` names them."""
    gpu: Annotated[bool, Field(strict=True)] = False
    """Whether its machines have GPUs."""


def uarchs(recipe: Path) -> dict[str, Uarch]:
    """Return the microarchitectures of a recipe by name.

    Args:
        recipe: The recipe's directory.

    Raises:
        InvalidFile: With every mistake of the file.
    """
    source = Source(recipe / DIRECTORY / FILE)
    model: Any = named(_Part, source.values)
    parts = checked(source, model, Words(model, ALLOWED))
    return {
        str(field.alias): Uarch(str(field.alias), part.arch, part.gpu)
        for name, field in model.model_fields.items()
        if (part := getattr(parts, name))
    }


def uarch_named(recipe: Path, name: str) -> Uarch:
    """Return a microarchitecture.

    Raises:
        InvalidFile: If the recipe's file of them has mistakes.
        UsageError: If the recipe has none of that name, or no Stackinator recipe at all.
    """
    if not (recipe / DIRECTORY / FILE).is_file():
        raise UsageError(
            f"{recipe} holds no recipe for Stackinator.",
            why=f"It has no {DIRECTORY}/{FILE}.",
            todo="Build it with --backend wheels.",
        )
    known = uarchs(recipe)
    if name not in known:
        raise UsageError(
            f"The recipe knows no microarchitecture {name!r}.", why=f"It knows {', '.join(known)}."
        )
    return known[name]
