"""A build of a container: from a recipe to an image that has its name because it passed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from launcher.builder import provenance
from launcher.builder.build import build as build_image
from launcher.builder.cache import building, made, open_cache, remove, work_directory
from launcher.builder.container.base import Base, look
from launcher.builder.container.bill import Parts, bill
from launcher.builder.container.context import KERNEL, make_context
from launcher.builder.container.definition import definition, with_added
from launcher.builder.container.engine import Engine, Image
from launcher.builder.container.engine import Order as EngineOrder
from launcher.builder.container.kernel import missing
from launcher.builder.container.order import BuiltContainer, ContainerOrder
from launcher.builder.container.verify import Promise, pack, verify
from launcher.builder.inputs import build_key
from launcher.builder.lock import Lock
from launcher.builder.order import Built, Order, output_directory
from launcher.builder.progress import Progress
from launcher.builder.provenance import Verified
from launcher.builder.target import Target
from launcher.builder.wheels import Wheel
from launcher.errors import BuildFailed, CheckFailed, InvalidFile

KEY = "firecrest-launcher.build-key"
"""The label of what a container was made from. Only of one that passed there are documents."""
_OCI = "org.opencontainers.image"
"""https://github.com/opencontainers/image-spec/blob/main/annotations.md."""


def build(order: ContainerOrder, progress: Progress) -> BuiltContainer:
    """Build a container, unless it is there and was made from the same.

    The image gets its name when it has passed.

    Raises:
        LauncherError: If it can't be built: `InvalidFile`, `UsageError`, `MissingPart`, `BuildFailed`.
        CheckFailed: If it does not pass.
    """
    with building("The container could not be built."):
        return _built(order, progress)


class _Parts(NamedTuple):
    """What a container is built from.

    Attributes:
        base: The base image.
        held: What that holds.
        tools: The image of the tools.
    """

    base: Image
    held: Base
    tools: Built


def _built(order: ContainerOrder, progress: Progress) -> BuiltContainer:
    began, started = time.monotonic(), datetime.now(UTC)
    with tempfile.TemporaryFile(dir=output_directory(order.output)):
        pass
    job = _Job(order, _parts(order, progress))
    with work_directory(job.cache, job.key, progress) as work:
        image = job.claimed()
        unchanged = image is not None
        if image is None:
            image = job.make(work, started, progress)
        order.engine.tag(image.id, job.tag)
        if order.sqsh:
            with made(job.sqsh) as aside:
                pack(order.engine, image, aside, job.epoch, progress)
        remove(work)
    digest = None
    if order.push:
        progress.step(f"Pushing {job.tag}")
        digest = order.engine.push(image.id, job.tag)
    return BuiltContainer(
        order.recipe.container.name,
        job.version,
        order.arch,
        order.engine.name,
        job.tag,
        image.id,
        digest,
        job.sqsh if order.sqsh else None,
        job.document("sbom.cdx"),
        job.document("provenance"),
        job.pinned,
        unchanged,
        time.monotonic() - began,
        provenance.read(job.document("provenance")).verified,
    )


def _parts(order: ContainerOrder, progress: Progress) -> _Parts:
    """Look into the base, and build the tools for its C library."""
    engine, recipe = order.engine, order.recipe
    engine.inside()
    base = engine.find(order.base)
    if not base or base.arch != order.arch:
        progress.step(f"Fetching {order.base}")
        engine.pull(order.base, order.arch)
        base = _there(engine, order.base)
    if base.arch != order.arch:
        raise BuildFailed(
            f"The base image {order.base} is for {base.arch}, not for {order.arch}.",
            todo="Name one for those processors: --base",
        )
    held = look(engine, base, progress, kernel=recipe.container.kernel)
    return _Parts(base, held, _tools(order, held.glibc, progress))


def _tools(order: ContainerOrder, glibc: tuple[int, int], progress: Progress) -> Built:
    """Build the tools for a C library; containers share those that are made from the same."""
    recipe = order.recipe.tools
    directory = open_cache(order.cache) / "tools"
    directory.mkdir(exist_ok=True)
    kind = (
        recipe.directory.resolve(),
        recipe.image.mount,
        order.arch,
        glibc,
        order.code_server,
        order.python,
    )
    name = hashlib.sha256(repr(kind).encode()).hexdigest()[:16]
    wanted = Order(
        recipe,
        order.arch,
        glibc,
        output=directory / f"{recipe.image.name}-{name}.squashfs",
        python=order.python,
        code_server=order.code_server,
        cache=order.cache,
    )
    return build_image(wanted, progress)


