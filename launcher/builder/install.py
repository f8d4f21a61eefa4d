"""Wheels become the files of a virtual environment, the same wherever and by whomever it is made."""

from __future__ import annotations

import base64
import hashlib
import io
import multiprocessing
import os
import warnings
import zipfile
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import installer
from installer.destinations import SchemeDictionaryDestination
from installer.records import Hash, RecordEntry
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import Scheme

from launcher.builder.progress import Progress
from launcher.builder.wheels import Wheel
from launcher.errors import BuildFailed

if TYPE_CHECKING:
    from installer.scripts import ScriptSection

_UMASK = 0o022


def make_environment(prefix: Path, home: str, python: str, version: str) -> None:
    """Make an empty virtual environment: https://docs.python.org/3/library/site.html.

    Args:
        prefix: Where it is made; nothing is there yet.
        home: The directory of the interpreter in the image: `/user-tools/python/bin`.
        python: The interpreter as seen from the environment's `bin`: `../../../python/bin/python3.11`.
        version: Its full version.
    """
    programs = prefix / "bin"
    programs.mkdir(parents=True)
    settings = prefix / "pyvenv.cfg"
    settings.write_text(f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n")
    (programs / "python").symlink_to(python)
    for name in ("python3", Path(python).name):
        (programs / name).symlink_to("python")
    for path, mode in ((prefix, 0o755), (programs, 0o755), (settings, 0o644)):
        path.chmod(mode)


def install(wheels: Collection[Wheel], prefix: Path, in_image: str, python: str, progress: Progress) -> None:
    """Install wheels into a virtual environment.

    Args:
        wheels: The wheels; what each says of its own files is checked, too.
        prefix: Where the environment is made.
        in_image: Where it will be: `/user-tools/env/jupyter`.
        python: Version of its Python: `3.11`.
        progress: Told how many of the wheels are installed.

    Raises:
        BuildFailed: If a wheel is not what it says, or two hold the same file.
    """
    # The biggest first: none is left over at the end.
    by_size = sorted(wheels, key=lambda wheel: wheel.path.stat().st_size, reverse=True)
    with ProcessPoolExecutor(
        mp_context=multiprocessing.get_context("fork"), initializer=os.umask, initargs=(_UMASK,)
    ) as pool:
        works = [pool.submit(_install, wheel, prefix, in_image, python) for wheel in by_size]
        try:
            for done, work in enumerate(as_completed(works)):
                work.result()
                progress.advance(done + 1, len(works))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _install(wheel: Wheel, prefix: Path, in_image: str, python: str) -> None:
    destination = _Destination(prefix, in_image, python, wheel.name)
    try:
        with WheelFile.open(wheel.path) as source, warnings.catch_warnings():
            # Byte code in a wheel is left out, which is as it should be.
            warnings.simplefilter("ignore", RuntimeWarning)
            source.validate_record()
            installer.install(source, destination, {"INSTALLER": b"launcher\n"})
    except FileExistsError as error:
        what = f"{wheel.path.name} holds a file that another wheel holds, too."
        raise BuildFailed(what, why=f"It is {error.filename}.") from None
    # installer's own errors are ValueErrors, its checks of entry points are assertions.
    except (ValueError, AssertionError, OSError, zipfile.BadZipFile) as error:
        raise BuildFailed(f"{wheel.path.name} can't be installed.", why=f"{error}") from None


class _Destination(SchemeDictionaryDestination):
    """Where a wheel's files go; its programs see nothing of `PYTHONPATH` and the like."""

    def __init__(self, prefix: Path, in_image: str, python: str, name: str) -> None:
        library = str(prefix / f"lib/python{python}/site-packages")
        super().__init__(
            scheme_dict={
                "purelib": library,
                "platlib": library,
                "scripts": str(prefix / "bin"),
                "data": str(prefix),
                "headers": str(prefix / f"include/site/python{python}/{name}"),
            },
            interpreter=f"{in_image}/bin/python -I",
            script_kind="posix",
        )

    def write_script(self, name: str, module: str, attr: str, section: ScriptSection) -> RecordEntry:
        """Write a program; installer itself would take the blank in its first line for a part of a path."""
        _, data = Script(name, module, attr, section).generate("python", "posix")
        text = f"#!{self.interpreter}\n".encode() + data.partition(b"\n")[2]
        return self.write_to_fs(Scheme("scripts"), name, io.BytesIO(text), is_executable=True)

    def write_to_fs(self, scheme: Scheme, path: str, stream: BinaryIO, is_executable: bool) -> RecordEntry:  # noqa: FBT001 - installer's own
        """Write a file, while others make files in the same directories."""
        target = self._path_with_destdir(scheme, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = stream.read()
        mode = 0o755 if is_executable else 0o644
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123 - new ones only
            file.write(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return RecordEntry(path, Hash("sha256", digest), len(data))
