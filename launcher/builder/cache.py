"""Where builds keep what the next one can use, and how nothing half-made gets a name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.builder.progress import Progress
from launcher.errors import BuildFailed, UsageError

_KEPT = 7 * 86400
"""Seconds for which the steps of a build that was interrupted are kept."""


def cache_directory(given: Path | None = None) -> Path:
    """Return the directory of the cache: the one given, `$LAUNCHER_CACHE`, or the user's own cache.

    Raises:
        UsageError: If there is no home for the user's own.
    """
    if given:
        return given.absolute()
    if named := os.environ.get("LAUNCHER_CACHE"):
        return Path(named).absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firecrest-launcher"
    except RuntimeError:
        raise UsageError("This account has no home for a cache.", todo="Name a directory: --cache") from None


@contextlib.contextmanager
def building(failed: str) -> Iterator[None]:
    """Have all that is made readable by everybody, and writable by nobody else.

    Args:
        failed: What to say where the system refuses something.

    Raises:
        BuildFailed: Then.
    """
    umask = os.umask(0o022)
    try:
        yield
    except OSError as error:
        raise BuildFailed(failed, why=words(error)) from error
    finally:
        os.umask(umask)


def open_cache(given: Path | None) -> Path:
    """Return the directory of the cache, which is there then, and in which nobody else can change a thing.

    What lies in it goes into images. (What a build makes there, `building` gives its rights.)

    Args:
        given: As of `cache_directory`.

    Raises:
        BuildFailed: If others can write to it.
        UsageError: As of `cache_directory`.
    """
    cache = cache_directory(given)
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    for path in (cache, *cache.iterdir(), *cache.glob("work/*")):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
                raise BuildFailed(
                    f"Others can write to the cache: {path}.",
                    why="What lies in it goes into images.",
                    todo="Name a directory of your own, --cache, or take their rights away: "
                    f"chmod -R go-w {shlex.quote(str(cache))}",
                )
    return cache


def keep(path: Path, digest_of: Callable[[Path], str]) -> str:
    """Note the digest of a finished step, by which the next build knows it again; return it."""
    digest = digest_of(path)
    path.with_name(f"{path.name}.digest").write_bytes(digest.encode())
    return digest


def kept(path: Path, digest_of: Callable[[Path], str]) -> str:
    """Return the digest of a finished step that is as it was then; if there is none, remove what is there."""
    note = path.with_name(f"{path.name}.digest")
    if path.exists() and note.is_file() and note.read_bytes() == (digest := digest_of(path)).encode():
        return digest
    remove(note)
    remove(path)
    return ""


@contextlib.contextmanager
def work_directory(cache: Path, key: str, progress: Progress) -> Iterator[Path]:
    """Lend the directory in which a build is made, to one process at a time.

    It stays when the build fails or is interrupted, so that the next one goes on from there.

    Args:
        cache: The cache.
        key: What is built: 64 hexadecimal digits.
        progress: Told if another process is at it.
    """
    directory = cache / "work"
    directory.mkdir(parents=True, exist_ok=True)
    _forget_old(directory)
    with locked(directory / f"{key}.lock", progress, "Waiting: another process builds the same image."):
        own = directory / key
        own.mkdir(exist_ok=True)
        os.utime(own)
        for left in own.glob(".*"):
            with contextlib.suppress(OSError):
                remove(left)
        yield own


@contextlib.contextmanager
def made(path: Path) -> Iterator[Path]:
    """Lend a path at which something is made, which becomes `path` once it is complete.

    What another process put there in the meantime stays, if it is a directory: both are the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield aside
        try:
            aside.replace(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        # Somebody who was killed may still write into it; it does not hide what went wrong.
        with contextlib.suppress(OSError):
            remove(aside)


def words(error: OSError) -> str:
    """Return what the system refused, as one sentence."""
    first = error.args[0] if isinstance(error, shutil.Error) else None
    if isinstance(first, list):
        # What shutil could not copy: source, target and reason of each file.
        return f"{first[0][2]}: {first[0][1]}."
    about = error.filename2 or error.filename
    return f"{error.strerror or error}{f': {about}' if about else ''}."


def remove(path: Path) -> None:
    """Remove a file or a directory with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, progress: Progress, waiting: str) -> Iterator[None]:
    """Hold a lock, which ends with this process at the latest.

    Args:
        path: Its file.
        progress: Told if another process holds it.
        waiting: What it is told then.
    """
    while True:
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.note(waiting)
                fcntl.flock(file, fcntl.LOCK_EX)
            # Who forgets what is old may have removed the file meanwhile: then it locks nobody out.
            if path.exists() and path.samefile(f"/proc/self/fd/{file.fileno()}"):
                yield
                return


def _forget_old(directory: Path) -> None:
    """Remove what builds left that ended long ago."""
    for lock in directory.glob("*.lock"):
        # What is not there any more, another process has just forgotten; what is locked, one is at.
        with contextlib.suppress(FileNotFoundError, BlockingIOError), lock.open("r") as file:
            own = lock.with_suffix("")
            used = max(each.stat().st_mtime for each in (lock, own) if each == lock or each.is_dir())
            if used < time.time() - _KEPT:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(own)
                remove(lock)
