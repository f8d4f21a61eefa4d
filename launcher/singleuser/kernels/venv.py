"""Virtual environments: where they are, and what their kernels see."""

from __future__ import annotations

import os
import pwd
import re
import stat
import time
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from launcher.singleuser.environment import Environments
from launcher.singleuser.file_system import read
from launcher.view import is_below

COLLECTION = ".venvs"
"""A directory below the start directory whose entries are looked at, and where new ones are proposed."""

_COLLECTIONS = (COLLECTION, ".virtualenvs", "venvs", "virtualenvs", "envs")
_USUAL = (".venv", "venv")
_ENTRIES = 5000
_LONGEST = 65536
_VERSION = re.compile(r"[0-9]+\.[0-9]+")


class Venv(NamedTuple):
    """A virtual environment, as its `pyvenv.cfg` describes it.

    Attributes:
        path: Its directory.
        home: The directory of the Python that it was made with.
        version: That Python's version, such as `3.12`, or empty.
    """

    path: str
    home: str
    version: str

    @classmethod
    def at(cls, path: str) -> Venv | None:
        """Return the virtual environment of a directory, or None if there is none."""
        try:
            text = read(f"{path}/pyvenv.cfg", _LONGEST).decode(errors="replace")
        except OSError:
            return None
        if "\0" in text:
            return None
        values = {
            key.strip().lower(): value.strip()
            for key, _, value in (each.partition("=") for each in text.splitlines())
        }
        # The second is what virtualenv and uv write.
        version = _VERSION.match(values.get("version") or values.get("version_info", ""))
        return cls(path, values.get("home", ""), version[0] if version else "")

    @property
    def program(self) -> str:
        """Its Python."""
        return f"{self.path}/bin/python"

    @property
    def packages(self) -> str:
        """Where its own packages are."""
        return f"{self.path}/lib/python{self.version}/site-packages"

    @property
    def base(self) -> str:
        """The Python that it was made with."""
        return os.path.realpath(f"{self.home}/python{self.version}")

    def is_own(self) -> bool:
        """Tell whether nobody but its user, or root, could have made it."""
        try:
            return not self._strangers()
        except OSError:
            return False

    def stranger(self) -> str:
        """Return the name of another user who has made it, or empty."""
        try:
            number = min(self._strangers(), default=None)
        except OSError:
            return ""
        if number is None:
            return ""
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return str(number)

    def _strangers(self) -> set[int]:
        parts = (self.path, f"{self.path}/bin", self.program)
        return {os.lstat(each).st_uid for each in parts} - {0, os.getuid()}

    def environment(self, environments: Environments) -> dict[str, str]:
        """Return the user's environment with this active, and its packages before those of any view."""
        changed = without_venv(environments.user)
        changed["VIRTUAL_ENV"] = self.path
        changed["PATH"] = ":".join(filter(None, (f"{self.path}/bin", changed.get("PATH", ""))))
        changed.pop("PYTHONHOME", None)
        fields = changed.pop("PYTHONPATH", "").split(":")
        if not self._has_python_of(environments):
            # What a view adds was built for the view's Python.
            users = environments.bare.get("PYTHONPATH", "").split(":")
            fields = [field for field in fields if field in users]
        fields = [field for field in fields if field not in ("", self.packages)]
        if fields:
            changed["PYTHONPATH"] = ":".join((self.packages, *fields))
        return changed

    def _has_python_of(self, environments: Environments) -> bool:
        """Tell whether it was made with the Python of a loaded view's image, and that is still the same."""
        return any(is_below(self.home, view.mount) for view in environments.views) and os.path.exists(
            f"{self.home}/python{self.version}"
        )


def without_venv(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment in which no virtual environment is active."""
    left = dict(environment)
    if active := left.pop("VIRTUAL_ENV", ""):
        left["PATH"] = ":".join(
            each for each in left.get("PATH", "").split(":") if each != f"{active.rstrip('/')}/bin"
        )
    return left


def identity(program: str) -> str:
    """Return what is the same for all paths of a Python: its virtual environment, or else itself."""
    root = os.path.dirname(os.path.dirname(program))
    return os.path.realpath(root if os.path.exists(f"{root}/pyvenv.cfg") else program)


def venvs_below(start: str, *, most: int = 600, seconds: float = 2.0) -> list[Venv]:
    """Return the virtual environments in the usual places below a directory; no link is followed.

    Args:
        start: The directory.
        most: How many places to look at.
        seconds: How long to look.
    """
    end = time.monotonic() + seconds
    found = []
    for path in islice(_places(start), most):
        if _is_directory(path) and (venv := Venv.at(path)):
            found.append(venv)
        if time.monotonic() > end:
            break
    return found


def _places(start: str) -> Iterator[str]:
    # What is most likely comes first: the limits must not cost it.
    for name in sorted(_folders(start), key=lambda name: (name not in (*_USUAL, *_COLLECTIONS), name)):
        path = os.path.join(start, name)
        yield path
        if name in _COLLECTIONS:
            yield from (f"{path}/{each}" for each in sorted(_folders(path)))
        elif not name.startswith("."):
            yield from (f"{path}/{each}" for each in _USUAL)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [each.name for each in islice(entries, _ENTRIES) if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
