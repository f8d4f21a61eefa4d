"""Interpreters: which Pythons a session has, and what people call them."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from launcher.singleuser.environment import Environments
from launcher.singleuser.image import Image
from launcher.singleuser.kernels.inquiry import Answer, Question
from launcher.singleuser.kernels.venv import Venv, identity, venvs_below, without_venv
from launcher.view import is_below

_SYSTEM = ("/usr/bin", "/bin")


class Offered(NamedTuple):
    """A view that kernels may have.

    Attributes:
        where: What people call it.
        environment: What a kernel of it sees.
        folders: Its own folders of PATH.
        loaded: Whether the user's environment has it.
    """

    where: str
    environment: dict[str, str]
    folders: list[str]
    loaded: bool


class Place(NamedTuple):
    """A session, as far as the names of its kernels depend on it.

    Attributes:
        environments: What the server and its user's programs see.
        kind: What the environment is: `uenv`, `container` or `host`.
        title: Name of the environment, for people.
        start: The start directory.
    """

    environments: Environments
    kind: str
    title: str
    start: str

    @property
    def host(self) -> str:
        """What people call that which is in no image."""
        return (self.title if self.kind in ("container", "host") else "") or "host"

    def views(self) -> Iterator[Offered]:
        """Yield the views of the user's images, loaded ones first."""
        names = _short_labels(self.environments.images)
        loaded = {(view.mount, view.name) for view in self.environments.views}
        views = [
            view
            for image in self.environments.images
            if not is_below(sys.prefix, image.mount)
            for view in image.views.values()
        ]
        for view in sorted(views, key=lambda view: (view.mount, view.name) not in loaded):
            is_loaded = (view.mount, view.name) in loaded
            seen = without_venv(self.environments.user if is_loaded else self.environments.with_view(view))
            fields = [each for each in seen.get("PATH", "").split(":") if is_below(each, view.mount)]
            yield Offered(f"{names[view.mount]} {view.name}", seen, fields, is_loaded)

    def where(self, program: str) -> str:
        """Return what people call the loaded view, or else the environment, that a program is in."""
        for view in self.environments.views:
            if is_below(program, view.mount):
                return f"{_short_labels(self.environments.images)[view.mount]} {view.name}"
        return self.host


class Interpreter(NamedTuple):
    """A Python.

    Attributes:
        origin: Where it was found: `view`, `venv`, `path`, or `own` for the server's.
        program: Its path.
        environment: What its kernels see.
        where: What people call the place that it is in.
        key: What the name of its kernel is made of.
        main: Whether it is what the user's environment means by `python3`.
        venv: The virtual environment that it is in, if it was found as one.
    """

    origin: str
    program: str
    environment: dict[str, str]
    where: str
    key: str
    main: bool = False
    venv: Venv | None = None

    @property
    def question(self) -> Question | None:
        """What to ask it, or None: what others have made is not run before somebody wants it."""
        if self.venv and not self.main and not self.venv.is_own():
            return None
        return Question.python(self.program, self.environment)

    def looks(self) -> Answer:
        """Return what the files of a virtual environment say."""
        assert self.venv is not None
        if not os.path.exists(self.program):
            return Answer(self.venv.version, problem="it is not there")
        packages = ("ipykernel", "debugpy", "pip")
        has = [each for each in packages if os.path.isdir(f"{self.venv.packages}/{each}")]
        return Answer(self.venv.version, tuple(has))

    def is_system(self) -> bool:
        """Tell whether it is the operating system's."""
        return self.origin == "path" and os.path.dirname(self.program) in _SYSTEM


def interpreters(place: Place) -> list[Interpreter]:
    """Return the Pythons of a session, the user's first, the server's own last."""
    user = without_venv(place.environments.user)
    active = [place.environments.user.get("VIRTUAL_ENV", "")]
    usual = which(("python3", "python"), user)
    if any(is_below(usual, image.mount) for image in place.environments.images):
        usual = ""
    elif usual and Venv.at(root := os.path.dirname(os.path.dirname(usual))):
        # It comes first in PATH without having been activated.
        active.append(root)
        usual = ""
    return [
        *_of_views(place),
        *_of_venvs(place, active),
        *_of_path(place, usual),
        own(place.environments),
    ]


def which(names: Iterable[str], environment: dict[str, str]) -> str:
    """Return the first program of these names that an environment's PATH leads to, or an empty text."""
    folders = [each for each in environment.get("PATH", "").split(":") if each.startswith("/")]
    return _first_of(names, folders)


def _first_of(names: Iterable[str], folders: list[str]) -> str:
    for name in names:
        for folder in folders:
            path = f"{folder}/{name}"
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return ""


def _of_views(place: Place) -> Iterator[Interpreter]:
    for view in place.views():
        if program := _first_of(("python3", "python"), view.folders):
            key = f"python {view.where}"
            yield Interpreter("view", program, view.environment, view.where, key, main=view.loaded)


def _of_venvs(place: Place, active: list[str]) -> Iterator[Interpreter]:
    found = [venv for path in active if path.startswith("/") and (venv := Venv.at(path.rstrip("/")))]
    number_active = len(found)
    seen = {os.path.realpath(venv.path) for venv in found}
    found += [venv for venv in venvs_below(place.start) if os.path.realpath(venv.path) not in seen]
    servers = os.path.realpath(sys.prefix)
    names = [_called(venv.path) for venv in found]
    times = Counter(names)
    for index, (venv, name) in enumerate(zip(found, names, strict=True)):
        if os.path.realpath(venv.path) == servers:
            continue
        if times[name] > 1:
            is_in_start = is_below(venv.path, place.start)
            name = os.path.relpath(venv.path, place.start) if is_in_start else venv.path  # noqa: PLW2901
        stranger = venv.stranger()
        yield Interpreter(
            "venv",
            venv.program,
            venv.environment(place.environments),
            f"venv {name} (of {stranger})" if stranger else f"venv {name}",
            f"python venv {venv.path}",
            main=index < number_active,
            venv=venv,
        )


def _of_path(place: Place, program: str) -> Iterator[Interpreter]:
    if program and identity(program) != identity(sys.executable):
        environment = without_venv(place.environments.user)
        yield Interpreter("path", program, environment, place.host, f"python {place.host}", main=True)


def own(environments: Environments) -> Interpreter:
    """Return the server's own Python."""
    environment = without_venv(environments.bare)
    for name in ("PYTHONPATH", "PYTHONHOME"):
        environment.pop(name, None)
    environment["PATH"] = ":".join(filter(None, (f"{sys.prefix}/bin", environment.get("PATH", ""))))
    return Interpreter("own", sys.executable, environment, "JupyterLab", "python JupyterLab")


def _called(path: str) -> str:
    """Return the name of a virtual environment: that of its project where it has the usual one."""
    name = os.path.basename(path)
    return os.path.basename(os.path.dirname(path)) or name if name in (".venv", "venv") else name


def _short_labels(images: list[Image]) -> dict[str, str]:
    """Return what people call images: mount → name, with tag and system only where it needs them."""
    short = {
        image.mount: image.name
        if image.label.startswith(("/", "."))
        else re.split("[:@%]", image.label.rpartition("::")[2], maxsplit=1)[0] or image.name
        for image in images
    }
    times = Counter(short.values())
    return {
        image.mount: short[image.mount] if times[short[image.mount]] == 1 else image.label for image in images
    }
