"""A build: from a recipe to an image that has its name because it passed."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from launcher.builder import provenance, squashfs, stackinator
from launcher.builder.assemble import Plan, assemble
from launcher.builder.cache import building, keep, kept, made, open_cache, remove, work_directory
from launcher.builder.digest import sha256_of
from launcher.builder.elf import objections
from launcher.builder.inputs import (
    build_key,
    code_server,
    project,
    recipe_files,
    spack_python,
    tools,
    usual_python,
)
from launcher.builder.interpreter import Interpreter, pinned_python, prepare
from launcher.builder.lock import Lock
from launcher.builder.lock.wanted import read_wanted
from launcher.builder.mount import Mounted, bound, run
from launcher.builder.order import Built, Order, output_directory
from launcher.builder.progress import Progress
from launcher.builder.sbom import Contents, sbom
from launcher.builder.target import Target, dotted
from launcher.builder.tree_hash import tree_hash
from launcher.builder.verify import verify
from launcher.builder.wheels import Wheel, closure, fetch
from launcher.errors import BuildFailed, CheckFailed, InvalidFile, UsageError

_MOUNTING = 60.0
"""Seconds that it may take to mount an image."""
_COMMON = 3
"""So many steps has a path, with that of `/`, that many machines have."""


def build(order: Order, progress: Progress) -> Built:
    """Build an image, unless it is there and was made from the same.

    What was interrupted goes on where it was. The image gets its name when it has passed its recipe's
    `verify`.

    Raises:
        LauncherError: If it can't be built: `InvalidFile`, `UsageError`, `MissingPart`, `BuildFailed`.
        CheckFailed: If it does not pass.
    """
    with building("The image could not be built."):
        return _built(order, progress)


def _built(order: Order, progress: Progress) -> Built:
    began, started = time.monotonic(), datetime.now(UTC)
    job = _Job(order)
    claim = job.claimed()
    unchanged = claim is not None
    if claim is None:
        with work_directory(job.cache, job.key, progress) as work:
            # Another process may have made it meanwhile.
            claim = job.claimed()
            unchanged = claim is not None
            claim = claim or job.make(work, started, progress)
            remove(work)
    return Built(
        job.output,
        order.recipe.image.name,
        job.contents([]).version,
        order.arch,
        claim.sha256,
        job.output.stat().st_size,
        unchanged,
        time.monotonic() - began,
        claim.verified,
    )


class _Parts(NamedTuple):
    """What an image is put together from: its Python, unless Spack makes that; its wheels; and its SBOM."""

    interpreter: Interpreter | None
    wheels: list[Wheel]
    bill: bytes


class _Job:
    """One build: what it is made from, and the steps."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.cache = open_cache(order.cache)
        recipe = order.recipe
        self.lock = Lock.read(recipe.lock)
        self.python = spack_python(order) if order.spack else usual_python(order)
        self.target = Target.of(order.arch, order.glibc, self.python.version)
        self.project = [project(self.cache)] if recipe.image.launcher else []
        self.code_server = code_server(order)
        self.recipe_files = recipe_files(recipe)
        self.definition = provenance.inputs(
            self.contents(self.project),
            self.recipe_files,
            {
                "compression": recipe.image.compression,
                "gpu": order.gpu,
                "mount": recipe.image.mount,
            },
        )
        self.key = build_key(self.definition)
        self.output = self._output()

    def contents(self, wheels: list[Wheel]) -> Contents:
        """Return what the image consists of, with these wheels."""
        image = self.order.recipe.image
        pins = self.lock.for_target(self.target, self.python.version)
        if image.version not in pins:
            raise InvalidFile([f"{self.lock.path}: pins no {image.version}, whose version is the image's"])
        return Contents(
            image.name,
            pins[image.version].version,
            self.lock.locked,
            self.target,
            wheels,
            self.python,
            self.code_server,
        )

    def claimed(self) -> provenance.Claim | None:
        """Return what is said of the image that is there, if it is whole and made from the same."""
        try:
            claim = provenance.read(provenance.beside(self.output, "provenance"))
            same = claim.build_key == self.key and sha256_of(self.output) == claim.sha256
            bill = provenance.beside(self.output, "sbom.cdx").read_bytes() if same else b""
            same = same and bill == squashfs.read(self.output, "meta/sbom.cdx.json")
        except (OSError, InvalidFile):
            return None
        return claim if same else None

    def make(self, work: Path, started: datetime, progress: Progress) -> provenance.Claim:
        """Take the steps that were not taken yet."""
        self._try_out(work)
        interpreter = None if self.order.spack else self._interpreter(progress)
        wheels = self._chosen(fetch(self.lock, self.target, self.python.version, self.cache, progress))
        parts = _Parts(interpreter, wheels, sbom(self.contents(wheels)))
        image = work / "image.squashfs"
        digest = kept(image, sha256_of)
        if not digest:
            if interpreter:
                self._make_from_wheels(image, work, parts, progress)
            else:
                self._make_with_stackinator(image, work, parts, progress)
            digest = keep(image, sha256_of)
        verified = self._verify(image, work, progress)
        statement = provenance.statement(
            self.output.name,
            digest,
            self.definition,
            build_key=self.key,
            started=started,
            finished=datetime.now(UTC),
            tools=tools(),
            verified=verified,
        )
        # All is there before anything gets its name, which the image gets last.
        with contextlib.ExitStack() as names:
            shutil.move(image, names.enter_context(made(self.output)))
            for kind, content in (("sbom.cdx", parts.bill), ("provenance", provenance.written(statement))):
                names.enter_context(made(provenance.beside(self.output, kind))).write_bytes(content)
        return provenance.read(provenance.beside(self.output, "provenance"))

    def _make_from_wheels(self, image: Path, work: Path, parts: _Parts, progress: Progress) -> None:
        tree = work / "tree"
        if not kept(tree, tree_hash):
            with made(tree) as aside:
                aside.mkdir()
                self._fill(aside, parts, progress)
            keep(tree, tree_hash)
        progress.step("Packing the image")
        with made(image) as aside:
            squashfs.pack(tree, aside, self.lock.epoch, self.order.recipe.image.compression)

    def _try_out(self, work: Path) -> None:
        """Find out what this machine lacks before anything takes long: with an image of nothing."""
        with tempfile.TemporaryFile(dir=self.output.parent):
            pass
        mount = self.order.recipe.image.mount
        with tempfile.TemporaryDirectory(dir=work) as directory:
            nothing, image = Path(directory, "nothing"), Path(directory, "nothing.squashfs")
            nothing.mkdir()
            squashfs.pack(nothing, image, 0, self.order.recipe.image.compression)
            done = run([Mounted(image, mount)], ["true"], timeout=_MOUNTING)
            if not (self.order.spack or done.returncode):
                done = subprocess.run(bound(nothing, mount, ["true"]), capture_output=True, check=False)
        if done.returncode:
            raise BuildFailed(
                f"Nothing can be mounted at {mount} here.", why=done.stderr.decode(errors="replace").strip()
            )

    def _interpreter(self, progress: Progress) -> Interpreter:
        """Return the Python of the image, which must fit its machines."""
        order = self.order
        interpreter = prepare(order.recipe.directory, order.arch, order.python, self.cache, progress)
        wrong, _, _ = objections(interpreter.directory, self.target)
        if wrong:
            raise BuildFailed(
                f"Python {interpreter.version} from {interpreter.name} does not fit these machines.",
                why="\n".join(wrong[:3]),
                todo="Pin a standalone build, which needs no new glibc, or name another C library: --glibc",
            )
        return interpreter

    def _fill(self, tree: Path, parts: _Parts, progress: Progress) -> None:
        order, recipe = self.order, self.order.recipe
        assert parts.interpreter
        plan = Plan(
            recipe.image.mount,
            recipe.image.prefix,
            order.arch,
            str(parts.interpreter.directory),
            parts.interpreter.version,
            parts.wheels,
            recipe.image.prune,
            str(order.code_server.absolute()) if order.code_server else "",
            str((recipe.directory / "code-server.yaml").absolute()),
            tuple(self._compilers(progress)),
        )
        assemble(plan, tree, progress)
        meta = tree / "meta"
        for name, path in self.recipe_files.items():
            copy = meta / "recipe" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        described = json.dumps(recipe.image.description_of_itself(), indent=1)
        (meta / "env.json").write_text(f"{described}\n")
        for name, content in self._meta(parts.bill).items():
            (meta / name).write_bytes(content)
        for path in (tree, meta, *meta.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def _compilers(self, progress: Progress) -> Iterator[str]:
        """Yield the Python of the image's version that this machine runs, if it is not the image's own."""
        own = os.uname().machine
        recipe = self.order.recipe.directory
        with contextlib.suppress(UsageError):  # it pins none for this machine
            if self.target.foreign and pinned_python(recipe, own).python == self.python.version:
                python = prepare(recipe, own, None, self.cache, progress).directory
                yield str(python / f"bin/python{dotted(self.target.python)}")

    def _make_with_stackinator(self, image: Path, work: Path, parts: _Parts, progress: Progress) -> None:
        order, spack = self.order, self.order.spack
        assert spack
        recipe = work / "recipe"
        stackinator.prepare(
            order.recipe,
            stackinator.uarch_named(order.recipe.directory, spack.uarch),
            spack.version,
            recipe,
            wheels=parts.wheels,
            code_server=order.code_server,
            meta=self._meta(parts.bill),
        )
        store = stackinator.build(recipe, spack.directory, spack.system, progress)
        with made(image) as aside:
            shutil.copyfile(store, aside)

    def _meta(self, bill: bytes) -> dict[str, bytes]:
        return {"sbom.cdx.json": bill, "provenance.json": provenance.written(self.definition)}

    def _verify(self, image: Path, work: Path, progress: Progress) -> provenance.Verified:
        recipe = self.order.recipe
        # Stackinator writes itself where it has built.
        known = () if self.order.spack else (self.cache, recipe.directory.resolve(), Path(sys.prefix))
        # What is as short as /cache or /usr/local stands in files of all machines.
        places = [str(work), *(str(each) for each in known if len(each.parts) > _COMMON)]
        report = verify(image, recipe, self.target, progress, build_paths=places)
        if not report.ok:
            # The next build begins anew: what failed may be what was kept.
            failed = image.replace(work / "failed.squashfs")
            remove(work / "tree")
            raise CheckFailed(
                "The image did not pass.",
                why=report.objections,
                todo=f"It has no name yet; look into it: launcher run {shlex.quote(str(failed))} -- /bin/sh",
            )
        return provenance.Verified(len(report.checks), report.ran, report.glibc)

    def _chosen(self, wheels: list[Wheel]) -> list[Wheel]:
        """Return what is installed of all that the lock names."""
        image = self.order.recipe.image
        wanted = [each.requirement for each in read_wanted(self.order.recipe.requirements)]
        roots = [str(each) for each in wanted if self.order.gpu or each.name not in image.gpu]
        roots += [f"{each.name}[{','.join(image.extras)}]" for each in self.project]
        return closure([*wheels, *self.project], roots, image.leave_out, self.order.arch, self.python.version)

    def _output(self) -> Path:
        order, output = self.order, self.order.output
        if output.suffix == ".squashfs" and not output.is_dir():
            directory, name = output.parent, output.name
        else:
            kind = order.spack.uarch if order.spack else f"{order.arch}{'-gpu' if order.gpu else ''}"
            version = self.contents([]).version
            directory, name = output, f"{order.recipe.image.name}-{version}-{kind}.squashfs"
        return output_directory(directory) / name
