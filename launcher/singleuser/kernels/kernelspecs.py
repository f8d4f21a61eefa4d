"""Kernelspecs: what `share/jupyter/kernels` directories offer, in any language.

Their form: https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from launcher.singleuser.kernels.interpreters import Place, which
from launcher.singleuser.kernels.venv import is_below

_KERNELS = "share/jupyter/kernels"
_LONGEST = 1024 * 1024
_FOLDERS = 200
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
            with open(f"{directory}/kernel.json", "rb") as file:
                spec = _spec(name, directory, json.loads(file.read(_LONGEST)), folder)
        except (OSError, ValueError):
            continue
        if spec:
            yield spec


def _spec(name: str, directory: str, given: Any, folder: _Folder) -> Spec | None:
    if not isinstance(given, dict):
        return None
    command, settings = given.get("argv"), {}
    if not isinstance(command, list) or not command or not all(isinstance(each, str) for each in command):
        return None
    for key in ("env", "metadata"):
        if isinstance(given.get(key), dict):
            settings[key] = given[key]
    if given.get("interrupt_mode") in ("signal", "message"):
        settings["interrupt_mode"] = given["interrupt_mode"]
    if not all(isinstance(value, str) for value in settings.get("env", {}).values()):
        return None
    # Jupyter would take a bare `python` for the server's own.
    program = command[0] if "/" in command[0] else _program(command[0], directory, folder.environment)
    return Spec(
        name,
        directory,
        (program.replace("{resource_dir}", directory), *command[1:]),
        str(given.get("display_name") or name),
        str(given.get("language") or ""),
        settings,
        folder.environment,
        folder.where,
        folder.chosen,
        folder.loaded,
    )


def _program(name: str, directory: str, environment: dict[str, str]) -> str:
    """Return the program that a kernelspec names without its directory: a Python's is that beside it."""
    beside = f"{directory.removesuffix(f'/{_KERNELS}/{os.path.basename(directory)}')}/bin/{name}"
    if name.startswith(_PYTHONS) and os.access(beside, os.X_OK):
        return beside
    return which((name,), environment) or name