class _Job:
    """One build: what it is made from, and the steps."""

    def __init__(self, order: ContainerOrder, parts: _Parts) -> None:
        self.order = order
        self.parts = parts
        self.cache = open_cache(order.cache)
        name, version = order.recipe.container.name, parts.tools.version
        self.version = version
        self.tag = order.tag or f"localhost/{name}:{version}"
        self.pinned = _pinned(order.base, parts.base)
        self.epoch = Lock.read(order.recipe.tools.lock).epoch
        self.definition = definition(order, parts.tools, self.pinned, parts.base.id)
        self.key = build_key(self.definition)
        # Another image is another file: sessions may have the one before mounted.
        self.sqsh = order.output.absolute() / f"{name}-{version}-{order.arch}-{self.key[:8]}.sqsh"

    def document(self, kind: str) -> Path:
        """Return the file of a document about the image."""
        return provenance.beside(self.sqsh.with_suffix(".container"), kind)

    def claimed(self) -> Image | None:
        """Return the image that its documents speak of, if it was made from the same and is there."""
        try:
            claim = provenance.read(self.document("provenance"))
        except (OSError, InvalidFile):
            return None
        if claim.build_key != self.key or not self.document("sbom.cdx").is_file():
            return None
        image = self.order.engine.find(claim.sha256)
        return image if image and image.labels.get(KEY) == self.key else None

    def make(self, work: Path, started: datetime, progress: Progress) -> Image:
        """Take all steps."""
        engine, context = self.order.engine, work / "context"
        remove(context)
        context.mkdir()
        try:
            added = self._added(context, progress)
            whole = with_added(self.definition, added)
            bill_of_all = self._bill(added)
            meta = {"sbom.cdx.json": bill_of_all, "provenance.json": provenance.written(whole)}
            progress.step("Unpacking the tools")
            make_context(context, self.order.recipe, self.parts.tools, meta)
            image = self._image(context, progress)
            verified = self._verify(image, context, bool(added), progress)
        finally:
            remove(context)
        said = provenance.statement(
            self.tag,
            image.id,
            whole,
            build_key=self.key,
            started=started,
            finished=datetime.now(UTC),
            tools={engine.name: engine.version()},
            verified=verified,
        )
        # All is there before the image gets its name.
        with contextlib.ExitStack() as names:
            for kind, content in (("sbom.cdx", bill_of_all), ("provenance", provenance.written(said))):
                names.enter_context(made(self.document(kind))).write_bytes(content)
        return image

    def _added(self, context: Path, progress: Progress) -> list[Wheel]:
        kernel = self.parts.held.kernel
        if not kernel:
            (context / KERNEL).mkdir()
            return []
        target = Target.of(self.order.arch, self.parts.held.glibc, kernel.version)
        return missing(kernel, target, context / KERNEL, progress)

    def _bill(self, added: list[Wheel]) -> bytes:
        name = self.order.recipe.container.name
        tools = provenance.beside(self.parts.tools.image, "sbom.cdx").read_bytes()
        return bill(Parts(name, self.version, self.order.arch, self.pinned, self.parts.held, tools, added))

    @property
    def _said(self) -> dict[str, str]:
        """What the image says of itself: each is a label, and an argument of the `Dockerfile`."""
        name, _, digest = self.pinned.partition("@")
        container = self.order.recipe.container
        return {
            "title": container.name,
            "description": container.description,
            "version": self.version,
            "base.name": name,
            "base.digest": digest,
        }

    def _image(self, context: Path, progress: Progress) -> Image:
        engine = self.order.engine
        arguments = {label.replace(".", "_").upper(): value for label, value in self._said.items()}
        arguments["BASE_IMAGE"] = engine.base(self.order.base, self.parts.base)
        progress.step(f"Building the container with {engine.name}")
        order = EngineOrder(context, self.order.arch, self.epoch, arguments, {KEY: self.key})
        return _there(engine, engine.build(order, progress))

    def _verify(self, image: Image, context: Path, added: bool, progress: Progress) -> Verified:  # noqa: FBT001 - one of its facts
        recipe, kernel = self.order.recipe, self.parts.held.kernel
        tools = recipe.tools.image
        promise = Promise(
            tools.mount,
            tools.prefix,
            str(context),
            [*recipe.container.adds, *(kernel.paths if added and kernel else ())],
            "verify" in recipe.files,
            {KEY: self.key, **{f"{_OCI}.{label}": value for label, value in self._said.items()}},
            self.order.arch != os.uname().machine,
        )
        report = verify(self.order.engine, image, self.parts.base, promise, progress)
        if not report.ok:
            raise CheckFailed(
                "The container did not pass.",
                why=report.objections,
                todo=f"It has no name yet, but its id: {image.id[:12]}",
            )
        return Verified(len(report.checks), report.ran, self.parts.tools.verified.glibc)


def _there(engine: Engine, reference: str) -> Image:
    image = engine.find(reference)
    if not image:
        raise BuildFailed(f"{engine.name} has no image {reference}.", why="It was there a moment ago.")
    return image


def _pinned(base: str, image: Image) -> str:
    return base if "@" in base or not image.digest else f"{base}@{image.digest}"
