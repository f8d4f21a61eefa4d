"""Kernels of R and Julia that no kernelspec speaks of."""

from __future__ import annotations

import os
from collections.abc import Sequence

from launcher.singleuser.kernels.inquiry import Answer, Question
from launcher.singleuser.kernels.interpreters import Place, which
from launcher.singleuser.kernels.kernel import CONNECTION_FILE, Kernel
from launcher.singleuser.kernels.kernelspecs import Spec

_INSTALL_IRKERNEL = (
    """R -e 'to <- Sys.getenv("R_LIBS_USER"); dir.create(to, FALSE, TRUE); chooseCRANmirror(ind = 1); """
    """install.packages("IRkernel", to)'"""
)
_INSTALL_IJULIA = """julia -e 'using Pkg; Pkg.add("IJulia")'"""


def r_question(place: Place, specs: Sequence[Spec]) -> Question | None:
    """Return what to ask the R of the user's PATH, or None if there is none, or one with a kernelspec."""
    program = which(("R",), place.environments.user)
    real = os.path.realpath(program)
    if not program or any(os.path.realpath(each.program) == real for each in specs):
        return None
    return Question.r(program, place.environments.user)


def r_kernel(place: Place, question: Question, answer: Answer) -> Kernel:
    """Return the kernel of an R."""
    program, where = question.command[0], place.where(question.command[0])
    kernel = Kernel(
        "ir",
        f"{f'R {answer.version}'.strip()} · {where}",
        "R",
        (program, "--slave", "-e", "IRkernel::main()", "--args", CONNECTION_FILE),
        place.environments.user,
        answer.resources,
    )
    if answer.problem:
        return kernel.broken(answer.problem)
    if "IRkernel" not in answer.has:
        problem = f"R {answer.version} of {where} has no IRkernel, which notebooks need."
        return kernel._replace(problem=problem, fix=_INSTALL_IRKERNEL, offered=False)
    return kernel


def julia_kernel(place: Place, specs: Sequence[Spec]) -> Kernel | None:
    """Return the Julia of the user's PATH if no kernelspec is Julia's: its kernel comes with one."""
    program = which(("julia",), place.environments.user)
    if not program or any(each.language.lower() == "julia" for each in specs):
        return None
    where = place.where(program)
    return Kernel(
        "julia",
        f"Julia · {where}",
        "julia",
        (program,),
        place.environments.user,
        problem=f"Julia of {where} has no IJulia, which notebooks need.",
        fix=_INSTALL_IJULIA,
        offered=False,
    )
