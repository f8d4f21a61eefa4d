"""VS Code, which has the user's environment, as kernels and terminals do."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from typing import Any

from launcher.singleuser.environment import Environments


def leave_out() -> None:
    """Make jupyter-vscode-proxy a module that is not there: jupyter-server-proxy does without such."""
    sys.modules["jupyter_vscode_proxy"] = None  # type: ignore[assignment]
    warnings.filterwarnings("ignore", message="entry_point .* import of jupyter_vscode_proxy halted")


def use(environments: Environments) -> None:
    """Have jupyter-server-proxy start it in the user's environment, but find it in the server's PATH."""
    try:
        import jupyter_vscode_proxy as proxy  # type: ignore[import-untyped] # noqa: PLC0415 - may be missing
    except ImportError:
        return
    usual = proxy.setup_vscode

    def setup() -> dict[str, Any]:
        found = usual()
        command = found["command"]

        def located(port: int, unix_socket: str) -> list[str]:
            program, *arguments = command(port, unix_socket)
            return [shutil.which(program) or program, *arguments]

        return {**found, "command": located, "environment": lambda: _beside(environments.user)}

    proxy.setup_vscode = setup


def _beside(user: dict[str, str]) -> dict[str, str]:
    """Return the user's environment as jupyter-server-proxy takes it: it adds this to the server's own.

    What only the server has is emptied, since it can't be taken away. The values are templates there.
    """
    wanted = dict.fromkeys(os.environ, "") | user
    return {_literal(name): _literal(value) for name, value in wanted.items()}


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
