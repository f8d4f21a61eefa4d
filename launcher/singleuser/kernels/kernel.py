"""A kernel: how it is started, what it sees, and why it may not run."""

from __future__ import annotations

from typing import Any, NamedTuple

CONNECTION_FILE = "{connection_file}"
"""Stands in a kernel's command for what Jupyter puts there."""


class Kernel(NamedTuple):
    """A kernel.

    Attributes:
        name: What Jupyter and notebooks call it.
        title: What people call it.
        language: Its language.
        command: What starts it.
        environment: What it sees.
        resources: The directory of its logo, or empty.
        settings: What else stands in its kernelspec.
        problem: Why it can't run, one sentence, or empty.
        fix: The command that helps, or empty.
        offered: Whether JupyterLab shows it.
        alias: Another name that it answers to, or empty.
    """

    name: str
    title: str
    language: str
    command: tuple[str, ...]
    environment: dict[str, str]
    resources: str = ""
    settings: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    problem: str = ""
    fix: str = ""
    offered: bool = True
    alias: str = ""

    @property
    def program(self) -> str:
        """What is run."""
        return self.command[0]

    @property
    def advice(self) -> str:
        """Why it can't run, and what helps, in short lines: JupyterLab does not break them."""
        fix = self.fix.replace(" && ", " &&\n")
        return f"{self.problem}\nIn a terminal of this session:\n\n{fix}" if fix else self.problem

    def broken(self, why: str) -> Kernel:
        """Return it as one whose program does not run."""
        return self._replace(problem=f"{self.program} does not run: {why.rstrip('.')}.", offered=False)
