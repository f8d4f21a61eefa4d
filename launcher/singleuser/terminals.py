"""Terminals, which have the user's environment."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Mapping
from typing import Any

from jupyter_server_terminals.terminalmanager import TerminalManager

from launcher.singleuser.environment import Environments, added

_NO_SHELLS = ("false", "nologin")


class Terminals(TerminalManager):
    """Opens terminals in the user's environment."""

    environments: Environments

    def make_term_env(self, *arguments: Any, **kwargs: Any) -> dict[str, str]:
        """Return a terminal's environment: the user's, with what makes it a terminal."""
        return self.environments.user | added(super().make_term_env(*arguments, **kwargs))


def shell(environment: Mapping[str, str]) -> str:
    """Return the path of a user's shell.

    That is `SHELL`, as for `uenv start`, or that of the account, where this node, or the container, has it;
    else Bash, or any.

    Args:
        environment: The user's environment.
    """
    wanted = [environment.get("SHELL", "")]
    with contextlib.suppress(KeyError):
        wanted.append(pwd.getpwuid(os.getuid()).pw_shell)
    for each in [*wanted, "bash"]:
        found = shutil.which(each, path=environment.get("PATH"))
        if found and os.path.basename(found) not in _NO_SHELLS:
            return found
    return "/bin/sh"
