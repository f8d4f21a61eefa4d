"""What uenv brings to a cluster: stand-ins of its programs, and of what its Slurm plugin does."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from slurm import spank
from support import program

_SOURCES = Path(__file__).parent
_WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")


def build_programs(directory: Path) -> None:
    """Put squashfs-mount, set-uid root, and uenv into a directory."""
    _compile(directory / "squashfs-mount", "squashfs_mount.c", "mounts.c").chmod(0o4755)
    put_uenv(directory / "uenv")


def put_uenv(path: Path) -> None:
    """Put uenv somewhere; it seeks squashfs-mount beside it."""
    path.write_bytes((_SOURCES / "uenv.sh").read_bytes())
    path.chmod(0o755)


def build_plugins(directory: Path) -> str:
    """Build the SPANK plugins, of uenv and of the container engine.

    Args:
        directory: Where they go; all accounts can read it.

    Returns:
        What Slurm's plugstack.conf says of them.
    """
    options = spank.build(directory)
    sources = ("plugin.c", "mounts.c", "container.c", "plan.c")
    plugin = _compile(directory / "uenv.so", "-shared", "-fPIC", *sources)
    script = shutil.copy(_SOURCES / "edf.py", directory)
    room = directory / "container"
    room.mkdir()
    return f"required {options}\nrequired {plugin} {sys.executable} {script} {room}\n"


class Registry:
    """What the uenv of tests pulls images from: a directory, which jobs know by the variable UENV_REGISTRY.

    Args:
        directory: Where it is; all accounts can read and write it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o777)
        directory.chmod(0o777)
        self._listing = directory / "listing"
        self._listing.touch()
        self._pulled = directory / "pulled"
        self._pulled.touch()
        self._pulled.chmod(0o666)

    def add(self, label: str, image: Path, *, uarch: str = "zen2", system: str = "sandbox") -> str:
        """Add an image under a label, name/version:tag; return its SHA-256."""
        sha = hashlib.sha256(image.read_bytes()).hexdigest()
        for file in image.parent.glob(f"{image.name}*"):
            target = self.directory / f"{sha}.squashfs{file.name.removeprefix(image.name)}"
            shutil.copyfile(file, target)
        name, _, rest = label.partition("/")
        version, _, tag = rest.partition(":")
        with self._listing.open("a") as listing:
            listing.write(f"{name} {version} {tag} {uarch} {system} {sha} 2026-01-02\n")
        return sha

    def is_like(self, *, pause: float = 0.0, down: bool = False, full: bool = False) -> None:
        """Pause so many seconds between two tenths of an image; be down; let the disk be full."""
        (self.directory / "pause").write_text(f"{pause}\n")
        for name, wanted in {"down": down, "full": full}.items():
            (self.directory / name).touch() if wanted else (self.directory / name).unlink(missing_ok=True)

    @property
    def pulled(self) -> list[str]:
        """Labels of the images that were pulled, in order."""
        return self._pulled.read_text().split()


def _compile(target: Path, *arguments: str) -> Path:
    subprocess.run([program("gcc"), *_WARNINGS, "-o", target, *arguments], cwd=_SOURCES, check=True)
    return target
