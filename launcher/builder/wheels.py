"""The wheels of an image: chosen for its machines, downloaded, and checked by their hashes.

pip chooses and downloads, so that a site's own indexes, proxies and certificates are those of its `pip.conf`.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from launcher.builder.cache import remove
from launcher.builder.lock import Lock, Pin
from launcher.builder.lock.text import environment_of
from launcher.builder.progress import Progress
from launcher.builder.target import Target
from launcher.errors import BuildFailed, LauncherError, MissingPart

_AT_ONCE = 4
"""Downloads at a time: more gains little, and asks much of an index."""
_TOGETHER = 12
"""Packages for one run of pip: what is lost at most when a download is interrupted."""
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
"""The oldest glibc 2 that wheels are built for: https://peps.python.org/pep-0600/."""
_NEWEST_GLIBC = 60
"""Newer than all that there is."""
_FORMER_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_NONE_FITS = re.compile(r"No matching distribution found for (\S+?)==")
_NOT_REACHED = re.compile(r"connection broken|Could not fetch URL|Network is unreachable|Read timed out")


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
    major, minor = target.glibc
    directory = cache / "wheels" / f"{lock.sha256[:16]}-{target.arch}-glibc{major}.{minor}-{python_full}"
    directory.mkdir(parents=True, exist_ok=True)
    wheels = {wheel.name: wheel for wheel in _kept(directory, pins)}
    missing = [pin for name, pin in sorted(pins.items()) if name not in wheels]
    if missing:
        progress.step("Fetching wheels")
        progress.advance(len(wheels), len(pins))
        # Round and round, so that no run gets all that is big.
        runs = -(-len(missing) // _TOGETHER)
        with (
            tempfile.TemporaryDirectory(dir=directory, prefix=".") as aside,
            ThreadPoolExecutor(_AT_ONCE) as pool,
        ):
            works = [
                pool.submit(_download, missing[run::runs], target, python_full, Path(aside, str(run)))
                for run in range(runs)
            ]
            try:
                for work in works:
                    for wheel in work.result():
                        kept = wheel.path.replace(directory / wheel.path.name)
                        wheels[wheel.name] = wheel._replace(path=kept)
                    progress.advance(len(wheels), len(pins))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
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


def requirements_of(wheel: Wheel) -> Iterator[Requirement]:
    """Yield what a wheel's metadata say that it needs.

    Raises:
        BuildFailed: If it has no metadata.
    """
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            (name,) = (name for name in archive.namelist() if _METADATA.fullmatch(name))
            metadata = HeaderParser().parsestr(archive.read(name).decode())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise BuildFailed(f"{wheel.path.name} is no wheel.", why=f"{error}") from None
    for text in metadata.get_all("Requires-Dist", []):
        yield Requirement(text)


def _holds(marker: Marker, environment: dict[str, str], extras: Iterable[str]) -> bool:
    return any(marker.evaluate({**environment, "extra": extra}) for extra in extras)


def platforms(arch: str, glibc: tuple[int, int]) -> list[str]:
    """Return the platforms whose wheels run on machines, the newest first."""
    names = []
    for minor in range(glibc[1], _OLDEST_GLIBC[arch] - 1, -1):
        names.append(f"manylinux_2_{minor}_{arch}")
        if minor in _FORMER_NAMES:
            names.append(f"{_FORMER_NAMES[minor]}_{arch}")
    return names


def _kept(directory: Path, pins: dict[str, Pin]) -> Iterator[Wheel]:
    """Yield the wheels that are there, whole; remove what else is."""
    for path in sorted(directory.glob("*.whl")):
        wheel = _wheel(path)
        pin = pins.get(wheel.name)
        if pin and wheel.sha256 in pin.hashes:
            yield wheel
        else:
            remove(path)


def _wheel(path: Path) -> Wheel:
    name, version, _, _ = parse_wheel_filename(path.name)
    with path.open("rb") as stream:
        return Wheel(path, name, str(version), hashlib.file_digest(stream, "sha256").hexdigest())


def _download(pins: list[Pin], target: Target, python_full: str, directory: Path) -> list[Wheel]:
    directory.mkdir()
    done = _pip(pins, platforms(target.arch, target.glibc), python_full, directory)
    if done.returncode:
        raise _failure(done.stderr, pins, target, python_full, directory)
    wheels = [_wheel(path) for path in directory.glob("*.whl")]
    hashes = {pin.name: pin.hashes for pin in pins}
    wrong = [each for each in wheels if each.sha256 not in hashes.get(each.name, ())]
    if wrong or len(wheels) != len(pins):
        raise BuildFailed(
            "What pip downloaded is not what the lock names.",
            why=", ".join(sorted(each.path.name for each in wrong or wheels)),
        )
    return wheels


def _pip(
    pins: list[Pin], platforms: list[str], python_full: str, directory: Path
) -> subprocess.CompletedProcess[str]:
    # No markers: pip would look at them for the machine that it runs on.
    lines = [
        f"{pin.name}=={pin.version} " + " ".join(f"--hash=sha256:{each}" for each in sorted(pin.hashes))
        for pin in pins
    ]
    listed = directory / "requirements.txt"
    listed.write_text("\n".join(lines))
    major, minor, _ = python_full.split(".")
    command = [sys.executable, "-I", "-m", "pip", "download", "--no-input", "--progress-bar", "off"]
    command += ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--implementation", "cp"]
    command += ["--python-version", python_full, "--abi", f"cp{major}{minor}"]
    for platform in platforms:
        command += ["--platform", platform]
    command += ["--dest", str(directory), "--requirement", str(listed)]
    environment = {**os.environ, "LC_ALL": "C", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _failure(said: str, pins: list[Pin], target: Target, python_full: str, directory: Path) -> LauncherError:
    """Return what to say of a run of pip that failed."""
    if "No module named pip" in said:
        return MissingPart(
            "pip is not installed.", todo="Install it: pip install 'firecrest-launcher[build]'"
        )
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    why = "pip says: " + " ".join((errors or [said.strip()])[:1])[:500]
    if _NOT_REACHED.search(said):
        return BuildFailed(
            "The index of packages can't be reached.",
            why=why,
            todo="What is downloaded already is kept: build again once it can, or name an index in pip.conf.",
        )
    found = _NONE_FITS.search(said)
    pin = next((each for each in pins if found and each.name == canonicalize_name(found[1])), None)
    if not pin:
        return BuildFailed("Not all wheels could be downloaded.", why=why)
    machines = f"{target.arch}, glibc {target.glibc[0]}.{target.glibc[1]} and Python {python_full}"
    newer = _newer_glibc(pin, target, python_full, directory)
    means = (
        f"Build for machines with that: --glibc {newer}"
        if newer
        else "Build one, and name its directory as find-links in pip.conf"
    )
    return BuildFailed(
        f"There is no wheel of {pin.name} {pin.version} for {machines}.",
        why=f"The one there is needs glibc {newer}." if newer else why,
        todo=f"{means}; or want another version in requirements.in, and run: launcher lock",
    )


def _newer_glibc(pin: Pin, target: Target, python_full: str, directory: Path) -> str:
    """Return the oldest glibc that a package's wheels need, or nothing if there is no wheel at all."""
    aside = directory / "newer"
    aside.mkdir()
    newest = platforms(target.arch, (2, _NEWEST_GLIBC))
    _pip([pin], newest[::-1], python_full, aside)
    for wheel in aside.glob("*.whl"):
        tags = parse_wheel_filename(wheel.name)[3]
        needs = [int(found[1]) for tag in tags if (found := re.search(r"_2_(\d+)_", tag.platform))]
        if needs and min(needs) > target.glibc[1]:
            return f"2.{min(needs)}"
    return ""
