"""`/filesystem/{system}/ops/…`: looking at files, as the account that asks."""

import ast
import asyncio
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from launcher.sandbox.accounts import Account, as_account
from launcher.sandbox.faults import Answer
from launcher.sandbox.gateway.answers import Call, Refusal

MAX_OUTPUT = 5 * 1024 * 1024
"""Bytes of a command's output that are taken."""

_TIMEOUT = 5
_STATUS = {
    "No such file or directory": 404,
    "Permission denied": 403,
    "Operation not permitted": 403,
}
_STAT_FIELDS = ("mode", "ino", "dev", "nlink", "uid", "gid", "size", "atime", "mtime", "ctime")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LS_LINE = re.compile(
    r"(?P<type>\S)(?P<permissions>\S+) +\d+ +(?P<user>\S+) +(?P<group>\S+) +(?P<size>\d+) +"
    rf"(?P<modified>[\dT:-]+) (?P<name>{_QUOTED})(?: -> (?P<target>{_QUOTED}))?"
)
_LS_FOLDER = re.compile(rf"(?P<folder>{_QUOTED}):")


class Files:
    """The files of the system.

    What may be read is the kernel's business: each call runs a command as its account.

    Args:
        system: The system's name.
        file_systems: Directories outside which nothing is looked at.
    """

    def __init__(self, system: str, file_systems: Sequence[Path]) -> None:
        self._system = system
        self._file_systems = file_systems

    async def head(self, call: Call) -> Answer:
        """`GET …/ops/head`: the first `lines` or `bytes`, or with `skipTrailing` all but the last."""
        unit, count = _amount(call)
        skip = call.flag("skipTrailing")
        option = [f"--{unit}={'-' if skip else ''}{count}"]
        content = await _run(call.account, "head", *option, "--", self._path(call))
        return _content(content, unit, start=0, end=-count if skip else count)

    async def tail(self, call: Call) -> Answer:
        """`GET …/ops/tail`: the last `lines` or `bytes`, or with `skipHeading` all but the first."""
        unit, count = _amount(call)
        skip = call.flag("skipHeading")
        # tail counts the first line that is shown from one.
        option = [f"--{unit}={f'+{count + 1}' if skip else count}"]
        content = await _run(call.account, "tail", *option, "--", self._path(call))
        asked = "lines" in call.query or "bytes" in call.query
        return _content(content, unit, start=count if skip or not asked else -count, end=-1)

    async def view(self, call: Call) -> Answer:
        """`GET …/ops/view`: the first 5 MiB."""
        option = f"--bytes={MAX_OUTPUT}"
        return Answer(200, {"output": await _run(call.account, "head", option, "--", self._path(call))})

    async def stat(self, call: Call) -> Answer:
        """`GET …/ops/stat`: what `os.stat` says, with `dereference` of what a link points to."""
        follow = ["--dereference"] if call.flag("dereference") else []
        output = await _run(
            call.account, "stat", *follow, "--format=%f %i %d %h %u %g %s %X %Y %Z", "--", self._path(call)
        )
        mode, *numbers = output.split()
        values = (int(mode, 16), *map(int, numbers))
        return Answer(200, {"output": dict(zip(_STAT_FIELDS, values, strict=True))})

    async def ls(self, call: Call) -> Answer:
        """`GET …/ops/ls`: `showHidden`, `recursive`, `numericUid`, `dereference`."""
        switches = {
            "showHidden": "--almost-all",
            "recursive": "--recursive",
            "numericUid": "--numeric-uid-gid",
            "dereference": "--dereference",
        }
        options = [option for name, option in switches.items() if call.flag(name)]
        style = ["-l", "--quoting-style=c", "--time-style=+%Y-%m-%dT%H:%M:%S"]
        output = await _run(call.account, "ls", *style, *options, "--", self._path(call))
        return Answer(200, {"output": _listed(output)})

    def _path(self, call: Call) -> str:
        path = call.query.get("path")
        if path is None:
            raise Refusal(400, "All filesystem requests require a path or source_path parameter.")
        if "\0" in path or not any(
            PurePosixPath(normpath(path)).is_relative_to(root) for root in self._file_systems
        ):
            raise Refusal(
                400,
                f"The provided path ({path}) does not match any of the defined filesystem paths "
                f"for the requested system ({self._system}).",
            )
        return path


def _amount(call: Call) -> tuple[str, int]:
    lines, octets = call.number("lines"), call.number("bytes")
    if lines is not None and octets is not None:
        raise Refusal(400, "Only one of `bytes` or `lines` can be specified.")
    return ("bytes", octets) if octets is not None else ("lines", 10 if lines is None else lines)


def _content(content: str, unit: str, *, start: int, end: int) -> Answer:
    output = {"content": content, "contentType": unit, "startPosition": start, "endPosition": end}
    return Answer(200, {"output": output})


def _listed(output: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    root = prefix = None
    for line in output.splitlines():
        if folder := _LS_FOLDER.fullmatch(line):
            path = PurePosixPath(_unquoted(folder["folder"]))
            root = root or path
            prefix = path.relative_to(root)
        elif entry := _LS_LINE.fullmatch(line):
            name = _unquoted(entry["name"])
            entries.append(
                {
                    "name": str(prefix / name) if prefix else name,
                    "type": entry["type"],
                    "linkTarget": entry["target"] and _unquoted(entry["target"]),
                    "user": entry["user"],
                    "group": entry["group"],
                    "permissions": entry["permissions"],
                    "lastModified": entry["modified"],
                    "size": entry["size"],
                }
            )
    return entries


def _unquoted(name: str) -> str:
    # A C string of ASCII characters is a Python one, too; with LC_ALL=C, ls escapes all others.
    octets: bytes = ast.literal_eval(f"b{name}")
    return octets.decode(errors="replace")


async def _run(account: Account, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *as_account(account, command, environment={"LC_ALL": "C"}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
    )
    assert process.stdout
    assert process.stderr
    try:
        async with asyncio.timeout(_TIMEOUT):
            output, errors = await asyncio.gather(_taken(process.stdout), _taken(process.stderr))
            exit_status = await process.wait()
    except TimeoutError:
        raise Refusal(408, "Remote process failed with exit status:124") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if exit_status:
        words = errors.strip()
        status = next((status for known, status in _STATUS.items() if known in words), 500)
        raise Refusal(
            status, f"Remote process failed with exit status:{exit_status} and error message:{words}"
        )
    return output


async def _taken(stream: asyncio.StreamReader) -> str:
    try:
        await stream.readexactly(MAX_OUTPUT + 1)
    except asyncio.IncompleteReadError as everything:
        return everything.partial.decode(errors="replace")
    raise Refusal(500, "Command output exceeded buffer limit.")
