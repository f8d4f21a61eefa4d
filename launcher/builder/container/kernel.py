"""What a base's Python lacks to be a kernel: `ipykernel` and what that needs, within all that is there.

Nothing that the base holds becomes another version: what is installed, and what the base's own constraints
say, binds the choice, for which there is no lock. It is noted in the image's SBOM and provenance.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from launcher.builder.container.base import Kernel
from launcher.builder.lock import Lock, Pin
from launcher.builder.lock.resolve import RegistryUnreachable, compile_lock, find_uv
from launcher.builder.progress import Progress
from launcher.builder.target import Target, dotted
from launcher.builder.wheels import Wheel, downloaded
from launcher.errors import BuildFailed

PACKAGE = "ipykernel"
_DATE = "# locked: 2000-01-01\n"
"""What a lock begins with; this one is for once."""


def missing(kernel: Kernel, target: Target, directory: Path, progress: Progress) -> list[Wheel]:
    """Download what a Python lacks to be a kernel.

    Args:
        kernel: The Python.
        target: The machines, and its version.
        directory: Where the wheels go; there is nothing yet.
        progress: Told of it.

    Returns:
        The wheels; none where it is a kernel already.

    Raises:
        BuildFailed: If nothing fits what is there, or it can't be downloaded.
        MissingPart: If uv or pip is not installed.
    """
    if kernel.kernel:
        directory.mkdir()
        return []
    if not kernel.pip:
        raise BuildFailed(
            f"The base's Python has neither {PACKAGE} nor pip.",
            todo=f"Install {PACKAGE} in an image of your own, and name that: --base",
        )
    progress.step(f"Fetching {PACKAGE} for the base's Python {kernel.version}")
    return downloaded(_pins(kernel, target), target, kernel.version, directory)


def _pins(kernel: Kernel, target: Target) -> list[Pin]:
    """Return what is to be installed: what the resolver wants but for what is there."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "constraints.txt").write_text("\n".join(_constraints(kernel)))
        machines = kernel.version, f"{target.arch}-manylinux_{dotted(target.glibc).replace('.', '_')}"
        try:
            compile_lock(
                find_uv(),
                Path(directory),
                "lock",
                ["-"],
                constraints=["constraints.txt"],
                options=["--only-binary", ":all:"],
                stdin=PACKAGE,
                machines=machines,
            )
        except RegistryUnreachable:
            raise
        except BuildFailed as error:
            raise BuildFailed(
                f"No {PACKAGE} fits what the base's Python holds.",
                why=error.why,
                todo=f"Install {PACKAGE} in an image of your own, and name that: --base",
            ) from None
        lock = Lock.parse(_DATE + Path(directory, "lock").read_text(), Path("lock"))
    there = {canonicalize_name(name) for name, _ in kernel.packages}
    return [pin for pin in lock.pins if pin.name not in there]


def _constraints(kernel: Kernel) -> Iterator[str]:
    """Yield what binds the choice, but for what is no requirement of a published version."""
    there = set()
    for name, version in kernel.packages:
        try:
            yield str(Requirement(f"{name}=={Version(version).public}"))
            there.add(canonicalize_name(name))
        except (InvalidRequirement, InvalidVersion):
            continue
    for line in kernel.constraints.splitlines():
        try:
            requirement = Requirement(line.partition(" #")[0].strip())
        except InvalidRequirement:
            continue
        if not requirement.url and canonicalize_name(requirement.name) not in there:
            yield str(requirement)
