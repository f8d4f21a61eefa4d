"""The means for a recipe's `verify`, and, run as a program, the checks that hold for every image.

`verify` is a Python script, standard library only. The finished image holds it as `meta/recipe/verify`, with
this module beside it. The builder mounts the image and runs it with the image's own Python, as an ordinary
user, with nearly nothing in the environment and with a home that takes no files. For an image that this
machine can't run, another Python runs it, and the checks that need to start programs are left out. What holds
for every image the builder checks itself, with its own Python and its own copy of this module. A `verify` is
as simple as::

    import checks

    @checks.check("NumPy multiplies", needs=checks.PROGRAM)
    def multiplies(image: checks.Image) -> str:
        return image.run("bin/python", "-c", "import numpy as n; print(n.ones(3) @ n.ones(3))")

    checks.main()

A check returns what is worth telling, or nothing; it raises `checks.Failed`, or anything else, where
something does not hold. What it prints goes to standard error. Each check makes a line of JSON: `name`, `ok`,
`text` and `seconds`. The first line holds `known`, what `checks.main` was told, and the number of `checks`.
"""

from __future__ import annotations

import _imp
import argparse
import base64
import contextlib
import csv
import fnmatch
import functools
import glob
import hashlib
import importlib.util
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

TREE, PROGRAM, PROCESSES = range(3)
"""What a check needs: only the files; to start a program of the image; one that starts others itself."""

TIMEOUT = 60.0
"""Seconds that one program may take; an emulator may take `_SLOWER` times as long."""

_SLOWER = 10

_MOST_TOLD = 5
"""How many of the files that a check objects to are told."""


# A kernel of the Python that `argv` names or, without one, of what Jupyter finds as its default.
_KERNEL = """
import json, os, sys
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
cell, seconds, argv, environment = map(json.loads, sys.argv[1:])
class Kernel(KernelManager):
    if argv:
        kernel_spec = KernelSpec(argv=argv)
manager = Kernel(transport="ipc", ip=os.environ["TMPDIR"] + "/kernel")
manager.start_kernel(env=environment or os.environ)
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=seconds)
told = []
client.execute_interactive(cell, timeout=seconds, output_hook=lambda message: told.append(message["content"]))
client.stop_channels()
manager.shutdown_kernel(now=True)
print("".join(each.get("text", "") or each.get("evalue", "") for each in told))
"""


class Failed(Exception):
    """A check does not hold; the text says why."""


