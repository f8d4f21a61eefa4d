"""The wheels of an image: chosen for its machines, downloaded, and checked by their hashes.

pip chooses and downloads, so that a site's own indexes, proxies and certificates are those of its `pip.conf`.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import zipfile
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from launcher.builder.cache import locked, remove
from launcher.builder.digest import sha256_of
from launcher.builder.download import download
from launcher.builder.lock import Lock, Pin
from launcher.builder.lock.text import environment_of
from launcher.builder.progress import Progress
from launcher.builder.target import Target, dotted
from launcher.errors import BuildFailed

_AT_ONCE = 4
"""Downloads at a time: more gains little, and asks much of an index."""
_TOGETHER = 12
"""Packages for one run of pip: what is lost at most when a download is interrupted."""
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_LOCK = ".lock"
"""Held by who fetches; beside the wheels."""


class Wheel(NamedTuple):
    """A wheel.

    Attributes:
        path: The file.
        name: The package, in its normal form (PEP 503).
        version: Its version.
        sha256: The file's digest, in hexadecimal digits.
    """

    path: Path
    name: str
    version: str
    sha256: str


def fetch(lock: Lock, target: Target, python_full: str, cache: Path, progress: Progress) -> list[Wheel]:
    """Return the wheels that a lock names for a target, downloading those that are not in the cache.

    Args:
        lock: The lock.
        target: The machines.
        python_full: The full version of the image's Python: `3.11.2`.
        cache: The cache; wheels are kept apart for each lock and target, so that what other locks left plays
            no part in the choice.
        progress: Told of it.

    Raises:
        BuildFailed: If a package has no wheel that fits, or can't be downloaded.
        InvalidFile: If the lock has mistakes.
    """
    pins = lock.for_target(target, python_full)
    key = f"{lock.sha256[:16]}-{target.arch}-glibc{dotted(target.glibc)}-{python_full}"
    directory = cache / "wheels" / key
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / _LOCK, progress, "Waiting: another process fetches the same wheels."):
        wheels = {wheel.name: wheel for wheel in _kept(directory, pins)}
        if len(wheels) < len(pins):
            progress.step("Fetching wheels")
            progress.advance(len(wheels), len(pins))
            missing = [pin for name, pin in sorted(pins.items()) if name not in wheels]
            with contextlib.closing(_fetched(missing, target, python_full, directory)) as runs:
                for fetched in runs:
                    wheels.update((wheel.name, wheel) for wheel in fetched)
                    progress.advance(len(wheels), len(pins))
    return [wheels[name] for name in sorted(wheels)]


def closure(
    wheels: Iterable[Wheel], roots: Iterable[str], leave_out: Iterable[str], arch: str, python_full: str
) -> list[Wheel]:
    """Return the wheels that are needed for some packages, by what their metadata say.

    Args:
        wheels: All there are.
        roots: What is wanted, each as a requirement: `ipykernel`, or with extras.
        leave_out: Packages that are left out, with what only they need.
        arch: The processors.
        python_full: The full version of the image's Python.

    Raises:
        BuildFailed: If something is needed that there is no wheel of.
    """
    by_name = {wheel.name: wheel for wheel in wheels}
    environment = environment_of(arch, python_full)
    left_out = set(leave_out)
    waiting = [(Requirement(root), "what is wanted") for root in roots]
    seen: dict[str, set[str]] = {}
    while waiting:
        requirement, by = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if name in left_out or extras <= seen.get(name, set()):
            continue
        if name not in by_name:
            raise BuildFailed(
                f"{by} needs {name}, and the lock has none for {arch} and Python {python_full}.",
                todo="Make the lock anew: launcher lock",
            )
        new = extras - seen.setdefault(name, set())
        seen[name] |= new
        waiting += [
            (inner, name)
            for inner in requirements_of(by_name[name])
            if not inner.marker or _holds(inner.marker, environment, new)
        ]
    return [wheel for name, wheel in sorted(by_name.items()) if name in seen]


def metadata_of(wheel: Wheel) -> Message:
    """Read a wheel's METADATA: https://packaging.python.org/en/latest/specifications/core-metadata/.

    Raises:
        BuildFailed: If it has none, or those of several packages.
    """
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            (name,) = (name for name in archive.namelist() if _METADATA.fullmatch(name))
            return HeaderParser().parsestr(archive.read(name).decode())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise BuildFailed(f"{wheel.path.name} is no wheel.", why=f"{error}") from None


def requirements_of(wheel: Wheel) -> list[Requirement]:
    """Return what a wheel's metadata say that it needs.

    Raises:
        BuildFailed: If it has no metadata, or if what they say can't be understood.
    """
    try:
        return [Requirement(text) for text in metadata_of(wheel).get_all("Requires-Dist", [])]
    except InvalidRequirement as error:
        why = " ".join(str(error).split("\n", 1)[0].split())
        raise BuildFailed(f"What {wheel.path.name} needs can't be understood.", why=why) from None


def _holds(marker: Marker, environment: dict[str, str], extras: Iterable[str]) -> bool:
    return any(marker.evaluate({**environment, "extra": extra}) for extra in extras)


def _fetched(
    missing: list[Pin], target: Target, python_full: str, directory: Path
) -> Generator[list[Wheel], None, None]:
    """Download wheels into a directory; yield those of each run of pip."""
    # Round and round, so that no run gets all that is big.
    runs = -(-len(missing) // _TOGETHER)
    with (
        tempfile.TemporaryDirectory(dir=directory, prefix=".") as aside,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        works = [
            pool.submit(downloaded, missing[run::runs], target, python_full, Path(aside, str(run)))
            for run in range(runs)
        ]
        try:
            for work in works:
                yield [
                    wheel._replace(path=wheel.path.replace(directory / wheel.path.name))
                    for wheel in work.result()
                ]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _kept(directory: Path, pins: dict[str, Pin]) -> Iterator[Wheel]:
    """Yield the wheels that are there, whole; remove what else is, such as what who was killed left."""
    for path in sorted(directory.iterdir()):
        wheel = _wheel(path)
        pin = pins.get(wheel.name) if wheel else None
        if wheel and pin and wheel.sha256 in pin.hashes:
            yield wheel
        elif path.name != _LOCK:
            # What was killed may have left a child that still writes.
            with contextlib.suppress(OSError):
                remove(path)


def _wheel(path: Path) -> Wheel | None:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        return None
    return Wheel(path, name, str(version), sha256_of(path)) if path.is_file() else None


def downloaded(pins: list[Pin], target: Target, python_full: str, directory: Path) -> list[Wheel]:
    """Download the wheels of packages, one of each, into a new directory.

    Args:
        pins: The packages.
        target: The machines that they are for.
        python_full: The full version of the image's Python: `3.11.2`.
        directory: The directory.

    Raises:
        BuildFailed: If a package has no wheel that fits, or can't be downloaded.
        MissingPart: If pip is not installed.
    """
    paths = download(pins, target, python_full, directory)
    hashes = {pin.name: pin.hashes for pin in pins}
    found = [wheel for path in paths if (wheel := _wheel(path))]
    wheels = [each for each in found if each.sha256 in hashes.get(each.name, ())]
    if len(wheels) != len(paths) or len(wheels) != len(pins):
        raise BuildFailed(
            "What pip downloaded is not what the lock names.",
            why=", ".join(path.name for path in paths),
        )
    return wheels
