"""Byte code for everything that an image can import, so that no session compiles it anew.

It is marked to be taken without a look at the source: the times of an image's files mean nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from launcher.builder import compiler
from launcher.builder.progress import Progress
from launcher.errors import BuildFailed, MissingPart

_OPTIONS = ["-I", "-S", "-B", "-W", "ignore", "-X", "utf8"]


def compile_tree(
    root: Path, version: str, arch: str, progress: Progress, others: Iterable[Path] = ()
) -> None:
    """Compile an image's modules.

    Args:
        root: The image's files, at the path where they will be mounted: tracebacks name it.
        version: Version of the image's Python: `3.11.2`.
        arch: The processors that it runs on.
        progress: Told of it, and of files that are no Python: templates are among them.
        others: Interpreters that are tried where the image's own can't be run.

    Raises:
        BuildFailed: If Python fails.
        MissingPart: If no Python of this version can be run here.
    """
    minor = ".".join(version.split(".")[:2])
    interpreter, found = _interpreter(root / f"python/bin/python{minor}", minor, arch, version, others)
    if not f"{found}.".startswith(f"{version}."):
        progress.note(f"The image's Python {version} can't be run here: {found} compiles its modules.")
    command = [*interpreter, *_OPTIONS, compiler.__file__]
    libraries = [path for path in root.glob(f"**/lib/python{minor}") if path.is_dir()]
    files = sorted({path for each in libraries for path in each.rglob("*.py") if path.is_file()})
    count = 0
    counting = Lock()

    def run(part: list[Path]) -> list[str]:
        nonlocal count
        told = []
        for path, problem in _compile(command, part):
            if problem:
                told.append(f"{path} is not compiled: {problem}.")
            with counting:
                count += 1
                if count % 100 == 0 or count == len(files):
                    progress.advance(count, len(files))
        return told

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        notes = [
            note for told in pool.map(run, (files[each::workers] for each in range(workers))) for note in told
        ]
    for note in sorted(notes):
        progress.note(note)


def _compile(command: list[str], files: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file, and why it could not be compiled."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", os.defpath)},
    ) as worker:
        assert worker.stdin
        assert worker.stdout
        assert worker.stderr
        worker.stdin.write(b"".join(os.fsencode(path) + b"\0" for path in files))
        worker.stdin.close()
        done = 0
        for path, line in zip(files, worker.stdout, strict=False):
            yield path, line.decode().strip()
            done += 1
        said = worker.stderr.read().decode(errors="replace").strip()
    if done != len(files) or worker.returncode:
        raise BuildFailed("The image's modules could not be compiled.", why=said[-500:])


def _interpreter(
    own: Path, minor: str, arch: str, version: str, others: Iterable[Path]
) -> tuple[list[str], str]:
    """Return how a Python is run that writes byte code for the image, and its version.

    Byte code is the same for all processors, and nearly so for all Pythons that differ in the last part only.
    """
    candidates = [[str(own)], *([str(path)] for path in others), [sys.executable], [f"python{minor}"]]
    candidates += [
        [emulator, "-L", f"/usr/{arch}-linux-gnu", str(own)]
        for emulator in (f"qemu-{arch}", f"qemu-{arch}-static")
    ]
    fitting: dict[str, list[str]] = {}
    for each in candidates:
        found = _version(each)
        if f"{found}.".startswith(f"{version}."):
            return each, found
        if found.startswith(f"{minor}."):
            fitting.setdefault(found, each)
    for found, each in fitting.items():
        return each, found
    raise MissingPart(
        f"No Python {minor} can be run here, and byte code by one is part of the image.",
        todo=f"Install one for this machine, or qemu-user with the C library of {arch}.",
    )


def _version(command: list[str]) -> str:
    say = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        done = subprocess.run([*command, *_OPTIONS, "-c", say], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