class Image:
    """A mounted image.

    Attributes:
        mount: Where it is mounted.
        prefix: The virtual environment that it holds.
        build_paths: Paths of the machine that built it.
        known: Patterns of paths below the mount where what looks like a secret is none.
    """

    def __init__(
        self,
        mount: str,
        prefix: str,
        build_paths: Sequence[str] = (),
        known: Sequence[str] = (),
        through: Sequence[str] = (),
    ) -> None:
        self.mount = mount
        self.build_paths = build_paths
        self.known = known
        self.prefix = os.path.join(mount, prefix)
        self._through = list(through)

    def environment(self, directory: str, **more: str) -> dict[str, str]:
        """Return an environment for a program: a home that takes no files, and a directory that does."""
        home = os.path.join(directory, "home")
        os.makedirs(home, 0o555, exist_ok=True)
        own = {"HOME": home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": directory}
        # Where an emulator finds the C library.
        own |= {name: os.environ[name] for name in ("QEMU_LD_PREFIX",) if name in os.environ}
        jupyter = {
            f"JUPYTER_{each}_DIR": f"{directory}/{each.lower()}" for each in ("CONFIG", "DATA", "RUNTIME")
        }
        others = {f"XDG_{each}_HOME": f"{directory}/{each.lower()}" for each in ("CACHE", "CONFIG", "DATA")}
        return {
            **own,
            **jupyter,
            **others,
            "IPYTHONDIR": f"{directory}/ipython",
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of a program, named by its path below `prefix`."""
        path = os.path.join(self.prefix, program)
        first = _first_line(_read(path, 256))
        script = first.split() if self._through and first else []
        return [*self._through, *script, path, *arguments]

    def run(self, program: str, *arguments: str, timeout: float = TIMEOUT, errors: bool = False) -> str:
        """Run a program of the image to its end, and return what it wrote to standard output.

        Args:
            program: Its path below `prefix`, such as `bin/jupyter`.
            arguments: What it is told.
            timeout: Seconds that it may take; then it is killed with all that it has started.
            errors: Whether to return what it wrote to standard error, too.

        Raises:
            Failed: If its exit code is not 0, or if it takes too long.
        """
        with (
            tempfile.TemporaryDirectory() as directory,
            self.started(directory, program, *arguments) as process,
        ):
            try:
                slower = _SLOWER if self._through else 1
                output, complaints = process.communicate(timeout=timeout * slower)
            except subprocess.TimeoutExpired:
                raise Failed(f"{program} took more than {timeout:.0f} s") from None
        if process.returncode:
            lines = (complaints or output).strip().splitlines()[-8:]
            raise Failed("\n".join([f"{program} ended with {process.returncode}", *lines]))
        return (f"{output}\n{complaints}" if errors else output).strip()

    def run_cell(
        self, cell: str, timeout: float, python: str = "", variables: Mapping[str, str] | None = None
    ) -> str:
        """Run a cell in a kernel, and return what it printed, or the words of its error.

        Args:
            cell: The cell.
            timeout: Seconds that the kernel may take to start, and then the cell.
            python: The path of another Python than that of `prefix`, which is to be the kernel.
            variables: All of the kernel's environment; without it, that of the image's programs.

        Raises:
            Failed: If the kernel can't do it, or if it takes too long.
        """
        argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"] if python else []
        given = map(json.dumps, (cell, timeout, argv, dict(variables or {})))
        return self.run("bin/python", "-I", "-c", _KERNEL, *given, timeout=max(TIMEOUT, 2 * timeout))

    @contextlib.contextmanager
    def started(
        self, directory: str, program: str, *arguments: str, **variables: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a program of the image; at the end it is killed, with all that it has started.

        Args:
            directory: Where it may write.
            program: Its path below `prefix`.
            arguments: What it is told.
            variables: What else it has in its environment.
        """
        process = subprocess.Popen(
            self.command(program, *arguments),
            cwd="/",
            env=self.environment(directory, **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    @functools.cached_property
    def names(self) -> dict[str, os.stat_result]:
        """Path → status of all that the image holds, and of its top."""
        found = {self.mount: os.lstat(self.mount)}
        waiting = [self.mount]
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in sorted(entries, key=lambda each: each.name):
                    found[entry.path] = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        return found

    @functools.cached_property
    def files(self) -> dict[str, os.stat_result]:
        """Path → status of the files that the image holds."""
        return {path: status for path, status in self.names.items() if stat.S_ISREG(status.st_mode)}

    def below(self, path: str) -> str:
        """Return a path as it is told to people: without the mount."""
        return os.path.relpath(path, self.mount)


class _Check(NamedTuple):
    name: str
    needs: int
    function: Callable[[Image], Any]


_CHECKS: list[_Check] = []


def check(name: str, *, needs: int = TREE) -> Callable[[Callable[[Image], Any]], Callable[[Image], Any]]:
    """Make a function a check.

    Args:
        name: What holds if it passes: `jupyter lab starts`.
        needs: `TREE`, `PROGRAM` or `PROCESSES`.
    """

    def add(function: Callable[[Image], Any]) -> Callable[[Image], Any]:
        _CHECKS.append(_Check(name, needs, function))
        return function

    return add


def main(known: Sequence[str] = ()) -> None:
    """Run the recipe's own checks, and end with exit code 0 if all hold, else 1.

    Args:
        known: Patterns of paths below the mount where what looks like a secret is none.
    """
    _run(_CHECKS[_SHARED:], known)


def _run(checks: Sequence[_Check], known: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Verify an image.")
    parser.add_argument(
        "--mount", default=os.path.abspath(f"{sys.path[0]}/../.."), help="where it is mounted"
    )
    parser.add_argument("--prefix", default=sys.prefix, help="its virtual environment, below that")
    parser.add_argument(
        "--needs", type=int, default=PROCESSES, help="0: start nothing; 1: nothing that starts more"
    )
    parser.add_argument("--through", action="append", default=[], help="what starts programs: an emulator")
    parser.add_argument("--known", action="append", default=[], help="where what looks like a secret is none")
    parser.add_argument("build_paths", nargs="*", help="what no file may contain")
    given = parser.parse_args()
    image = Image(given.mount, given.prefix, given.build_paths, given.known, given.through)
    wanted = [each for each in checks if each.needs <= given.needs]
    with contextlib.redirect_stdout(sys.stderr):
        if known is not None:
            _tell({"known": list(known), "checks": len(wanted)})
        good = True
        # Most of the time is that of the programs that are started.
        with ThreadPoolExecutor(2) as pool:
            for result in pool.map(functools.partial(_ran, image), wanted):
                _tell(result)
                good &= result["ok"]
    sys.exit(not good)


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), file=sys.__stdout__, flush=True)


def _ran(image: Image, which: _Check) -> dict[str, Any]:
    begin = time.monotonic()
    try:
        text, good = which.function(image), True
    except Failed as error:
        text, good = str(error), False
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the other checks are run all the same
        text, good = f"{type(error).__name__}: {error}", False
    seconds = round(time.monotonic() - begin, 2)
    return {"name": which.name, "ok": good, "text": str(text or ""), "seconds": seconds}


def _refuse(image: Image, objections: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
    """Raise if there are objections: paths, and what is wrong with each."""
    lines = [f"{image.below(path)}: {text}" for path, text in objections]
    if lines:
        more = [f"… and {len(lines) - _MOST_TOLD} more"] if len(lines) > _MOST_TOLD else []
        raise Failed("\n".join([*lines[:_MOST_TOLD], *more]))


def _read(path: str, size: int = -1) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(size) or b""


def _first_line(content: bytes) -> str:
    """Return what a script's first line names, or an empty text for what is no script."""
    return os.fsdecode(content[2:].partition(b"\n")[0]).strip() if content.startswith(b"#!") else ""


@check("nothing is writable")
def _read_only(image: Image) -> None:
    if not os.statvfs(image.mount).f_flag & os.ST_RDONLY:
        raise Failed("It is not mounted read-only.")
    _refuse(
        image, [(path, "others may write it") for path, status in image.names.items() if _is_writable(status)]
    )


def _is_writable(status: os.stat_result) -> bool:
    return not stat.S_ISLNK(status.st_mode) and bool(status.st_mode & 0o022)


@check("everybody can read all of it")
def _readable(image: Image) -> None:
    _refuse(
        image,
        [
            (path, f"mode {status.st_mode & 0o777:o}")
            for path, status in image.names.items()
            if _is_shut(status)
        ],
    )


def _is_shut(status: os.stat_result) -> bool:
    wanted = 0o555 if stat.S_ISDIR(status.st_mode) else 0o444
    return status.st_mode & wanted != wanted


@check("nothing is setuid, setgid or a device")
def _ordinary(image: Image) -> None:
    _refuse(
        image, ((path, text) for path, status in image.names.items() if (text := _special(status.st_mode)))
    )


def _special(mode: int) -> str:
    if mode & (stat.S_ISUID | stat.S_ISGID):
        return "setuid or setgid"
    return (
        "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode) else "no file, directory or link"
    )


@check("no link leads outside")
def _links(image: Image) -> None:
    top = os.path.realpath(image.mount)
    _refuse(
        image, ((path, text) for path, status in image.names.items() if (text := _astray(path, status, top)))
    )


def _astray(path: str, status: os.stat_result, top: str) -> str:
    if not stat.S_ISLNK(status.st_mode):
        return ""
    end = os.path.realpath(path)
    if end != top and not end.startswith(f"{top}/"):
        return f"leads to {os.readlink(path)}"
    return "" if os.path.exists(end) else f"leads nowhere: {os.readlink(path)}"


# What it begins with, which is quick to look for, and all of it.
_SECRETS = {
    "a private key": (b"PRIVATE KEY-----", rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\s+[\w+/=:,\s-]{64}"),
    "a key of AWS": (b"AKIA", rb"(?<![\w+/])AKIA[A-Z0-9]{16}(?<!EXAMPLE)(?![\w+/=])"),
    "a token of GitHub": (b"ghp_", rb"(?<!\w)ghp_\w{36}(?!\w)"),
    "a fine-grained token of GitHub": (b"github_pat_", rb"(?<!\w)github_pat_\w{82}(?!\w)"),
    "a token of GitLab": (b"glpat-", rb"(?<!\w)glpat-[\w-]{20}"),
    "a token of PyPI": (b"pypi-AgEIcHlwaS5vcmc", rb"pypi-AgEIcHlwaS5vcmc[\w-]{50}"),
    "a token of npm": (b"npm_", rb"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)"),
    "a signed token": (b"eyJ", rb"(?<![\w/+-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
}
_PRIVATE = {
    ".netrc",
    "_netrc",
    ".pypirc",
    ".git-credentials",
    ".bash_history",
    ".python_history",
    ".aws",
    ".ssh",
}
_PRIVATE |= {"id_rsa", "id_ecdsa", "id_ed25519"}
_SETTINGS = {"pip.conf", "pip.ini", ".npmrc", "uv.toml", ".condarc"}
_WITH_PASSWORD = re.compile(rb"://[^/\s:@]+:[^/\s@]+@|_authToken\s*=\s*\S|_password\s*=\s*\S")


_COMPILED = {name: (sign, re.compile(pattern)) for name, (sign, pattern) in _SECRETS.items()}


@check("no secret and no path of the build machine remains")
def _nothing_private(image: Image) -> None:
    secret = [(path, "is somebody's own") for path in image.names if os.path.basename(path) in _PRIVATE]
    found = []
    for path, status in image.names.items():
        if stat.S_ISREG(status.st_mode):
            content = _read(path)
            secret += [(path, f"holds {each}") for each in _secrets(os.path.basename(path), content)]
        elif stat.S_ISLNK(status.st_mode):
            content = os.fsencode(os.readlink(path))
        else:
            continue
        found += [(path, f"holds {each}") for each in image.build_paths if os.fsencode(each) in content]
    _refuse(image, [*((path, text) for path, text in secret if not _is_known(image, path)), *found])


def _is_known(image: Image, path: str) -> bool:
    return any(fnmatch.fnmatchcase(image.below(path), each) for each in image.known)


def _secrets(name: str, content: bytes) -> Iterator[str]:
    if name.endswith(".pyc"):
        return  # its source lies beside it
    for what, (sign, pattern) in _COMPILED.items():
        if sign in content and pattern.search(content):
            yield what
    if name in _SETTINGS and _WITH_PASSWORD.search(content):
        yield "a password"


_SHELLS = {"/bin/sh", "/bin/bash", "/usr/bin/env sh", "/usr/bin/env bash"}


@check("programs name interpreters that are there")
def _interpreters(image: Image) -> str:
    scripts = {
        path: line
        for path, status in image.files.items()
        if os.path.basename(os.path.dirname(path)) == "bin"
        and status.st_mode & 0o111
        # Node starts those of its packages itself.
        and "/node_modules/" not in path
        if (line := _first_line(_read(path, 256)))
    }
    _refuse(image, ((path, f"names {line}") for path, line in scripts.items() if not _is_there(image, line)))
    return f"{len(scripts)} scripts"


def _is_there(image: Image, line: str) -> bool:
    program = line.partition(" ")[0]
    within = program.startswith(f"{image.mount}/") and "/../" not in program
    return line in _SHELLS or (within and os.access(program, os.X_OK))


@check("all modules are compiled")
def _compiled(image: Image) -> str:
    modules = [path for path in image.files if path.endswith(".py") and _tag(image, path)]
    _refuse(image, ((path, text) for path in modules if (text := _uncompiled(image, path))))
    return f"{len(modules)} modules"


def _tag(image: Image, path: str) -> str:
    """Return what is in the name of a module's compiled form, or nothing outside of a Python's library."""
    found = re.search(r"/lib/python3\.(\d+)/", path[len(image.mount) :])
    return f"cpython-3{found[1]}" if found else ""


def _uncompiled(image: Image, path: str) -> str:
    """Return what is wrong with the compiled form of a module: PEP 552."""
    directory, name = os.path.split(path)
    tag, source = _tag(image, path), _read(path)
    try:
        head = _read(f"{directory}/__pycache__/{name[:-3]}.{tag}.pyc", 16)
    except FileNotFoundError:
        # Another Python may compile what this one does, or not; but hardly none of a directory's modules.
        others = tag != sys.implementation.cache_tag and glob.glob(f"{glob.escape(directory)}/*/*.{tag}.pyc")
        return "is not compiled" if not others and _compiles(source) else ""
    if tag == sys.implementation.cache_tag and head[:4] != importlib.util.MAGIC_NUMBER:
        return "is compiled for another Python"
    if head[4:8] != b"\1\0\0\0":
        return "Python would compare it with its source at each start"
    # Each Python has a hash of its own, which its number begins.
    good = head[8:] == _imp.source_hash(int.from_bytes(head[:4], "little"), source)
    return "" if good else "was compiled from another source"


def _compiles(source: bytes) -> bool:
    """Tell whether a module is one for this Python."""
    try:
        compile(source, "", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


@check("packages are those of the lock")
def _versions(image: Image) -> str:
    with open(f"{image.mount}/meta/sbom.cdx.json", encoding="utf-8") as file:
        components = json.load(file).get("components", [])
    ours = {
        _name(each["name"]): each["version"]
        for each in components
        if each.get("purl", "").startswith("pkg:pypi/")
    }
    locked = re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", _lock(image))
    found = dict(_installed(image))
    if ours and not found:
        raise Failed(f"{image.below(image.prefix)}/lib/python3.*/site-packages holds no packages.")
    wrong = [
        f"{name}: {found.get(name)}, not {version}"
        for name, version in ours.items()
        if found.get(name) != version
    ]
    wrong += [
        f"{name}: {version}, which meta/sbom.cdx.json does not list"
        for name, version in found.items()
        if name not in ours
    ]
    names = {_name(each) for each, _ in locked}
    pairs = {(_name(each), version) for each, version in locked}
    wrong += [
        f"{name}: {version} is not in the lock"
        for name, version in found.items()
        if name in names and (name, version) not in pairs
    ]
    if wrong:
        raise Failed("\n".join(wrong[:_MOST_TOLD]))
    return f"{len(found)} packages"


def _lock(image: Image) -> str:
    with open(f"{image.mount}/meta/recipe/requirements.txt", encoding="utf-8") as file:
        return file.read()


def _installed(image: Image) -> Iterator[tuple[str, str]]:
    pattern = f"{glob.escape(image.prefix)}/lib/python3.*/site-packages/*.dist-info/METADATA"
    for path in sorted(glob.glob(pattern)):
        with open(path, encoding="utf-8", errors="replace") as file:
            head = file.read().partition("\n\n")[0]
        fields = dict(re.findall(r"(?m)^(Name|Version):[ \t]*(\S+)", head))
        yield _name(fields["Name"]), fields["Version"]


def _name(text: str) -> str:
    """Return the normal form of a package's name: PEP 503."""
    return re.sub(r"[-_.]+", "-", text).lower()


_OWN = re.compile(r"pyvenv\.cfg|bin/(python3?(\.\d+)?|code-server)")
"""What no package brings: the settings of the environment, and links to programs beside it."""
_HASHES = {"sha256", "sha384", "sha512"}


@check("files are those that their packages list")
def _recorded(image: Image) -> str:
    """Compare all below `prefix` with the packages' `RECORD`.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    site = f"{glob.escape(image.prefix)}/lib/python3.*/site-packages"
    by = {_read(each).strip() for each in glob.glob(f"{site}/*.dist-info/INSTALLER")}
    if by and b"launcher" not in by:
        return "installed by another program, whose lists are not kept"
    listed: dict[str, str] = {}
    for record in glob.glob(f"{site}/*.dist-info/RECORD"):
        with open(record, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        directory = os.path.dirname(os.path.dirname(record))
        listed |= {os.path.normpath(os.path.join(directory, row[0])): ",".join(row[1:2]) for row in rows}
        listed[record] = ""
    _refuse(image, [*_unlisted(image, listed), *_changed(image, listed)])
    return f"{len(listed)} files"


def _unlisted(image: Image, listed: dict[str, str]) -> Iterator[tuple[str, str]]:
    for path, status in image.names.items():
        if stat.S_ISDIR(status.st_mode) or not path.startswith(f"{image.prefix}/") or path in listed:
            continue
        code = re.fullmatch(r"(.*/)__pycache__/([^/.]+)\.[^/]+\.pyc", path, re.DOTALL)
        if code and f"{code[1]}{code[2]}.py" in listed and stat.S_ISREG(status.st_mode):
            continue
        own = os.path.relpath(path, image.prefix)
        if not _OWN.fullmatch(own) or stat.S_ISREG(status.st_mode) != (own == "pyvenv.cfg"):
            yield path, "no package lists it"


def _changed(image: Image, listed: dict[str, str]) -> Iterator[tuple[str, str]]:
    for path, wanted in listed.items():
        if path not in image.files:
            yield path, "a package lists it, and it is no file"
        elif not (path.endswith(".dist-info/RECORD") and not wanted):
            kind, _, digest = wanted.partition("=")
            content = hashlib.new(kind, _read(path)).digest() if kind in _HASHES else b""
            if base64.urlsafe_b64encode(content).decode().rstrip("=") != digest or not content:
                yield path, "is not what its package lists"


_SHARED = len(_CHECKS)
"""So many checks are the builder's; what comes after them is the recipe's."""

if __name__ == "__main__":
    _run(_CHECKS)
