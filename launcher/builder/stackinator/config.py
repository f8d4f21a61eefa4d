"""The model of a Stackinator recipe's `config.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, create_model

from launcher.builder.stackinator.versions import FORMATS, GATE, spack_version
from launcher.yaml_file import Detail, Part, Place, Words

_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
_PATH = r"^(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$"
ALLOWED = {
    _NAME: "letters, digits, '_', '.' and '-'",
    _PATH: "an absolute path of letters, digits, '_', '.' and '-'",
}
"""Pattern → what it allows, in words."""

Name = Annotated[str, StringConstraints(pattern=_NAME)]
"""Name of an image or a view."""

Path = Annotated[str, StringConstraints(pattern=_PATH)]
"""Where an image is mounted."""

Text = Annotated[str, StringConstraints(min_length=1)]
"""Text that says something."""

Switch = Annotated[bool, Field(strict=True)]
"""`true` or `false`."""


class Repository(Part):
    """A repository and what is taken from it."""

    repo: Text
    """Its URL."""
    commit: Text | None = None
    """A branch, a tag or a commit; without one its default branch."""


class Packages(Repository):
    """A repository of Spack packages, as version 3 names it."""

    path: Text | None = None
    """Where the packages lie in it."""


class Spack2(Repository):
    """The Spack of a recipe of version 2."""

    packages: Repository
    """Where its packages come from."""


class Mirror(Part):
    """A build cache, which version 2 still lets a recipe name."""

    enable: Switch = True
    """Whether it is used."""
    key: Text | None = None
    """The key that packages are signed with."""


class ConfigFile(Part):
    """What `config.yaml` says, whatever its version."""

    name: Name
    """Name that the image gives itself."""
    store: Path = "/user-environment"
    """Where it is mounted."""
    description: str | None = None
    """One line for people."""
    default_view: Name | None = Field(None, alias="default-view")
    """The view that is loaded where none is named."""
    modules: Switch = True
    """Whether environment modules are made."""
    version: Literal[2, 3]
    """The version of the recipe's format."""
    spack: Any
    """The Spack that builds it."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that the Spack is one that Stackinator can use."""
        oldest = FORMATS[self.version].spack
        named = spack_version(self.spack.commit)
        if named and named < oldest:
            yield ("spack", "commit"), f"is too old: {GATE}"


class ConfigFile2(ConfigFile):
    """A `config.yaml` of version 2."""

    spack: Spack2
    """The Spack that builds it."""
    mirror: Mirror | None = None
    """A build cache."""


class ConfigFile3(ConfigFile):
    """A `config.yaml` of version 3."""

    cleanup: Literal["none", "runtime", "build"] = "none"
    """What Spack takes away again before the image is made."""


def named(part: Any, names: Any) -> Any:
    """Return the model of a mapping in which each of some names stands for the same kind of part.

    So each mistake is told at its own name; a plain `dict` would tell it at the mapping.
    """
    keys = [str(name) for name in names] if isinstance(names, dict) else []
    fields: Any = {f"name_{at}": (part, Field(alias=key)) for at, key in enumerate(keys)}
    return create_model("Named", __base__=Part, **fields)


def config_model(values: Any) -> type[ConfigFile]:
    """Return the model that fits the version which a `config.yaml` states, or that of the newest."""
    version = values.get("version") if isinstance(values, dict) else None
    if version == 2:
        return ConfigFile2
    spack = values.get("spack") if isinstance(values, dict) else None
    packages = spack.get("packages") if isinstance(spack, dict) else None
    several = isinstance(packages, dict) and all(isinstance(each, dict) for each in packages.values())
    model = named(Packages, packages) if several and packages else Packages
    spack3 = create_model("Spack3", __base__=Repository, packages=(model, ...))
    return create_model("ConfigFile3", __base__=ConfigFile3, spack=(spack3, ...))


def config_words(model: type[ConfigFile]) -> Words:
    """Return the words for what is wrong with a `config.yaml`."""
    return Words(model, ALLOWED, _gate)


def _gate(detail: Detail, parts: list[type[Part]]) -> str | None:  # noqa: ARG001 - as `Words` calls it
    if detail["loc"] != ("version",):
        return None
    return f"must be {' or '.join(map(str, FORMATS))}: {GATE}"
