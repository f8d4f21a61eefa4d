"""The programs that build images of containers: Buildah, Podman and Docker.

What they tell of an image is the image's own, which may be anybody's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from launcher.builder.progress import Progress
from launcher.builder.target import OTHER_NAMES
from launcher.builder.worker import end
from launcher.errors import BuildFailed, MissingPart, UsageError
from launcher.yaml_file import shown

_STEP = re.compile(r"^(?:\[\d/\d\] )?STEP (\d{1,3})/(\d{1,3})")
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LINES, _LONGEST = 6, 500
"""Of what an engine says of its failure, lines and their characters."""


class Image(NamedTuple):
    """An image in the storage of an engine.

    Attributes:
        id: Its id: the digest of its configuration, in hexadecimal digits.
        digest: The digest of its manifest, `sha256:…`, or empty where the engine knows none.
        arch: Its processors, as `uname -m` names them, or as the image does.
        environment: Its variables.
        labels: Its labels.
        user: Who runs its programs.
        entrypoint: What its command is handed to.
        command: What it runs unless it is told.
        directory: Where that begins.
        volumes: Where engines mount directories of their own.
    """

    id: str
    digest: str
    arch: str
    environment: dict[str, str]
    labels: dict[str, str]
    user: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    directory: str
    volumes: tuple[str, ...] = ()


class Order(NamedTuple):
    """What an engine is to build.

    Attributes:
        context: The directory of what it needs, with a `Dockerfile`.
        arch: For which processors.
        epoch: The time of all that is new, in seconds since 1970.
        arguments: Build arguments.
        labels: Labels besides those of the `Dockerfile`.
    """

    context: Path
    arch: str
    epoch: int
    arguments: Mapping[str, str]
    labels: Mapping[str, str]


class Engine:
    """What all engines have in common.

    Attributes:
        name: Its program.
    """

    name = ""

    def inside(self) -> list[str]:
        """Return what a command begins with that sees the files of images."""
        return [] if os.geteuid() == 0 else [self.name, "unshare"]

    def version(self) -> str:
        """Return its version."""
        found = re.search(r"\d+(?:\.\d+)+", self._said("--version"))
        return found[0] if found else "unknown"

    def find(self, reference: str) -> Image | None:
        """Return an image that is in its storage, or None if none is."""
        done = self._run("image", "inspect", reference)
        return _image(json.loads(done.stdout)[0]) if not done.returncode else None

    def pull(self, reference: str, arch: str) -> None:
        """Fetch an image.

        Raises:
            BuildFailed: If it can't be fetched.
        """
        done = self._run("pull", f"--platform=linux/{OTHER_NAMES[arch]}", reference)
        if done.returncode:
            raise BuildFailed(
                f"The base image {reference} can't be fetched.",
                why=_last(done),
                todo="Look whether its registry can be reached, and log in to it, "
                f"{self.name} login; or name an image that is here: --base",
            )

    def build(self, order: Order, progress: Progress) -> str:
        """Build an image that has no name; return its id.

        Raises:
            BuildFailed: If it can't be built.
        """
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "id")
            given = [f"--build-arg={name}={value}" for name, value in order.arguments.items()]
            given += [f"--label={name}={value}" for name, value in order.labels.items()]
            platform = f"--platform=linux/{OTHER_NAMES[order.arch]}"
            times = self._times(order.epoch)
            command = ["build", *self._how(), platform, *times, *given, f"--iidfile={file}"]
            self._watched([*command, str(order.context)], progress)
            return _id(_written(file))

    @contextlib.contextmanager
    def files(self, reference: str) -> Iterator[Path]:
        """Lend the directory of an image's files; nobody may change them. It is used `inside`.

        Raises:
            BuildFailed: If it can't be had.
        """
        raise NotImplementedError

    def base(self, reference: str, image: Image) -> str:
        """Return how a `Dockerfile` names its base, once that is in the storage."""
        del reference
        return image.id

    def tag(self, image: str, name: str) -> None:
        """Give an image a name.

        Raises:
            BuildFailed: If that is refused.
        """
        self._said("tag", image, name)

    def push(self, image: str, name: str) -> str:
        """Copy an image to the registry that a name begins with; return the digest that it has there.

        Args:
            image: Its id.
            name: The name that it gets there, and has here.

        Raises:
            BuildFailed: If that is refused.
        """
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "digest")
            done = self._run("push", f"--digestfile={file}", image, f"docker://{name}")
            if done.returncode:
                raise self._not_pushed(name, done)
            return _digest(_written(file))

    def _not_pushed(self, name: str, done: subprocess.CompletedProcess[str]) -> BuildFailed:
        registry = name.partition("/")[0]
        return BuildFailed(
            f"The image is built, but {name} can't be pushed.",
            why=_last(done),
            todo=f"Log in: {self.name} login {registry}. Then build again: nothing is built twice.",
        )

    def _how(self) -> Iterator[str]:
        """Yield the options of all builds."""
        raise NotImplementedError

    def _times(self, epoch: int) -> list[str]:
        return [f"--timestamp={epoch}"]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.name, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )

    def _said(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode:
            raise BuildFailed(f"{self.name} {arguments[0]} failed.", why=_last(done))
        return done.stdout.strip()

    def _watched(self, arguments: Sequence[str], progress: Progress) -> None:
        """Run what takes long; when this process is interrupted, the engine may clean up."""
        lines: list[str] = []
        with subprocess.Popen(
            [self.name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C", "BUILDKIT_PROGRESS": "plain"},
        ) as process:
            assert process.stdout
            try:
                for line in process.stdout:
                    lines = [*lines[-50:], line.rstrip()]
                    if found := _STEP.match(line):
                        progress.advance(int(found[1]) - 1, int(found[2]))
            except BaseException:
                end(process)
                raise
        if process.returncode:
            raise BuildFailed(
                f"{self.name} could not build the image.",
                why="\n".join(shown(line, _LONGEST) for line in lines[-_LINES:]),
            )


class Podman(Engine):
    """Podman: https://docs.podman.io/."""

    name = "podman"
    _with_volumes: tuple[str, ...] = ("--volumes",)
    """What removes those that it makes of its own accord."""

    def _how(self) -> Iterator[str]:
        yield from ("--pull=never", "--layers=false", "--force-rm", "--format=oci")
        # In a chroot, there is no other network than this machine's.
        if os.environ.get("BUILDAH_ISOLATION") != "chroot":
            yield "--network=none"

    @contextlib.contextmanager
    def files(self, reference: str) -> Iterator[Path]:
        """Mount it, as a container of its own: images of other storages can't be mounted themselves."""
        container = f"launcher-{secrets.token_hex(8)}"
        try:
            self._said(*self._container(container, reference))
            yield Path(self._said("mount", container))
        finally:
            self._run("rm", *self._with_volumes, container)

    def _container(self, name: str, reference: str) -> tuple[str, ...]:
        """Return what makes a container that never runs."""
        return "create", "--pull=never", f"--name={name}", reference, "true"


