"""What another user of the same node tries: every port, socket, file and process of somebody's session.

It is run as that user by an interpreter that has nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MESSAGE = b"a stranger was here"
"""What is sent wherever anything can be sent."""
_PATIENCE = 3.0
_PEERS = {b"PULL": b"PUSH", b"ROUTER": b"DEALER", b"XPUB": b"SUB", b"PUB": b"SUB", b"REP": b"REQ"}
_TRACE, _TAKE_DESCRIPTOR = 0x4206, 438
"""PTRACE_SEIZE of ptrace(2), which stops nobody, and the number of pidfd_getfd(2)."""
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Tried(NamedTuple):
    """One thing that was tried.

    Attributes:
        what: What it was.
        got: What was got, or nothing.
    """

    what: str
    got: str


def tried_by(python: str, account: Any, tasks: dict[str, Any]) -> list[Tried]:
    """Have a user try all of some tasks.

    Args:
        python: A Python that the user can run.
        account: The user, with `uid` and `gid`.
        tasks: The arguments of `attempts`.
    """
    done = subprocess.run(
        [python, "-I", "-c", Path(__file__).read_text()],
        input=json.dumps(tasks),
        capture_output=True,
        check=False,
        text=True,
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [Tried(*each) for each in json.loads(done.stdout)]


def attempts(
    *,
    tcp: list[tuple[str, int]],
    udp: list[tuple[str, int]],
    sockets: list[tuple[str, int]],
    paths: list[str],
    pids: list[int],
    keys: list[str],
    web: dict[str, Any],
) -> Iterator[Tried]:
    """Try everything as the user who runs this.

    Args:
        tcp: Addresses and ports.
        udp: The same.
        sockets: Names of unix sockets (those of abstract ones begin with @) and their kinds.
        paths: Files and directories.
        pids: Processes.
        keys: Files that hold the key of a kernel.
        web: The `server` (address and port), `tokens` to show there, and `paths` for each of GET, POST and
            websocket.
    """
    for path in map(Path, paths):
        yield from _try_path(path)
    for pid in pids:
        yield from _try_process(pid)
    key = next(filter(None, map(_key, keys)), b"a guess")
    for name, kind in sockets:
        address = f"\0{name[1:]}" if name.startswith("@") else name
        yield Tried(f"talk to {name}", _talk(socket.AF_UNIX, kind, address, key) or "")
    for host, port in udp:
        said = _talk(_family(host), socket.SOCK_DGRAM, (host, port), key)
        yield Tried(f"talk to UDP {host} {port}", (said or "").removeprefix("connected"))
    for host, port in tcp:
        said = _talk(_family(host), socket.SOCK_STREAM, (host, port), key)
        yield Tried(f"talk ZMQ to {host} {port}", (said or "").removeprefix("connected"))
        yield Tried(f"talk HTTP to {host} {port}", _http((host, port), "GET", "/", _PATIENCE))
    for token in web["tokens"]:
        yield from _try_web(web, token)


def _try_path(path: Path) -> Iterator[Tried]:
    if _got(lambda: "yes" if path.is_dir() else ""):
        yield Tried(f"list {path}", _got(lambda: _listed(path)))
        yield Tried(f"write into {path}", "may" if os.access(path, os.W_OK | os.X_OK) else "")
    else:
        yield Tried(f"read {path}", _got(lambda: _read(path)))
        yield Tried(f"write {path}", "may" if os.access(path, os.W_OK) else "")


def _try_process(pid: int) -> Iterator[Tried]:
    process = Path(f"/proc/{pid}")
    for name in ("environ", "maps", "auxv", "io", "mem", "fd/0"):
        yield Tried(f"read {process / name}", _got(lambda name=name: _read(process / name)))
    for name in ("fd", "fdinfo", "map_files", "cwd", "root"):
        yield Tried(f"list {process / name}", _got(lambda name=name: _listed(process / name)))
    yield Tried(f"signal {pid}", _got(lambda: str(os.kill(pid, 0))))
    library = ctypes.CDLL(None)
    yield Tried(f"trace {pid}", "attached" if _traced(library, pid) else "")
    yield Tried(f"take a descriptor of {pid}", _got(lambda: _taken(library, pid)))


def _traced(library: Any, pid: int) -> bool:
    # Whoever is traced stops at each signal until its tracer has ended.
    tracer = os.fork()
    if not tracer:
        os._exit(library.ptrace(_TRACE, pid, None, None))
    return os.waitpid(tracer, 0)[1] == 0


def _taken(library: Any, pid: int) -> str:
    process = os.pidfd_open(pid)
    taken = library.syscall(_TAKE_DESCRIPTOR, process, 0, 0)
    os.close(process)
    return f"{os.close(taken)}" if taken >= 0 else ""


def _listed(path: Path) -> str:
    return " ".join([".", *(each.name for each in path.iterdir())])


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return repr(os.read(descriptor, 100))
    except OSError as error:
        return f"opened, but {error}"
    finally:
        os.close(descriptor)


def _key(path: str) -> bytes:
    with contextlib.suppress(OSError):
        return str(json.loads(Path(path).read_text())["key"]).encode()
    return b""


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _talk(family: int, kind: int, address: Any, key: bytes) -> str | None:
    """Return what was said, after `connected`; or nothing if there was no connection."""
    with socket.socket(family, kind) as peer:
        peer.settimeout(_PATIENCE)
        try:
            peer.connect(address)
        except OSError:
            return None
        with contextlib.suppress(OSError, IndexError, KeyError):
            if kind == socket.SOCK_STREAM:
                return f"connected {_ask_kernel(peer, key)}"
            peer.send(MESSAGE)
            return f"connected {peer.recv(1000)!r}"
        return "connected"


def _ask_kernel(peer: socket.socket, key: bytes) -> str:
    """Say hello as ZMTP 3.0 has it, without authentication, and ask a kernel what it is.

    Returns:
        The peer's kind of socket, and what it answered.
    """
    peer.sendall(b"\xff" + b"\0" * 8 + b"\x7f\3\0" + b"NULL".ljust(20, b"\0") + b"\0" * 32)
    if not _exactly(peer, 10).startswith(b"\xff\0"):
        raise OSError("no ZMQ")
    _exactly(peer, 54)
    kind = _exactly(peer, _exactly(peer, 2)[1]).partition(b"Socket-Type")[2]
    kind = kind[4 : 4 + kind[3]]
    ready = b"\5READY\x0bSocket-Type" + struct.pack(">I", len(_PEERS[kind])) + _PEERS[kind]
    peer.sendall(bytes((4, len(ready))) + ready)
    parts = {b"PULL": [b"\0" * 16, MESSAGE, MESSAGE], b"ROUTER": _question(key)}.get(kind, [b"\1"])
    for part in parts:
        peer.sendall(struct.pack(">BQ", 2 | (part is not parts[-1]), len(part)) + part)
    answer = b""
    with contextlib.suppress(OSError):
        answer = peer.recv(4096)
    return f"{kind.decode()} {'kernel_info_reply' if b'kernel_info_reply' in answer else answer!r}"


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def _question(key: bytes) -> list[bytes]:
    """Return Jupyter's message that asks a kernel what it is."""
    header = {"msg_id": "1", "msg_type": "kernel_info_request", "session": "1", "username": ""}
    parts = [json.dumps(each).encode() for each in (header | {"version": "5.3"}, {}, {}, {})]
    signature = hmac.new(key, b"".join(parts), hashlib.sha256).hexdigest().encode()
    return [b"<IDS|MSG>", signature, *parts]


def _try_web(web: dict[str, Any], token: str) -> Iterator[Tried]:
    shown = {"Authorization": f"token {token}"} if token else {}
    for what, paths in web["paths"].items():
        method, more = ("GET", _UPGRADE) if what == "websocket" else (what, {})
        for path in paths:
            got = _http(web["server"], method, path, 10 * _PATIENCE, shown | more)
            yield Tried(f"{what} {path}{' with a token' if token else ''}", got)


def _http(
    server: tuple[str, int], method: str, path: str, timeout: float, headers: dict[str, str] | None = None
) -> str:
    connection = http.client.HTTPConnection(*server, timeout=timeout)
    try:
        connection.request(method, path, headers=headers or {})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    return str(status) if status < 300 else ""


def _got(get: Callable[[], str]) -> str:
    with contextlib.suppress(OSError):
        return get()
    return ""


if __name__ == "__main__":
    json.dump(list(attempts(**json.load(sys.stdin))), sys.stdout)
