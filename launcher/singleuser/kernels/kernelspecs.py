"""Kernelspecs: what `share/jupyter/kernels` directories offer, in any language.

Their form: https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from launcher.singleuser.file_system import read
from launcher.singleuser.kernels.interpreters import Place, which
from launcher.view import is_below

_KERNELS = "share/jupyter/kernels"
_LONGEST = 1024 * 1024
_FOLDERS = 200
_DEEPEST = 20
_PYTHONS = ("python", "python3")


class Spec(NamedTuple):
    """A kernelspec.

    Attributes:
        name: The name of its directory.
        directory: Its directory.
        command: What starts the kernel, the program as an absolute path if there is one.
        title: Its display name.
        language: Its language.
        settings: What else Jupyter takes from `kernel.json`.
        environment: What the kernel sees, without the kernelspec's own variables.
        where: What people call the place that it is in; empty if it is a person's own.
        chosen: Whether somebody has put it there by hand.
        loaded: Whether it is in the user's environment, not only in a view that is not loaded.
    """

    name: str
    directory: str
    command: tuple[str, ...]
    title: str
    language: str
    settings: dict[str, Any]
    environment: dict[str, str]
    where: str
    chosen: bool
    loaded: bool

    @property
    def program(self) -> str:
        """What is run."""
        return self.command[0]

    def is_ipykernel(self) -> bool:
        """Tell whether it runs a Python's `ipykernel`."""
        return any(each in ("ipykernel", "ipykernel_launcher") for each in self.command)


class _Folder(NamedTuple):
    path: str
    environment: dict[str, str]
    where: str
    chosen: bool = False
    loaded: bool = True


def kernelspecs(place: Place, usual: Iterable[str]) -> list[Spec]:
    """Return the kernelspecs of a session; each directory counts once, where it is found first.

    Args:
        place: The session.
        usual: Directories in which Jupyter looks by itself.
    """
    seen = set()
    found: list[Spec] = []
    for folder in _folders(place, usual):
        real = os.path.realpath(folder.path)
        if real not in seen:
            seen.add(real)
            found += _specs(folder)
    return found


def _folders(place: Place, usual: Iterable[str]) -> Iterator[_Folder]:
    user = place.environments.user
    for view in place.views():
        for folder in view.folders:
            yield _Folder(_beside(folder), view.environment, view.where, loaded=view.loaded)
    for folder in filter(None, user.get("PATH", "").split(":")):
        yield _Folder(_beside(folder), user, place.where(folder))
    for folder in filter(None, user.get("JUPYTER_PATH", "").split(":")):
        yield _Folder(f"{folder}/kernels", user, "")
    home = user.get("HOME") or "/"
    for folder in usual:
        yield _Folder(folder, user, "", chosen=is_below(folder, home))


def _beside(folder: str) -> str:
    return os.path.join(os.path.dirname(folder.rstrip("/")), _KERNELS)


def _specs(folder: _Folder) -> Iterator[Spec]:
    try:
        with os.scandir(folder.path) as entries:
            names = sorted(each.name for each in entries)[:_FOLDERS]
    except OSError:
        return
    for name in names:
        directory = f"{folder.path}/{name}"
        try:
            spec = _spec(name, directory, json.loads(read(f"{directory}/kernel.json", _LONGEST)), folder)
        except (OSError, ValueError, RecursionError):
            continue
        if spec:
            yield spec


def _spec(name: str, directory: str, given: Any, folder: _Folder) -> Spec | None:
    if not isinstance(given, dict):
        return None
    command = given.get("argv")
    settings: dict[str, Any] = {}
    title, language = given.get("display_name") or name, given.get("language") or ""
    if not isinstance(command, list) or not command or not all(map(_is_text, (*command, title, language))):
        return None
    if isinstance(given.get("metadata"), dict) and _is_plain(given["metadata"]):
        settings["metadata"] = given["metadata"]
    if isinstance(variables := given.get("env"), dict):
        if not all(map(_is_text, (*variables, *variables.values()))) or any(
            "=" in each for each in variables
        ):
            return None
        settings["env"] = variables
    if given.get("interrupt_mode") in ("signal", "message"):
        settings["interrupt_mode"] = given["interrupt_mode"]
    # Jupyter would take a bare `python` for the server's own.
    program = command[0] if "/" in command[0] else _program(command[0], directory, folder.environment)
    return Spec(
        name,
        directory,
        (program.replace("{resource_dir}", directory), *command[1:]),
        title,
        language,
        settings,
        folder.environment,
        folder.where,
        folder.chosen,
        folder.loaded,
    )


def _is_text(value: Any) -> bool:
    """Tell whether something is a text that a program can be given and a browser can show."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Tell whether every browser can read something as JSON."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return depth < _DEEPEST and all(_is_plain(each, depth + 1) for each in inner)
    return True


def _program(name: str, directory: str, environment: dict[str, str]) -> str:
    """Return the program that a kernelspec names without its directory: a Python's is that beside it."""
    beside = f"{directory.removesuffix(f'/{_KERNELS}/{os.path.basename(directory)}')}/bin/{name}"
    if name.startswith(_PYTHONS) and os.access(beside, os.X_OK):
        return beside
    return which((name,), environment) or name
