"""The models of a Stackinator recipe's `compilers.yaml` and `environments.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, create_model

from launcher.builder.stackinator.config import ALLOWED, Switch, Text, named
from launcher.yaml_file import Detail, Part, Place, Words

LISTS = frozenset(
    {
        "ACLOCAL_PATH",
        "CMAKE_PREFIX_PATH",
        "CPATH",
        "LD_LIBRARY_PATH",
        "LIBRARY_PATH",
        "MANPATH",
        "MODULEPATH",
        "PATH",
        "PKG_CONFIG_PATH",
        "PYTHONPATH",
    }
)
"""The variables that Stackinator takes for lists of paths."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Compiler(Part):
    """One compiler."""

    version: Text
    """Its version, as text; `system` stands, for gcc and from version 3 on, for the machine's own."""


class CompilersFile(Part):
    """What `compilers.yaml` says."""

    gcc: Compiler
    """GCC."""
    llvm: Compiler | None = None
    """LLVM."""
    llvm_amdgpu: Compiler | None = Field(None, alias="llvm-amdgpu")
    """AMD's LLVM."""
    nvhpc: Compiler | None = None
    """NVIDIA's compilers."""


class CompilersFile2(CompilersFile):
    """A `compilers.yaml` of version 2."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that GCC has a version."""
        if self.gcc.version == "system":
            yield ("gcc", "version"), "must be a version: only recipes of version 3 can use the machine's own"


class CompilersFile3(CompilersFile):
    """A `compilers.yaml` of version 3."""

    intel_oneapi: Compiler | None = Field(None, alias="intel-oneapi")
    """Intel's compilers."""
    intel_oneapi_compilers: Compiler | None = Field(None, alias="intel-oneapi-compilers")
    """Intel's compilers, by the name of their package."""
    intel_classic: Compiler | None = Field(None, alias="intel-classic")
    """Intel's older compilers."""


class Variables(Part):
    """What a view does to variables: lists of mappings with one name each."""

    set: tuple[dict[str, str | None], ...] = ()
    """Name → value; null takes it away."""
    prepend_path: tuple[dict[str, str], ...] = ()
    """Name of a list → what comes before its fields."""
    append_path: tuple[dict[str, str], ...] = ()
    """Name of a list → what comes after its fields."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check the names, and that lists are only ever added to, or taken away."""
        for key in ("set", "prepend_path", "append_path"):
            for position, pair in enumerate(getattr(self, key)):
                place: Place = (key, position)
                if len(pair) != 1:
                    yield place, f"must have one name, not {len(pair)}; each has an item of its own"
                for name, value in pair.items():
                    if not _VARIABLE.fullmatch(name):
                        yield (*place, name), "is no name of a variable"
                    elif key == "set" and name in LISTS and value is not None:
                        yield (
                            (*place, name),
                            "is a list: it can be set to null only, and added to by prepend_path",
                        )
                    elif key != "set" and name not in LISTS:
                        yield (*place, name), f"is no list that Stackinator knows: {', '.join(sorted(LISTS))}"


class ViewOfUenv(Part):
    """What Stackinator adds to a view of Spack's."""

    add_compilers: Switch = True
    """Whether the compilers are linked into it."""
    prefix_paths: dict[str, tuple[str, ...]] = Field(default={})
    """List → directories of the view that belong to it."""
    env_vars: Variables = Variables()
    """Other variables."""


class View(Part):
    """A view: a directory with links to packages."""

    link: Literal["roots", "all", "run"] = "roots"
    """Which packages are linked into it."""
    select: tuple[Text, ...] = ()
    """Only these."""
    exclude: tuple[Text, ...] = ()
    """All but these."""
    projections: dict[str, str] = Field(default={})
    """Where packages lie in it."""
    uenv: ViewOfUenv = ViewOfUenv()
    """What Stackinator adds."""


class Duplicates(Part):
    """How often one package may be built for an environment."""

    strategy: Literal["minimal", "full", "none"] = "minimal"
    """How often."""


class Network(Part):
    """The MPI of an environment."""

    mpi: Text | None = None
    """Its spec."""
    specs: tuple[Text, ...] | None = None
    """Specs of what it needs; without them those of the cluster."""


class Environment(Part):
    """Packages that are built together."""

    compiler: Any
    """The compilers, the usual one first."""
    specs: tuple[Text, ...] = Field(min_length=1)
    """The packages."""
    unify: Literal["when_possible"] | Switch = True
    """Whether there is one version of each package."""
    duplicates: Duplicates = Duplicates()
    """How often one package may be built."""
    deprecated: Switch = False
    """Whether deprecated versions are taken."""
    network: Network = Network()
    """Its MPI."""
    packages: tuple[Text, ...] = ()
    """Packages of the machine, which version 3 passes over."""
    variants: tuple[Text, ...] = ()
    """Variants of all packages."""
    prefer: tuple[Text, ...] | None = None
    """What Spack prefers."""
    views: Any = None
    """Its views."""


def compilers_model(version: int) -> type[CompilersFile]:
    """Return the model of a recipe's `compilers.yaml`."""
    return CompilersFile2 if version == 2 else CompilersFile3


def environments_model(values: Any, compilers: list[str]) -> type[Part]:
    """Return the model of an `environments.yaml`.

    Args:
        values: What it says, for the names in it.
        compilers: The compilers that its `compilers.yaml` offers.
    """
    several: Any = tuple
    one: Any = Literal
    compiler = several[one[tuple(compilers)], ...]
    fields: dict[str, Any] = {}
    for at, (name, value) in enumerate(values.items() if isinstance(values, dict) else ()):
        given = value.get("views") if isinstance(value, dict) else None
        views = named(View | None, given)
        environment = create_model(
            "Environment",
            __base__=Environment,
            compiler=(compiler, Field(min_length=1)),
            views=(views, ... if given else views()),
        )
        fields[f"name_{at}"] = (environment, Field(alias=str(name)))
    return create_model("EnvironmentsFile", __base__=Part, **fields)


def environments_words(model: type[Part]) -> Words:
    """Return the words for what is wrong with a `compilers.yaml` or an `environments.yaml`."""
    return Words(model, ALLOWED, _unify)


def _unify(detail: Detail, parts: list[type[Part]]) -> str | None:  # noqa: ARG001 - as `Words` calls it
    return "must be true, false or when_possible" if detail["loc"][1:2] == ("unify",) else None