class Buildah(Podman):
    """Buildah: https://buildah.io/."""

    name = "buildah"
    _with_volumes = ()

    def find(self, reference: str) -> Image | None:
        """Return an image that is in its storage, or None if none is."""
        done = self._run("inspect", "--type=image", reference)
        if done.returncode:
            return None
        told = json.loads(done.stdout)
        oci = told["OCIv1"]
        return _image(
            {
                "Id": told["FromImageID"],
                "Digest": told["FromImageDigest"],
                "Architecture": oci["architecture"],
                "Config": oci["config"],
            }
        )

    def _container(self, name: str, reference: str) -> tuple[str, ...]:
        return "from", "--pull-never", f"--name={name}", reference


class Docker(Engine):
    """Docker, with BuildKit: https://docs.docker.com/build/."""

    name = "docker"

    def _how(self) -> Iterator[str]:
        yield from ("--pull=false", "--network=none", "--provenance=false", "--load")

    def inside(self) -> list[str]:
        """Return nothing: whoever may use Docker may become root.

        Raises:
            UsageError: If this is not root.
        """
        if os.geteuid():
            raise UsageError(
                "With Docker, root builds images.",
                why="Each file of the image is looked at, with its owner.",
                todo="Run it with sudo, or take an engine that needs no root: --engine buildah",
            )
        return []

    @contextlib.contextmanager
    def files(self, reference: str) -> Iterator[Path]:
        """Copy it: Docker shows nobody where the files lie."""
        with tempfile.TemporaryDirectory() as directory:
            # Whoever tries the image may look into its top, though into nothing above.
            root = Path(directory, "root")
            root.mkdir()
            root.chmod(0o755)
            container = self._said("create", reference, "true")
            try:
                with subprocess.Popen([self.name, "export", container], stdout=subprocess.PIPE) as export:
                    unpacked = subprocess.run(
                        ["tar", "-xp", "--numeric-owner", "-C", str(root)],
                        stdin=export.stdout,
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                if export.returncode or unpacked.returncode:
                    raise BuildFailed(f"The files of {reference} can't be had.", why=_last(unpacked))
            finally:
                self._run("rm", "--volumes", container)
            yield root

    def base(self, reference: str, image: Image) -> str:
        """Return its name: BuildKit knows no ids."""
        del image
        return reference

    def push(self, image: str, name: str) -> str:
        """Copy an image to the registry that a name begins with; return the digest that it has there."""
        del image
        done = self._run("push", name)
        if done.returncode:
            raise self._not_pushed(name, done)
        return _digest(done.stdout)

    def _times(self, epoch: int) -> list[str]:
        return [f"--build-arg=SOURCE_DATE_EPOCH={epoch}"]


ENGINES: Mapping[str, type[Engine]] = {each.name: each for each in (Buildah, Podman, Docker)}
"""Name → engine, the one that is taken first where several are installed first."""


def engine(name: str | None = None) -> Engine:
    """Return an engine: the one named, or the first that is installed.

    Raises:
        MissingPart: If it is not installed, or none is.
    """
    for each in [name] if name else ENGINES:
        if shutil.which(each):
            return ENGINES[each]()
    raise MissingPart(
        f"{name} is not installed." if name else "There is nothing here that builds containers.",
        todo="As root: apt-get install buildah, or: dnf install buildah.",
    )


def _image(told: dict[str, Any]) -> Image:
    config = told.get("Config") or {}
    names = {oci: name for name, oci in OTHER_NAMES.items()}
    arch = told.get("Architecture", "")
    variables = (each.partition("=") for each in config.get("Env") or ())
    return Image(
        _id(told["Id"]),
        told.get("Digest") or next(iter(told.get("RepoDigests") or ()), "").partition("@")[2],
        names.get(arch, arch),
        {name: value for name, _, value in variables},
        dict(config.get("Labels") or {}),
        config.get("User") or "",
        tuple(config.get("Entrypoint") or ()),
        tuple(config.get("Cmd") or ()),
        config.get("WorkingDir") or "/",
        tuple(config.get("Volumes") or ()),
    )


def _written(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _id(text: str) -> str:
    found = _ID.search(text)
    if not found:
        raise BuildFailed("The engine did not tell the image's id.", why=shown(text, 200))
    return found[1]


def _digest(text: str) -> str:
    found = _DIGEST.findall(text)
    if not found:
        raise BuildFailed("The engine did not tell the image's digest.", why=shown(text, 200))
    return str(found[-1])


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout or "").strip().splitlines()
    return "\n".join(shown(line, _LONGEST) for line in lines[-_LINES:])
