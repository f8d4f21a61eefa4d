"""What is known of a base image: its C library, its packages, and the Python that is to be a kernel.

Its files may be anybody's: links in them are followed nowhere else, and its programs run as anybody.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from launcher.builder import worker
from launcher.builder.container.engine import ENGINES, Engine, Image
from launcher.builder.container.rootfs import run
from launcher.builder.progress import Progress
from launcher.builder.sbom import DebianPackage
from launcher.errors import BuildFailed
from launcher.yaml_file import shown

_FAILED = "The base image can't be looked into."
_TIMEOUT = 120.0
_PYTHON = "python3"
_C_LIBRARIES = ("lib/{}-linux-gnu", "usr/lib/{}-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib")
_GLIBC = re.compile(rb"GNU C Library [^\n]{1,200} version 2\.(\d{1,3})")
_LARGEST = 64 << 20
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9+._-]*[A-Za-z0-9+])?")
"""What packages may be called, of Debian and of Python."""
_VERSION = re.compile(r"[A-Za-z0-9.+!_-]{1,100}")
_PLACE = re.compile(r"(/[A-Za-z0-9_.-]+){2,}")
# Of a package that lies in two directories, Python takes the first.
_FACTS = """\
import importlib.metadata, importlib.util, json, os, re, sys, sysconfig
paths = sysconfig.get_paths()
packages = {}
for each in importlib.metadata.distributions():
    name = each.metadata["Name"] or ""
    packages.setdefault(re.sub("[-_.]+", "-", name).lower(), (name, each.version or ""))
files = filter(os.path.isfile, os.environ.get("PIP_CONSTRAINT", "").split())
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "kernel": importlib.util.find_spec("ipykernel") is not None,
    "pip": importlib.util.find_spec("pip") is not None,
    "paths": [*(paths[each] for each in ("purelib", "platlib", "scripts")),
              *(paths["data"] + each for each in ("/share", "/etc"))],
    "packages": sorted(packages.values()),
    "constraints": "\\n".join(open(file, errors="replace").read() for file in files),
}))
"""


class Kernel(NamedTuple):
    """The base's Python that is to be a kernel.

    Attributes:
        version: Its full version: `3.12.3`.
        kernel: Whether it has ipykernel.
        pip: Whether it has pip.
        packages: Name and version of what is installed for it.
        constraints: What `PIP_CONSTRAINT` of the image leads to.
        paths: Where what is installed for it goes.
    """

    version: str
    kernel: bool
    pip: bool
    packages: list[tuple[str, str]]
    constraints: str
    paths: list[str]


class Base(NamedTuple):
    """A base image.

    Attributes:
        glibc: Its C library.
        debian: The packages of Debian that it holds.
        kernel: Its Python, if that is to be a kernel.
    """

    glibc: tuple[int, int]
    debian: list[DebianPackage]
    kernel: Kernel | None


def look(engine: Engine, image: Image, progress: Progress, *, kernel: bool) -> Base:
    """Look into a base image.

    Args:
        engine: Where it is.
        image: The image.
        progress: Told of it.
        kernel: Whether its Python is to be a kernel.

    Raises:
        BuildFailed: If it has no glibc, or then no Python that runs.
    """
    given = (engine.name, image.id, image.arch, image.environment, kernel)
    glibc, debian, facts = worker.call([*engine.inside(), *worker.python(__name__)], given, progress, _FAILED)
    return Base(tuple(glibc), [DebianPackage(*each) for each in debian], facts and Kernel(**facts))


def _look(given: list[Any], progress: Progress) -> tuple[Any, ...]:
    del progress
    name, image, arch, environment, kernel = given
    with ENGINES[name]().files(image) as root:
        return (
            _glibc(root, arch),
            list(_debian(root)),
            _kernel(root, environment) if kernel else None,
        )


def _glibc(root: Path, arch: str) -> tuple[int, int]:
    for directory in _C_LIBRARIES:
        content = _read(root, f"{directory.format(arch)}/libc.so.6")
        if found := _GLIBC.search(content):
            return 2, int(found[1])
    raise BuildFailed(
        "The base image has no glibc.",
        why="The launcher's tools are programs for glibc, which not all systems have: Alpine has musl.",
        todo="Name a base on Debian, Ubuntu, Red Hat or SUSE.",
    )


def _read(root: Path, path: str) -> bytes:
    """Return the content of a file, or nothing if there is none, or it lies elsewhere."""
    try:
        file = (root / path).resolve(strict=True)
        if file.is_relative_to(root.resolve()) and file.is_file():
            with file.open("rb") as stream:
                return stream.read(_LARGEST)
    except (OSError, RuntimeError):  # a link that leads to itself
        pass
    return b""


def _debian(root: Path) -> Iterator[DebianPackage]:
    """Yield what `dpkg-query --show` tells: https://manpages.debian.org/dpkg-query.

    The status file has a paragraph for each package.
    """
    status = _read(root, "var/lib/dpkg/status").decode(errors="replace")
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Version|Architecture|Status): (\S+(?: \S+)*)$", paragraph))
        named_well = _NAME.fullmatch(fields.get("Package", ""))
        if named_well and "Version" in fields and fields.get("Status", "").endswith(" installed"):
            named = (fields["Package"], fields["Version"], fields.get("Architecture", "all"))
            yield DebianPackage(*(shown(each, 200) for each in named))


def _kernel(root: Path, environment: dict[str, str]) -> dict[str, Any]:
    done = run(root, [_PYTHON, "-I", "-c", _FACTS], environment, timeout=_TIMEOUT)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        major, minor, patch = map(int, str(told["version"]).split("."))
        facts = Kernel(
            f"{major}.{minor}.{patch}",
            told["kernel"] is True,
            told["pip"] is True,
            [
                (name, version)
                for name, version in told["packages"]
                if _NAME.fullmatch(name) and _VERSION.fullmatch(version)
            ],
            str(told["constraints"]),
            [each for each in told["paths"] if _PLACE.fullmatch(each) and ".." not in each.split("/")],
        )
    except (ValueError, LookupError, TypeError, RecursionError):
        said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise BuildFailed(
            f"The base's {_PYTHON} does not run, which is to be a kernel.",
            why="\n".join(shown(line, 500) for line in said) or f"It ended with {done.returncode}.",
            todo="Name another base, or say `kernel: false`. For other processors, install qemu-user.",
        ) from None
    return facts._asdict()


if __name__ == "__main__":
    sys.exit(worker.serve(_look, _FAILED))
