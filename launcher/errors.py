"""Everything that this project raises for people to read.

::

    LauncherError                1
    ├── UsageError               2   the command line or its surroundings
    ├── InvalidFile              3   a cluster file or a batch template
    ├── InvalidOptions           4   what a user asked for
    ├── MissingPart              5   a program or package that is not installed
    ├── SandboxError             6   a part of the sandbox did not start, or ended
    ├── CheckFailed              7   a step of a check did not hold
    ├── FirecrestError           8   FirecREST refused, or did not answer
    │   └── JobRejected          9   the scheduler's own refusal, in its words
    ├── BuildFailed             10   an image could not be built
    └── LaunchError             19   on the compute node:
        ├── HubUnreachable      20   no answer from the hub
        ├── LaunchRefused       21   the hub no longer wants this job
        ├── PreflightFailed     22   the session would be useless
        ├── NoPort              23   no port or address to listen on
        └── ServerFailed        24   JupyterLab is missing or did not start

A batch script that can't pull its image ends with 25.

Standard library only: the compute node's half uses it before anything else is imported.
"""

from __future__ import annotations


class LauncherError(Exception):
    """What happened, why, and what to do next.

    Args:
        what: One sentence: what happened.
        why: The cause, if it is known.
        todo: What the reader can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.todo = todo

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.todo) if part)


class UsageError(LauncherError):
    """The command line, or the place it was run in, is not right."""

    exit_code = 2


class InvalidFile(LauncherError):
    """A cluster file or a batch template has mistakes; `problems` lists all of them."""

    exit_code = 3

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidOptions(LauncherError):
    """What a user asked for can't be had.

    Args:
        fields: Field name → what is wrong with it; the empty name stands for the whole form.
    """

    exit_code = 4

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        super().__init__("; ".join(self.lines))

    @property
    def lines(self) -> list[str]:
        """What is wrong, a line for each field."""
        return [f"{name}: {text}" if name else text for name, text in self.fields.items()]


class MissingPart(LauncherError):
    """A program or a package that is needed is not installed."""

    exit_code = 5


class SandboxError(LauncherError):
    """A part of the sandbox did not start, or ended by itself."""

    exit_code = 6


class CheckFailed(LauncherError):
    """A step of a check did not hold."""

    exit_code = 7


class FirecrestError(LauncherError):
    """FirecREST refused a request, or did not answer.

    Args:
        status: The HTTP status, or None if there was no answer.
        may_have_happened: Whether what was asked for may have been carried out all the same.
    """

    exit_code = 8

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        todo: str = "",
        status: int | None = None,
        may_have_happened: bool = False,
    ) -> None:
        super().__init__(what, why=why, todo=todo)
        self.status = status
        self.may_have_happened = may_have_happened


class JobRejected(FirecrestError):
    """The scheduler refused the job; `why` holds its own words."""

    exit_code = 9


class BuildFailed(LauncherError):
    """An image could not be built."""

    exit_code = 10


class LaunchError(LauncherError):
    """A launch ended on the compute node before its session was usable."""

    exit_code = 19


class HubUnreachable(LaunchError):
    """The hub gave no usable answer for as long as it was asked."""

    exit_code = 20


class LaunchRefused(LaunchError):
    """The hub said in its own words that this job is not wanted (any more)."""

    exit_code = 21


class PreflightFailed(LaunchError):
    """Something on the node would make the session useless."""

    exit_code = 22


class NoPort(LaunchError):
    """There is no port, or no allowed address, to listen on."""

    exit_code = 23


class ServerFailed(LaunchError):
    """JupyterLab is missing on the node, or it did not start."""

    exit_code = 24
