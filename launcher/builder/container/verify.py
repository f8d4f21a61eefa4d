"""Whether an image of a container holds what it promises.

What it has more than its base is looked at from outside. The `verify` of its tools and its own run inside of
it, by the Python of the tools: as anybody, without network, and nothing can be written.
"""

from __future__ import annotations

import re
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from launcher.builder import worker
from launcher.builder.container import sqsh
from launcher.builder.container.changes import capabilities, changes
from launcher.builder.container.context import META, TOOLS
from launcher.builder.container.engine import ENGINES, Engine, Image
from launcher.builder.container.rootfs import run
from launcher.builder.progress import Progress
from launcher.builder.report import VERIFY, Check, Report, answers, last_lines

_FAILED = "The image can't be looked into."
_TIMEOUT = 1800.0
_MOST_TOLD = 5
_SECRET = re.compile(r"(?i)(?:^|_)(?:TOKEN|SECRET|PASSW(?:OR)?D|CREDENTIAL|(?:API|PRIVATE)_?KEY)S?(?:_|$)")
"""Names of variables that hold secrets."""
_WRITABLE, _SPECIAL = 0o022, 0o6000
_MOUNTED_AT = ("etc/hosts", "etc/hostname", "etc/resolv.conf", "run", ".dockerenv")
"""Files; in `run`, too, there may be some."""


class Promise(NamedTuple):
    """What an image is to hold.

    Attributes:
        mount: Where its tools lie.
        prefix: Their virtual environment, below that.
        context: The directory that it was built from.
        paths: Where else something may have been added.
        own: Whether the container has a `verify` of its own.
        labels: Labels that it has.
        foreign: Whether it is for other processors.
    """

    mount: str
    prefix: str
    context: str
    paths: list[str]
    own: bool
    labels: dict[str, str]
    foreign: bool


def verify(engine: Engine, image: Image, base: Image, promise: Promise, progress: Progress) -> Report:
    """Look whether an image holds what it promises.

    Args:
        engine: Where it is.
        image: The image.
        base: What it was built on.
        promise: What it is to hold.
        progress: Told that it begins.

    Raises:
        LauncherError: If it can't be looked into.
    """
    progress.step("Verifying the image")
    begin = time.monotonic()
    given = ("verify", engine.name, image, base, promise)
    checks, ran = worker.call([*engine.inside(), *worker.python(__name__)], given, progress, _FAILED)
    told = (*_described(image, base, promise), *(Check(*each) for each in checks))
    return Report(tuple(each.printable() for each in told), ran is True, round(time.monotonic() - begin, 2))


def pack(engine: Engine, image: Image, target: Path, epoch: int, progress: Progress) -> None:
    """Make a squashfs file of an image.

    Raises:
        LauncherError: If it can't be made.
    """
    progress.step("Packing the image")
    given = ("pack", engine.name, image, str(target), epoch)
    worker.call([*engine.inside(), *worker.python(__name__)], given, progress, _FAILED)


def _described(image: Image, base: Image, promise: Promise) -> Iterator[Check]:
    """Look at what an image says of itself."""
    wrong = [name for name, value in promise.labels.items() if image.labels.get(name) != value]
    yield Check("its labels say what it is", not wrong, ", ".join(wrong))
    new = [*(image.environment.keys() - base.environment.keys()), *(image.labels.keys() - base.labels.keys())]
    secrets = sorted(name for name in new if _SECRET.search(name))
    yield Check("it tells no secret of itself", not secrets, ", ".join(secrets))


def _work(given: list[Any], progress: Progress) -> Any:
    del progress
    kind, name, image, *more = given
    with ENGINES[name]().files(image[0]) as files:
        root = files.resolve()
        if kind == "pack":
            target, epoch = more
            sqsh.pack(root, Image(*image), Path(target), epoch)
            return None
        base, promise = more
        with ENGINES[name]().files(base[0]) as before:
            return _looked(before, root, Image(*base), Image(*image), Promise(*promise))


def _looked(
    before: Path, root: Path, base: Image, image: Image, promise: Promise
) -> tuple[list[Check], bool]:
    outside = [*_outside(before, root, base, promise)]
    # Nothing of it is run where it isn't what was built.
    if not all(each.ok for each in outside):
        return outside, False
    inside, ran = _inside(root, image, promise)
    return [*outside, *inside], ran


