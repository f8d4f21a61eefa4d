"""What a lock says: requirements with hashes, in the form that `uv pip compile --generate-hashes` writes."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from packaging.markers import InvalidMarker, Marker
from packaging.version import InvalidVersion, Version

from launcher.builder.target import Target
from launcher.errors import InvalidFile
from launcher.yaml_file import Problem, shown

MAX_BYTES = 16 * 1024 * 1024
"""A lock is no longer; the launcher's own have a fiftieth of it."""

_PIN = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>\S{1,100})(?: ; (?P<marker>[^\\]+))?")
_FIRST, _LAST = dt.date(1980, 1, 2), dt.date(2105, 12, 31)
"""The days that files of a zip and of a squashfs can be from, in any time zone."""
_HASH = re.compile(r"    --hash=sha256:(?P<hash>[0-9a-f]{64})")
_DATE = re.compile(r"# locked: (?P<date>.*)")
_COMMENT = re.compile(r"(?:    )?#(?: .*)?")
_HOST = re.compile(r"://|--[a-z-]*(?:index|find-links|trusted-host)")


class Pin(NamedTuple):
    """One version of a package.

    Attributes:
        name: The package, in its normal form (PEP 503).
        version: Its version.
        marker: Where it is wanted (PEP 508), as it is written; empty for everywhere.
        hashes: The SHA-256 of each of its files, in hexadecimal digits.
        line: Where it stands in the lock, from 1.
    """

    name: str
    version: str
    marker: str
    hashes: frozenset[str]
    line: int


class Lock(NamedTuple):
    """A lock.

    Attributes:
        path: The file.
        pins: What it pins, in its order; a package may have several, for different Pythons.
        locked: The day it was last changed.
        sha256: That of the file, in hexadecimal digits.
    """

    path: Path
    pins: tuple[Pin, ...]
    locked: dt.date
    sha256: str

    @property
    def epoch(self) -> int:
        """The time of all that is made from it: that day's begin, in seconds since 1970."""
        return int(dt.datetime.combine(self.locked, dt.time(), dt.UTC).timestamp())

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read a lock.

        Raises:
            InvalidFile: With each line that does not belong in one, if it can't be read, or pins no package.
        """
        try:
            data = path.read_bytes()
            text = data.decode()
        except OSError as error:
            raise InvalidFile([Problem(f"can't be read: {error.strerror}", file=path)]) from None
        except UnicodeDecodeError:
            raise InvalidFile([Problem("is not UTF-8", file=path)]) from None
        if len(data) > MAX_BYTES:
            raise InvalidFile([Problem(f"is longer than {MAX_BYTES // 1024**2} MiB", file=path)])
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Lock:
        """Read the text of a lock.

        Args:
            text: The text.
            path: The file that problems name.

        Raises:
            InvalidFile: As `read`.
        """
        reader = _Reader(path)
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            reader.line(number, line)
        reader.end()
        if reader.problems or reader.locked is None:
            raise InvalidFile(list(reader.problems))
        digest = hashlib.sha256(text.encode()).hexdigest()
        return cls(path, reader.pins, reader.locked, digest)

    def for_target(self, target: Target, python_full: str) -> dict[str, Pin]:
        """Return what it pins for some machines.

        Args:
            target: The machines.
            python_full: Their Python's whole version, `3.11.2`.

        Raises:
            InvalidFile: If it pins two versions of one package for them.
        """
        environment = environment_of(target.arch, python_full)
        chosen: dict[str, Pin] = {}
        problems = []
        for pin in self.pins:
            if pin.marker and not Marker(pin.marker).evaluate(environment):
                continue
            first = chosen.setdefault(pin.name, pin)
            if first is not pin:
                text = f"{pin.name} is pinned for the same machines in line {first.line} already"
                problems.append(Problem(text, file=self.path, line=pin.line))
        if problems:
            raise InvalidFile(list(problems))
        return chosen


def environment_of(arch: str, python_full: str) -> dict[str, str]:
    """Return what markers are evaluated against (PEP 508) for CPython on Linux.

    Args:
        arch: The processors, as `uname -m` names them.
        python_full: The Python's whole version, `3.11.2`.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": python_full,
        "os_name": "posix",
        "platform_machine": arch,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python_full,
        "python_version": ".".join(python_full.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }


