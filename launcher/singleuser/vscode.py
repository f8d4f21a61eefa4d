"""VS Code in the browser: code-server, which has the user's environment, as kernels and terminals do.

It authenticates nobody: JupyterLab's server does, before it hands on. So its sockets lie where no other user
of the node can enter, and it listens on no port.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import warnings
from typing import Any

from launcher.singleuser.session import Session

_PROGRAM = "code-server"

_ENV = "/usr/bin/env"
"""Takes away what only the server has: jupyter-server-proxy starts programs with all of it, and emptied it is
not gone. With an empty SSL_CERT_FILE OpenSSL reads no file of certificates at all."""

_QUIET = """\
{
    "telemetry.telemetryLevel": "off",
    "remote.autoForwardPorts": false
}
"""
"""The first settings of a user. The program's own option leaves the telemetry of extensions on, and none but
a setting keeps it from telling of each port that any of its user's programs on the node opens."""

_CONFIGURATION = "auth: none\n"
"""In the place of the file in the user's home, which may turn on a port, a password or a certificate."""


def use(session: Session) -> None:
    """Have jupyter-server-proxy offer it, if the cluster allows it and it is in the server's PATH.

    Otherwise there is neither a tile nor `/vscode/`.

    Args:
        session: The session.
    """
    program = shutil.which(_PROGRAM)
    if not session.answer.vscode or _refused() or not program:
        _leave_out()
        return
    try:
        import jupyter_vscode_proxy as proxy  # type: ignore[import-untyped] # noqa: PLC0415 - may be missing
    except ImportError:
        return
    usual = proxy.setup_vscode

    def setup() -> dict[str, Any]:
        return {
            **usual(),
            "command": lambda: [_literal(each) for each in _command(session, program)],
            "environment": lambda: {
                _literal(name): _literal(value) for name, value in _environment(session).items()
            },
            "unix_socket": f"{session.directory}/vscode.sock",
        }

    proxy.setup_vscode = setup


def _refused() -> bool:
    """Tell whether jupyter-vscode-proxy is asked for another program; say why that is not started."""
    wanted = os.environ.get("CODE_EXECUTABLE") or _PROGRAM
    if wanted == _PROGRAM:
        return False
    print(
        f"launcher-singleuser: CODE_EXECUTABLE is {wanted!r}: there is no VS Code, for only {_PROGRAM} "
        "is known to keep other users of the node out",
        file=sys.stderr,
        flush=True,
    )
    return True


def _leave_out() -> None:
    """Make jupyter-vscode-proxy a module that is not there: jupyter-server-proxy does without such."""
    sys.modules["jupyter_vscode_proxy"] = None  # type: ignore[assignment]
    warnings.filterwarnings("ignore", message="entry_point .* import of jupyter_vscode_proxy halted")


def _command(session: Session, program: str) -> list[str]:
    """Return the command line, once the files that it names are there."""
    data, configuration = _data(session), f"{session.directory}/code-server.yaml"
    # Where a home takes nothing, the program itself says so best.
    with contextlib.suppress(OSError):
        os.makedirs(data, 0o700, exist_ok=True)
        os.makedirs(f"{data}/User", 0o700, exist_ok=True)
        _write_new(f"{data}/User/settings.json", _QUIET)
    with contextlib.suppress(FileExistsError):
        _write_new(configuration, _CONFIGURATION)
    return [
        _ENV,
        *(word for name in sorted(os.environ.keys() - _environment(session)) for word in ("-u", name)),
        program,
        *("--config", configuration),
        *("--auth", "none"),
        *("--socket", f"{session.directory}/vscode.sock", "--socket-mode", "0600"),
        *("--session-socket", f"{session.directory}/vscode-session.sock"),
        *("--user-data-dir", data),
        *("--extensions-dir", session.environments.user.get("CODE_EXTENSIONSDIR") or f"{data}/extensions"),
        "--disable-telemetry",
        "--disable-update-check",
        "--disable-getting-started-override",
        # Its own way to ports would be one round the cluster file's `proxy`.
        "--disable-proxy",
        "--ignore-last-opened",
        session.answer.start_directory,
    ]


def _data(session: Session) -> str:
    """Return the directory of settings and extensions: homes are shared between clusters and processors."""
    user = session.environments.user
    base = user.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):
        base = f"{user.get('HOME', '')}/.local/share"
    cluster = re.sub(r"[^A-Za-z0-9_-]+", "-", session.answer.cluster_name)
    return f"{base}/code-server/{'-'.join(filter(None, (cluster, os.uname().machine)))}"


def _environment(session: Session) -> dict[str, str]:
    """Return what jupyter-server-proxy adds to the server's own environment: all of the user's."""
    user = session.environments.user
    if session.answer.proxy:
        prefix = user.get("JUPYTERHUB_SERVICE_PREFIX", "/")
        user = {"VSCODE_PROXY_URI": f"{prefix}proxy/{{{{port}}}}/"} | user
    return {
        **user,
        # Where VS Code makes sockets for terminals and git, and never removes some.
        "XDG_RUNTIME_DIR": session.directory,
        # Started from a command line: else extensions get the PATH of a log-in shell's profiles.
        "VSCODE_CLI": "1",
        # Started from a terminal of another VS Code, it would open a tab there.
        "VSCODE_IPC_HOOK_CLI": "",
    }


def _write_new(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _literal(text: str) -> str:
    """Return what is the text where jupyter-server-proxy fills in a template."""
    return text.replace("{", "{{").replace("}", "}}")
