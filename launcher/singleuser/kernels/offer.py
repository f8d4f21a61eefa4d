"""The kernels that a session offers, and why others can't run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from shlex import quote
from typing import NamedTuple

from launcher.singleuser.kernels.inquiry import Answer, Question
from launcher.singleuser.kernels.interpreters import Interpreter, Place, interpreters, own, which
from launcher.singleuser.kernels.kernel import CONNECTION_FILE, Kernel
from launcher.singleuser.kernels.kernelspecs import Spec, kernelspecs
from launcher.singleuser.kernels.languages import julia_kernel, r_kernel, r_question
from launcher.singleuser.kernels.names import MAIN, names, slug
from launcher.singleuser.kernels.venv import COLLECTION, Venv, identity


def servers_kernel(place: Place, resources: str = "") -> Kernel:
    """Return the kernel of the server's own Python, as the main one: it runs whatever else there is.

    Args:
        place: The session.
        resources: The directory of the logo of Python kernels.
    """
    python = own(place.environments)
    (alias,) = names([python.key])
    return _python(place, python, None)._replace(name=MAIN, alias=alias, resources=resources)


class Found(NamedTuple):
    """What a session has, before anything of it was run.

    Attributes:
        place: The session.
        pythons: Its Pythons, the server's own last.
        specs: Its kernelspecs.
        r: What to ask an R that has no kernelspec, or None.
    """

    place: Place
    pythons: list[Interpreter]
    specs: list[Spec]
    r: Question | None

    @classmethod
    def of(cls, place: Place, usual: Sequence[str]) -> Found:
        """Return what a session has.

        Args:
            place: The session.
            usual: Directories in which Jupyter looks for kernelspecs by itself.
        """
        specs = kernelspecs(place, usual)
        return cls(place, interpreters(place), specs, r_question(place, specs))

    def questions(self) -> list[Question]:
        """Return what to ask before kernels are made of it."""
        asked = [each.question for each in self.pythons]
        return [question for question in (*asked, self.r) if question]

    def kernels(self, answer: Callable[[Question], Answer | None], resources: str = "") -> list[Kernel]:
        """Return the kernels, the user's Pythons first, the server's own last.

        Args:
            answer: Returns the answer to a question, or None if it has not been heard yet.
            resources: The directory of the logo of Python kernels.
        """
        made = [
            _python(self.place, each, answer(each.question) if each.question else each.looks())._replace(
                resources=resources
            )
            for each in self.pythons
        ]
        main = _main(self.place, self.pythons, made)
        keys = names(each.key for each in self.pythons)
        made = [kernel._replace(name=name) for kernel, name in zip(made, keys, strict=True)]
        made[main] = made[main]._replace(name=MAIN, alias=keys[main])
        others = [*self._of_specs(made), *self._of_others(answer)]
        taken = names((each.name for each in others), {MAIN, *keys})
        named = [kernel._replace(name=name) for kernel, name in zip(others, taken, strict=True)]
        return [*made[:-1], *named, made[-1]]

    def _of_specs(self, made: Sequence[Kernel]) -> Iterator[Kernel]:
        pythons = {identity(each.program): each for each in reversed(made) if not each.problem}
        for spec in self.specs:
            python = pythons.get(identity(spec.program)) if spec.is_ipykernel() else None
            # What somebody has put there by hand is in their notebooks.
            if python is None or (spec.chosen and spec.name.lower() != MAIN):
                yield _of_spec(self.place, spec, python)

    def _of_others(self, answer: Callable[[Question], Answer | None]) -> Iterator[Kernel]:
        if self.r and (said := answer(self.r)):
            yield r_kernel(self.place, self.r, said)
        if julia := julia_kernel(self.place, self.specs):
            yield julia


def _python(place: Place, python: Interpreter, answer: Answer | None) -> Kernel:
    version = f"Python {answer.version}".strip() if answer else "Python"
    kernel = Kernel(
        "",
        f"{version} · {python.where}",
        "python",
        (python.program, "-m", "ipykernel_launcher", "-f", CONNECTION_FILE),
        python.environment,
    )
    if answer is None:
        return kernel
    if answer.problem:
        return kernel.broken(answer.problem)
    if "ipykernel" not in answer.has:
        return kernel._replace(
            title=f"{kernel.title} (no ipykernel)",
            problem=f"{version} of {python.where} has no ipykernel, which notebooks need.",
            fix=_fix(place, python, answer.has),
            offered=place.kind == "container" or not python.is_system(),
        )
    return kernel._replace(settings={"metadata": {"debugger": "debugpy" in answer.has}})


def _fix(place: Place, python: Interpreter, has: Sequence[str]) -> str:
    program = quote(python.program)
    if python.venv is None:
        # Where it is, most can't write; a virtual environment of it appears by itself.
        made = os.path.join(place.start, COLLECTION, slug(python.where))
        # Debian's Python, which many containers have, brings no other pip for it; the one that is there does.
        bare = "--without-pip " if "pip" in has and "ensurepip" not in has else ""
        make = f"{program} -m venv {bare}--system-site-packages {quote(made)}"
        return f"{make} && {quote(f'{made}/bin/python')} -m pip install ipykernel"
    if python.question is None:
        # It is not theirs to change, nor is its program to be run without need.
        return ""
    # A view's PYTHONPATH would make pip take the view's packages for those of the virtual environment.
    alone = f"{program} -I" if place.environments.user.get("PYTHONPATH") else program
    if "pip" in has:
        return f"{alone} -m pip install ipykernel"
    if uv := which(("uv",), place.environments.user):
        return f"{quote(uv)} pip install --python {program} ipykernel"
    if "ensurepip" in has:
        return f"{alone} -m ensurepip && {alone} -m pip install ipykernel"
    others = f"{quote(sys.executable)} -m pip --python {program} install ipykernel"
    return others if find_spec("pip") else ""


def _main(place: Place, pythons: Sequence[Interpreter], made: Sequence[Kernel]) -> int:
    """Return which one is the user's main Python."""
    for index, (python, kernel) in enumerate(zip(pythons, made, strict=True)):
        if python.main and kernel.offered:
            if not kernel.problem:
                return index
            if python.origin == "path" and place.kind != "container":
                # A notebook runs better in JupyterLab's Python than not at all.
                continue
            # What the advice leads to takes its place.
            helped = _helped(python, pythons, made)
            return index if helped is None else helped
    return len(pythons) - 1


def _helped(python: Interpreter, pythons: Sequence[Interpreter], made: Sequence[Kernel]) -> int | None:
    """Return which one is the user's own virtual environment of a Python, and can run."""
    same = os.path.realpath(python.program)
    for index, (each, kernel) in enumerate(zip(pythons, made, strict=True)):
        is_able = kernel.offered and not kernel.problem
        if each.venv and is_able and each.venv.is_own() and each.venv.base == same:
            return index
    return None


def _of_spec(place: Place, spec: Spec, python: Kernel | None) -> Kernel:
    environment = spec.environment
    if python:
        environment = python.environment
    elif spec.is_ipykernel() and (venv := Venv.at(os.path.dirname(os.path.dirname(spec.program)))):
        environment = venv.environment(place.environments)
    is_there = os.path.isfile(spec.program)
    return Kernel(
        spec.name.lower() if spec.loaded else f"{spec.name} {spec.where}",
        f"{spec.title} · {spec.where}" if spec.where else spec.title,
        spec.language,
        spec.command,
        environment,
        spec.directory,
        spec.settings,
        problem="" if is_there else f"{spec.program} is not there in this session.",
        offered=is_there,
    )