class _Reader:
    """Takes a lock line by line, and notes what does not belong in it."""

    def __init__(self, path: Path) -> None:
        self.problems: list[Problem] = []
        self.locked: dt.date | None = None
        self._path = path
        self._pins: list[Pin] = []
        self._date_seen = False
        # Hashes of each pin, and those that the next line adds to if the line before ends with a backslash.
        self._hashes: list[set[str]] = []
        self._open: set[str] | None = None

    @property
    def pins(self) -> tuple[Pin, ...]:
        """What was pinned."""
        pairs = zip(self._pins, self._hashes, strict=True)
        return tuple(pin._replace(hashes=frozenset(hashes)) for pin, hashes in pairs)

    def line(self, number: int, line: str) -> None:
        """Take a line, without its end."""
        before, self._open = self._open, None
        content = line.removesuffix(" \\")
        hashes: set[str] = set()
        if not line.isprintable():
            self._note(number, "holds characters that can't be printed")
        elif _HOST.search(line):
            self._note(number, "names a host or an index, which has no place in a lock")
        elif found := _HASH.fullmatch(content):
            if before is None:
                self._note(number, "is a hash that belongs to no package")
            else:
                hashes = before
                hashes.add(found["hash"])
        elif before is not None:
            self._note(number, "must be a hash: the line before goes on here")
        elif found := _DATE.fullmatch(line):
            self._date(number, found["date"])
        elif found := _PIN.fullmatch(content):
            self._pin(Pin(found["name"], found["version"], found["marker"] or "", frozenset(), number))
            self._hashes.append(hashes)
        elif not _COMMENT.fullmatch(line):
            self._note(number, f"is not a line of a lock: {shown(line)}")
        # What goes on after a mistake is no other one.
        if content != line and not line.startswith("#"):
            self._open = hashes

    def end(self) -> None:
        """Note what is still missing."""
        if not self._pins and not self.problems:
            self._note(1, "pins no package")
        for pin in self.pins:
            if not pin.hashes:
                self._note(pin.line, f"{pin.name} has no hash")
        if self._open is not None:
            self._note(self._pins[-1].line if self._pins else 1, "ends within a package")
        if not self._date_seen:
            self._note(1, "a line such as '# locked: 2026-11-22' is needed above the packages")
        self.problems.sort(key=lambda problem: problem.line)

    def _note(self, number: int, message: str) -> None:
        self.problems.append(Problem(message, file=self._path, line=number))

    def _date(self, number: int, text: str) -> None:
        if self._date_seen or self._pins:
            self._note(number, "is a second date, or stands below a package")
        self._date_seen = True
        try:
            self.locked = dt.date.fromisoformat(text)
        except ValueError:
            self._note(number, f"is no date such as 2026-11-22: {shown(text)}")
        else:
            if not _FIRST <= self.locked <= _LAST:
                self._note(number, f"is no date from {_FIRST} to {_LAST}: {self.locked}")

    def _pin(self, pin: Pin) -> None:
        for other in self._pins:
            if (other.name, other.marker) == (pin.name, pin.marker):
                self._note(pin.line, f"{pin.name} is pinned in line {other.line} already")
        self._pins.append(pin)
        try:
            Version(pin.version)
        except InvalidVersion:
            self._note(pin.line, f"{pin.name}: {shown(pin.version)} is no version")
        try:
            if pin.marker:
                Marker(pin.marker)
        except InvalidMarker:
            self._note(pin.line, f"{pin.name}: {shown(pin.marker)} is no marker")
