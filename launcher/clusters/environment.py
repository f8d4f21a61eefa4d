"""Environments: what a session runs in, and how it is attached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from launcher.clusters.values import (
    ContainerImage,
    Edf,
    EdfAnnotation,
    EdfMount,
    EdfPath,
    EdfVariable,
    Image,
    Line,
    NodePath,
    Shell,
    Switch,
    UserPath,
    View,
    Word,
)
from launcher.yaml_file.part import Part, Place


def image_name(image: str) -> str | None:
    """Return the name in a label, by which uenv knows an image; None for a file.

    Of two images of one name in a session, uenv mounts only the second.
    """
    return None if image.startswith("/") else re.split("[/:@%]", image)[0]


class _Environment(Part):
    id: Word
    """Short name, as it stands in options; no two environments share one."""
    title: Line = ""
    """Name for people; without it the id."""
    hint: Line = ""
    """One line for people, shown below the name."""
    prologue: Shell = ""
    """Lines of Bash before the server starts, after those of the cluster."""

    @property
    def name(self) -> str:
        """The name for people."""
        return self.title or self.id


class TypedImage(Part):
    """Which uenv images users may name."""

    labels: Switch = True
    """Whether they may give a label: `name/version:tag@system%uarch`."""
    roots: tuple[UserPath, ...] = ()
    """Directories below which they may name a squashfs file; `{user}` stands for the user's name."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that something may be named."""
        if not self.labels and not self.roots:
            yield ("roots",), "without labels there must be a directory"


class TypedEdf(Part):
    """Which environment definition files users may name."""

    roots: tuple[UserPath, ...] = Field(min_length=1)
    """Directories below which they may name an EDF; `{user}` stands for the user's name."""


class Definition(Part):
    """What an EDF says: https://docs.cscs.ch/software/container-engine/edf/."""

    image: ContainerImage
    """The container's image."""
    mounts: tuple[EdfMount, ...] = ()
    """Directories of the node that it sees, each as `SOURCE:TARGET`."""
    workdir: EdfPath | None = None
    """Where its programs start; without it the image's own."""
    writable: Switch = True
    """Whether its file system can be written to; what is written is gone at the end."""
    entrypoint: Switch = False
    """Whether the image's entrypoint is run first."""
    base_environment: tuple[Edf, ...] = ()
    """EDFs on which it builds."""
    env: dict[EdfVariable, Line] = Field(default={})
    """Variable → value."""
    annotations: dict[EdfAnnotation, Line] = Field(default={})
    """Annotation → value: hooks of the container engine."""


class UenvEnvironment(_Environment):
    """A uenv, mounted beside the tools image."""

    kind: Literal["uenv"]
    """A squashfs image with a programming environment."""
    image: Image | None = None
    """The image: a label or the path of a squashfs file. Exactly one of `image` and `typed` is needed."""
    typed: TypedImage | None = None
    """Users name the image, and a view, themselves."""
    view: View | None = None
    """The view that is loaded for kernels and terminals; without it the image's default view."""
    typed_view: Switch = False
    """Whether users may name another view of `image`."""
    mount: NodePath | None = None
    """Where the image is mounted; without it where `uenv.mount` says."""
    launcher: NodePath | None = None
    """`launcher-singleuser` for this environment, instead of the one of the tools image."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that there is one image, and no view without one."""
        if (self.image is None) == (self.typed is None):
            yield (), "exactly one of image and typed is needed"
        elif self.typed and self.view:
            yield ("view",), "a view without an image: users name both"
        elif self.typed and self.typed_view:
            yield ("typed_view",), "users name the view of a typed image anyway"


class ContainerEnvironment(_Environment):
    """A container that the container engine starts from an environment definition file."""

    kind: Literal["container"]
    """A container, by its EDF."""
    edf: Edf | None = None
    """The EDF: its name, or the path of a TOML file. Exactly one of `edf` and `typed` is needed."""
    typed: TypedEdf | None = None
    """Users name the EDF themselves."""
    definition: Definition | None = None
    """What the EDF says: `launcher export edf` writes it. Launches do not read it."""
    launcher: NodePath = "/opt/launcher/bin/launcher-singleuser"
    """`launcher-singleuser` inside the container."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that there is one EDF."""
        if (self.edf is None) == (self.typed is None):
            yield (), "exactly one of edf and typed is needed"
        elif self.typed and self.definition:
            yield ("definition",), "users name the EDF, which says all of it itself"


class HostEnvironment(_Environment):
    """The compute node as it is; the tools image, if there is one, brings JupyterLab."""

    kind: Literal["host"]
    """The bare host."""
    launcher: NodePath | None = None
    """`launcher-singleuser` for this environment; the tools image is not mounted then."""


Environment = Annotated[UenvEnvironment | ContainerEnvironment | HostEnvironment, Field(discriminator="kind")]


class Tools(Part):
    """The tools image: JupyterLab itself."""

    image: Image
    """A label, or the path of a squashfs file."""
    mount: NodePath = "/user-tools"
    """Where it is mounted; the directory must exist on every node."""
    launcher: NodePath | None = None
    """`launcher-singleuser` in it; without it `env/jupyter/bin/launcher-singleuser` below the mount."""

    @property
    def program(self) -> str:
        """Path of `launcher-singleuser`."""
        return self.launcher or f"{self.mount}/env/jupyter/bin/launcher-singleuser"


class Uenv(Part):
    """How uenv images are attached to a session."""

    attach: Literal["directive", "run", "squashfs-mount"] = "directive"
    """`directive`: by uenv's Slurm plugin (`#SBATCH --uenv`). `run`: by `uenv run` in the job.
    `squashfs-mount`: by that program in the job, where there is no uenv; every image is a file then."""
    mount: NodePath = "/user-environment"
    """Where a programming environment is mounted; the directory must exist on every node."""
    repo: NodePath | None = None
    """The repository in which labels are sought, if not the user's own."""
    pull: Switch = False
    """Whether the job pulls images that the repository does not hold; with `attach: run` only."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that images are not sought before the job could pull them."""
        if self.pull and self.attach == "directive":
            yield ("pull",), "needs attach: run, as Slurm's plugin seeks images before the job begins"
        elif self.pull and self.attach != "run":
            yield ("pull",), "needs attach: run, as squashfs-mount knows files only"
