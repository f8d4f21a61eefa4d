"""A real code-server, and what its processes listen on."""

from __future__ import annotations

import atexit
import functools
import io
import json
import os
import shutil
import socket
import stat
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import psutil
from support import missing

_INSTALLED = Path(sys.prefix) / "lib/code-server"
_LEFT_OUT = (
    *(".map", "/.bin", "/.package-lock.json", "/lib/node"),
    *("/node_modules/@github", "/@microsoft/mxc-sdk", "/@vscode/ripgrep-universal", "/extensions/copilot"),
    "/extensions/mermaid-markdown-features",
)
_EVERYBODY = stat.S_IROTH | stat.S_IXOTH


@functools.cache
def code_server() -> Path:
    """Return the path of the command, for every account: one that runs a node which is in nobody's PATH."""
    command = _INSTALLED / "bin/code-server"
    if not command.exists():
        missing("code-server is not installed", "scripts/test-code-server")
    if all(each.stat().st_mode & _EVERYBODY == _EVERYBODY for each in command.parents):
        return command
    # The checkout lies where accounts can't look.
    copy = Path(tempfile.mkdtemp(prefix="launcher-code-server-", dir="/var/tmp"))
    atexit.register(shutil.rmtree, copy)
    copy.chmod(0o755)
    shutil.copytree(
        _INSTALLED / "node_modules", copy / "node_modules", symlinks=True, copy_function=_linked_or_copied
    )
    program = copy / "node_modules/code-server"
    node = (program / "lib/node").resolve()
    (program / "lib/node").unlink()
    shutil.copy2(node, program / "lib/node")
    command = copy / "code-server"
    command.write_text(f'#!/bin/sh\nexec "{program}/lib/node" "{program}" "$@"\n')
    command.chmod(0o755)
    return command


def _linked_or_copied(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def release(directory: Path, *, arch: str = "amd64") -> Path:
    """Pack it as a release's file, with a node of its own; left out is what is large and not needed to start.

    Args:
        directory: Where the file goes.
        arch: Processors, as releases name them.
    """
    program = _home() / "node_modules/code-server"
    top = f"code-server-{json.loads((program / 'package.json').read_text())['version']}-linux-{arch}"
    archive = directory / f"{top}.tar.gz"
    command = b'#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")/..\nexec "$here/lib/node" "$here" "$@"\n'
    started = tarfile.TarInfo(f"{top}/bin/code-server")
    started.size, started.mode = len(command), 0o755
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(program, top, filter=_of_release)
        tar.add((program / "lib/node").resolve(), f"{top}/lib/node")
        tar.addfile(started, io.BytesIO(command))
        for package in sorted(program.parent.iterdir()):
            if package != program:
                tar.add(package, f"{top}/node_modules/{package.name}", filter=_of_release)
    return archive


def _of_release(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith(_LEFT_OUT) else member


def processes(uid: int) -> list[psutil.Process]:
    """Return the processes of a user's code-servers, with their command lines, without those of terminals."""
    program = f"{_home().resolve()}/node_modules"
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


def _home() -> Path:
    command = code_server()
    return next(each for each in command.parents if (each / "node_modules").is_dir())


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("all")
    except psutil.NoSuchProcess:
        return []
