"""A real code-server, and what its processes listen on."""

from __future__ import annotations

import socket
import stat
import sys
from pathlib import Path
from typing import Any

import psutil
from support import missing

_INSTALLED = Path(sys.prefix) / "lib/code-server"
_EVERYBODY = stat.S_IROTH | stat.S_IXOTH


def code_server() -> Path:
    """Return the path of the command, for every account: one that runs a node which is in nobody's PATH."""
    command = _INSTALLED / "bin/code-server"
    if not command.exists():
        missing("code-server is not installed", "scripts/test-code-server")
    for each in command.parents:
        if each.stat().st_mode & _EVERYBODY != _EVERYBODY:
            missing("accounts can't run code-server", f"as its owner: chmod o+rx {each}")
    return command


def processes(uid: int) -> list[psutil.Process]:
    """Return the processes of a user's code-servers, with their command lines, without those of terminals."""
    program = f"{_INSTALLED.resolve()}/node_modules"
    return [
        each
        for each in psutil.process_iter(["uids", "cmdline"])
        if each.info["uids"]
        and each.info["uids"].real == uid
        and any(word.startswith(program) for word in (each.info["cmdline"] or [])[:4])
    ]


def assert_private(found: list[psutil.Process], directory: Path) -> None:
    """Make sure that processes listen only where no other user can enter."""
    assert found
    ends = [end for process in found for end in _connections(process)]
    inet, unix = (socket.AF_INET, socket.AF_INET6), socket.AF_UNIX
    assert [end for end in ends if end.family in inet and not end.raddr] == []
    names = [Path(str(end.laddr)) for end in ends if end.family == unix and end.laddr]
    assert {name.parent for name in names} == {directory}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "vscode.sock").stat().st_mode & 0o777 == 0o600


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("all")
    except psutil.NoSuchProcess:
        return []