def _outside(before: Path, root: Path, base: Image, promise: Promise) -> Iterator[Check]:
    found = changes(before, root)
    yield Check(
        "what the base holds is as it was",
        not found.changed,
        _listed(found.changed) or f"{found.files} files",
    )
    allowed = [Path(each).relative_to("/") for each in (promise.mount, *promise.paths)]
    allowed += _of_engine(root, base)
    odd = [odd for each in found.added for odd in _odd(root, Path(each), allowed)]
    yield Check("nothing else is added", not odd, _listed(odd))
    yield _tools(root, promise)
    loose = [*_loose(root, found.added)]
    yield Check("nothing that is added is setuid, or can be written by others", not loose, _listed(loose))


def _tools(root: Path, promise: Promise) -> Check:
    name = "the tools are as they were built"
    place = root / promise.mount.lstrip("/")
    # A base may have a link on the way there, which leads elsewhere from outside.
    if not place.is_dir() or place.resolve() != place:
        return Check(name, ok=False, text=f"They are not at {promise.mount}.")
    tools = changes(Path(promise.context, TOOLS), place)
    other = [*(f"{each}: is new" for each in tools.added), *tools.changed]
    return Check(name, not other, _listed(other) or f"{tools.files} files")


def _of_engine(root: Path, base: Image) -> Iterator[Path]:
    """Yield what engines mount something at, or start in, and leave empty where a base has none."""
    run = root / "run"
    running = (str(path.relative_to(root)) for path in run.rglob("*") if not run.is_symlink())
    for place in (*_MOUNTED_AT, *running, *base.volumes, base.directory):
        inner = Path("/", place).relative_to("/")
        whole = root / inner
        if ".." in inner.parts or whole.is_symlink():
            continue
        if not (any(whole.iterdir()) if whole.is_dir() else whole.is_file() and whole.stat().st_size):
            yield inner


def _odd(root: Path, added: Path, allowed: Sequence[Path]) -> Iterator[str]:
    """Yield what was added elsewhere than it may be; directories on the way there hold nothing else."""
    if any(added.is_relative_to(each) for each in allowed):
        return
    whole = root / added
    if any(each.is_relative_to(added) for each in allowed) and whole.is_dir() and not whole.is_symlink():
        for path in sorted(whole.iterdir()):
            yield from _odd(root, added / path.name, allowed)
    else:
        yield str(added)


def _loose(root: Path, added: Sequence[str]) -> Iterator[str]:
    for top in added:
        whole = root / top
        for path in (whole, *([] if whole.is_symlink() else whole.rglob("*"))):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                continue
            inner = path.relative_to(root)
            if mode & (_WRITABLE | _SPECIAL):
                yield f"{inner}: {mode & 0o7777:o}"
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield f"{inner}: no file, directory or link"
            elif capabilities(str(path)):
                yield f"{inner}: has capabilities"


def _inside(root: Path, image: Image, promise: Promise) -> tuple[list[Check], bool]:
    python = f"{promise.mount}/{promise.prefix}/bin/python"
    environment = {**image.environment, "HOME": "/"}
    tried = run(root, [python, "-I", "-c", ""], environment, timeout=_TIMEOUT)
    if tried.returncode:
        text = last_lines(tried.stderr)
        return ([] if promise.foreign else [Check("the tools' Python starts", ok=False, text=text)]), False
    where = (f"--mount={promise.mount}", f"--prefix={promise.prefix}")
    checks: list[Check] = []
    for script in (VERIFY, *([f"{META}/verify"] if promise.own else [])):
        argv = [python, "-E", "-s", "-B", f"{promise.mount}/{script}", *where]
        found, _ = answers(run(root, argv, environment, timeout=_TIMEOUT), script)
        checks += found
    return checks, True


def _listed(lines: Sequence[str]) -> str:
    more = [f"… and {len(lines) - _MOST_TOLD} more"] if len(lines) > _MOST_TOLD else []
    return "\n".join([*lines[:_MOST_TOLD], *more])


if __name__ == "__main__":
    sys.exit(worker.serve(_work, _FAILED))
