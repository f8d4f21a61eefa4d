"""All that a user has on this machine: ports, sockets, files in shared places, and processes."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SHARED = ("/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp", "/run", "/var/lock")
"""Directories that all users of a node have in common."""
_LISTENS = {"tcp": "0A", "udp": "07"}
_KINDS = {"0001": socket.SOCK_STREAM, "0002": socket.SOCK_DGRAM, "0005": socket.SOCK_SEQPACKET}
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def belongings(uid: int, *places: Path, since: float = 0.0) -> dict[str, list[Any]]:
    """Return them by kind, for `stranger.attempts`; root sees all of them.

    Files are those of shared directories, of some more places, and what is open. Sockets are names (those of
    abstract ones begin with @) and kinds, ports addresses and numbers.

    Args:
        uid: The user's id.
        places: More directories.
        since: Time (seconds since the epoch) before which a file was left by who had this id earlier.
    """
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _owner(path) == uid]
    return {
        "tcp": list(_ports("tcp", uid)),
        "udp": list(_ports("udp", uid)),
        "sockets": sorted(set(_sockets(pids))),
        "paths": sorted({*_paths((*SHARED, *places), uid, since), *_open(pids, uid)}),
        "pids": pids,
    }


def _owner(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.lstat().st_uid
    return None


def _rows(table: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    return []


def _ports(protocol: str, uid: int) -> Iterator[tuple[str, int]]:
    for family, table in ((socket.AF_INET, protocol), (socket.AF_INET6, f"{protocol}6")):
        for row in map(str.split, _rows(table)):
            if row[3] == _LISTENS[protocol] and int(row[7]) == uid:
                words, _, port = row[1].partition(":")
                packed = b"".join(
                    struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8)
                )
                address = socket.inet_ntop(family, packed)
                yield _ANY.get(address, address), int(port, 16)


def _sockets(pids: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Yield those with a name that the user's processes hold."""
    held = set(_held(pids))
    for row in _rows("unix"):
        fields = row.split(maxsplit=7)
        if len(fields) == 8 and f"socket:[{fields[6]}]" in held:
            yield fields[7], _KINDS[fields[4]]


def _held(pids: Iterable[int]) -> Iterator[str]:
    for pid in pids:
        with contextlib.suppress(OSError):
            for path in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    yield str(path.readlink())


def _open(pids: Iterable[int], uid: int) -> Iterator[str]:
    yield from (path for path in _held(pids) if path.startswith("/") and _owner(Path(path)) == uid)


def _paths(places: Iterable[str | Path], uid: int, since: float) -> Iterator[str]:
    for place in places:
        for directory, directories, files in os.walk(place):
            for path in (Path(directory, name) for name in directories + files):
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    if status.st_uid == uid and status.st_ctime >= since:
                        yield str(path)
