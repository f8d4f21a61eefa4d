"""Downloads of wheels by pip: what is chosen for which machines, and what it means when there is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from launcher.builder.lock import Pin
from launcher.builder.target import Target, dotted
from launcher.errors import BuildFailed, LauncherError, MissingPart

_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
"""The oldest glibc 2 that wheels are built for: https://peps.python.org/pep-0600/."""
_NEWEST_GLIBC = 60
"""Newer than all that there is."""
_FORMER_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_NONE_FITS = re.compile(r"No matching distribution found for (\S+?)==")
_PAGE = r"Could not fetch URL \S+: "
# That a page is not there (404, 410) is how an index says that it does not have a package.
_ABSENT = re.compile(rf"(?m)^{_PAGE}(?:404|410) .*")
_NOT_REACHED = re.compile(
    rf"(?m)^(?!WARNING: Retrying).*(?:{_PAGE}(?!404 |410 )|Max retries exceeded|Connection broken"
    r"|Read timed out|Network is unreachable|Failed to (?:connect|establish)|Unable to fetch"
    r"|HTTP error \d+ while getting|is not a trusted or secure host).*"
)


_REFUSED = re.compile(r"\b(401|403|407) ")


def download(pins: list[Pin], target: Target, python_full: str, directory: Path) -> list[Path]:
    """Download the wheels of packages, one of each.

    Args:
        pins: The packages.
        target: The machines that they are for.
        python_full: The full version of the image's Python: `3.11.2`.
        directory: A new directory for them.

    Returns:
        The files.

    Raises:
        BuildFailed: If a package has no wheel that fits, or can't be downloaded.
        MissingPart: If pip is not installed.
    """
    names = platforms(target.arch, target.glibc)
    if not names:
        oldest = dotted((2, _OLDEST_GLIBC[target.arch]))
        raise BuildFailed(
            f"There are no wheels for {target.arch} with glibc {dotted(target.glibc)}.",
            why=f"The oldest that wheels are built for is {oldest}.",
        )
    directory.mkdir()
    done = _pip(pins, names, python_full, directory)
    if done.returncode:
        raise _failure(done, pins, target, python_full, directory)
    return sorted(directory.glob("*.whl"))


def platforms(arch: str, glibc: tuple[int, int]) -> list[str]:
    """Return the platforms whose wheels run on machines, the newest first."""
    names = []
    for minor in range(glibc[1], _OLDEST_GLIBC[arch] - 1, -1):
        names.append(f"manylinux_2_{minor}_{arch}")
        if minor in _FORMER_NAMES:
            names.append(f"{_FORMER_NAMES[minor]}_{arch}")
    return names


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
    # Only so verbose pip tells why it skipped an index.
    command = [sys.executable, "-I", "-m", "pip", "download", "-vv", "--no-input", "--progress-bar", "off"]
    command += ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--implementation", "cp"]
    command += ["--python-version", python_full, "--abi", f"cp{major}{minor}"]
    for platform in platforms:
        command += ["--platform", platform]
    command += ["--dest", str(directory), "--requirement", str(listed)]
    environment = {**os.environ, "LC_ALL": "C", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", check=False
    )


def _failure(
    done: subprocess.CompletedProcess[str],
    pins: list[Pin],
    target: Target,
    python_full: str,
    directory: Path,
) -> LauncherError:
    """Return what to say of a run of pip that failed."""
    if "No module named pip" in done.stderr:
        return MissingPart(
            "pip is not installed.", todo="Install it: pip install 'firecrest-launcher[build]'"
        )
    said = f"{done.stdout}\n{done.stderr}"
    if (skipped := _NOT_REACHED.search(said)) and _REFUSED.search(skipped[0]):
        return BuildFailed(
            "The index of packages refuses to answer.",
            why=_quoted(skipped[0]),
            todo="Give pip what opens it: in pip.conf, or in ~/.netrc.",
        )
    if skipped:
        return BuildFailed(
            "The index of packages can't be reached.",
            why=_quoted(skipped[0]),
            todo="What is downloaded already is kept: build again once it can, or name an index in pip.conf.",
        )
    errors = re.findall(r"(?m)^ERROR: .*(?:\n +\S.*)*", done.stderr)
    why = _quoted((errors or [done.stderr.strip()])[0])
    found = _NONE_FITS.search(said)
    pin = next((each for each in pins if found and each.name == canonicalize_name(found[1])), None)
    if not pin:
        return BuildFailed("Not all wheels could be downloaded.", why=why)
    if absent := _ABSENT.search(said):
        why = _quoted(absent[0])
    newer = _newer_glibc(pin, target, python_full, directory)
    means = (
        f"Build for machines with that: --glibc {newer}"
        if newer
        else "Build one, and name its directory as find-links in pip.conf"
    )
    machines = f"{target.arch}, glibc {dotted(target.glibc)} and Python {python_full}"
    return BuildFailed(
        f"There is no wheel of {pin.name} {pin.version} for {machines}.",
        why=f"The one there is needs glibc {newer}." if newer else why,
        todo=f"{means}; or want another version in requirements.in, and run: launcher lock",
    )


def _quoted(line: str) -> str:
    return f"pip says: {line.removeprefix('ERROR: ').strip()[:800]}"


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
