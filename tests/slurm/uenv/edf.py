"""What an environment definition file asks for, as steps that the container engine of tests takes on a node.

    python -I edf.py EDF UID GID PROGRAM < ENVIRONMENT

EDF is a file or a name, ENVIRONMENT the job's variables, PROGRAM what shall run. The keys are those of
https://docs.cscs.ch/software/container-engine/edf/, and an image has the format of Enroot:
https://github.com/NVIDIA/enroot/blob/master/doc/image-format.md. An image is a file: nothing is pulled.

The plugin runs this as root, with an interpreter that may be root's alone, so there is only the standard
library; it reads files with the rights of the job's user. A step is a verb and two operands, each with a null
character at its end.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from itertools import chain
from json import dumps
from pathlib import Path
from typing import Any, NoReturn

KINDS: dict[str, type | tuple[type, ...]] = {
    "base_environment": (str, list),
    "image": str,
    "mounts": list,
    "workdir": str,
    "writable": bool,
    "entrypoint": bool,
    "env": dict,
    "annotations": dict,
}
LEVELS = 10
"""How many base environments may lie below each other."""
FLAG = "(ro|rw|bind|rbind|private|rprivate|slave|rslave)"
"""A flag of a mount; of these only `ro` makes a difference here."""
ANNOTATIONS = "CONTAINER_ANNOTATIONS"
"""The variable that tells a container's programs its annotations, as JSON."""
ENTRY = "/.entry"
"""The program in the place of the one to run: it starts that, after the entrypoint or as it is in PATH."""
SYSTEM = (
    ("bind", "/proc", "/proc"),
    ("bind-ro", "/sys", "/sys"),
    ("bind", "/dev", "/dev"),
    ("tmpfs", "/tmp", ""),
    ("tmpfs", "/run", ""),
)
OF_THE_NODE = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")

Step = tuple[str, str, str]


class Image:
    """A squashfs file.

    Args:
        path: Where it is.
        job: The job's variables, which stand for themselves in its files.

    Attributes:
        variables: Its own.
    """

    def __init__(self, path: str, job: Mapping[str, str]) -> None:
        if not path.startswith("/"):
            refuse(f"image {path!r} is no path of a file, and nothing is pulled")
        try:
            Path(path).open("rb").close()
        except OSError as error:
            refuse(f"unable to read the image {path}: {error.strerror}")
        self.path = path
        self._job = job
        self.variables = dict(self._variables())

    def read(self, name: str) -> str:
        """Return the content of a file in it, empty if there is none."""
        command = ["unsquashfs", "-no-progress", "-cat", self.path, name]
        done = subprocess.run(command, capture_output=True, check=False, env={"PATH": "/usr/bin:/bin"})
        return "" if done.returncode else done.stdout.decode(errors="surrogateescape")

    def mounts(self) -> Iterator[Step]:
        """Yield what it mounts itself."""
        for line in self._lines("etc/fstab"):
            source, place, kind, options, *_ = [*line.split(), "none", "none"]
            flags = set(options.split(","))
            if "tmpfs" in (source, kind):
                yield "tmpfs", place, ""
            elif {"bind", "rbind"} & ({kind} | flags):
                yield "bind-ro" if "ro" in flags else "bind", source, place
            else:
                refuse(f"the image's /etc/fstab has a line that is not understood: {line}")

    def _variables(self) -> Iterator[tuple[str, str]]:
        for line in self._lines("etc/environment"):
            name, equals, value = line.removeprefix("export ").partition("=")
            if equals:
                yield name, value[1:-1] if re.fullmatch(r'"[^"]*"|\'[^\']*\'', value) else value

    def _lines(self, name: str) -> Iterator[str]:
        for line in map(str.strip, self.read(name).splitlines()):
            if line and not line.startswith("#"):
                yield re.sub(r"\$\{(\w+)\}", lambda match: self._job.get(match[1], ""), line)


def main() -> None:
    """Print the steps; else what is wrong, with exit code 1."""
    name, uid, gid, program = sys.argv[1:]
    given = sys.stdin.buffer.read().decode(errors="surrogateescape")
    job = dict(entry.split("=", 1) for entry in given.split("\0") if "=" in entry)
    user = pwd.getpwuid(int(uid))
    os.setgroups([])
    os.setegid(int(gid))
    os.seteuid(int(uid))
    asked = merged(name, job)
    if not asked.get("image"):
        refuse(f"{name}: image is missing")
    image = Image(absolute(expand("image", asked["image"], job)), job)
    values = expand_all(asked, {**job, **image.variables})
    fields = chain.from_iterable(steps(image, values, user, program))
    sys.stdout.buffer.write("".join(f"{field}\0" for field in fields).encode(errors="surrogateescape"))


def steps(image: Image, values: dict[str, Any], user: pwd.struct_passwd, program: str) -> Iterator[Step]:
    """Yield what to do, in order."""
    yield "image", image.path, ""
    yield from SYSTEM
    yield from (("bind-ro", path, path) for path in OF_THE_NODE if Path(path).exists())
    yield from image.mounts()
    # As Enroot's hook does it: the first of two entries counts.
    known = f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}:{user.pw_gecos}:{user.pw_dir}:{user.pw_shell}\n"
    yield "file", "/etc/passwd", known + image.read("etc/passwd")
    group = grp.getgrgid(user.pw_gid).gr_name
    yield "file", "/etc/group", f"{group}:x:{user.pw_gid}:\n" + image.read("etc/group")
    yield "directory", user.pw_dir, ""
    start, workdir = image.read("etc/rc"), values.get("workdir")
    command = []
    if start and values.get("entrypoint", True):
        command = ["/bin/sh", "/etc/rc"]
        if workdir:  # or it is where /etc/rc goes
            command += ["/bin/sh", "-c", f'cd {shlex.quote(workdir)} && exec "$@"', "sh"]
    if command or "/" not in program:
        yield "program", ENTRY, f'#!/bin/sh\nexec {shlex.join([*command, program])} "$@"\n'
    for mount in values.get("mounts", []):
        source, place, *flags = mount.split(":")
        yield "bind-ro" if flags and "ro" in flags[0].split("+") else "bind", absolute(source), place
    if not values.get("writable", True):
        yield "read-only", "", ""
    yield "workdir", workdir or workdir_of(start), ""
    yield from (("set", name, value) for name, value in image.variables.items())
    env = values.get("env", {})
    yield from (("set", name, value) if value else ("unset", name, "") for name, value in env.items())
    yield "set", ANNOTATIONS, dumps(values.get("annotations", {}))


def workdir_of(start: str) -> str:
    """Return where an image's /etc/rc goes before it starts anything."""
    found = re.search(r"^\s*cd\s+(\"[^\"]*\"|'[^']*'|[^\s;&|]+)", start, re.MULTILINE)
    return shlex.split(found[1])[0] if found else "/"


def merged(name: str, job: Mapping[str, str], level: int = 0) -> dict[str, Any]:
    """Return what an EDF says, on top of what its base environments say."""
    if level > LEVELS:
        refuse(f"{name}: more than {LEVELS} base environments lie below each other")
    told = load(find(name, job))
    bases = told.pop("base_environment", [])
    found: dict[str, Any] = {}
    for each in [*([bases] if isinstance(bases, str) else bases)]:
        found = overlaid(found, merged(each, job, level + 1))
    return overlaid(found, told)


def overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return the values of both; of the same key the upper one counts, but what can be added is."""
    both = below | above
    for key in both:
        if key in below and key in above and isinstance(above[key], (list, dict)):
            mine, theirs = below[key], above[key]
            both[key] = [*mine, *theirs] if isinstance(theirs, list) else mine | theirs
    return both


def find(name: str, job: Mapping[str, str]) -> Path:
    """Return the file of an EDF, which is named by its path or sought in the search path."""
    if "/" in name:
        return Path(absolute(name))
    folders = job.get("EDF_PATH") or f"{job.get('HOME', '')}/.edf"
    for folder in folders.split(":"):
        if (file := Path(folder, f"{name}.toml")).is_file():
            return file
    return refuse(f"there is no environment {name!r} in {folders}")


def load(file: Path) -> dict[str, Any]:
    """Return what a file says, with annotations by their dotted names."""
    try:
        told = tomllib.loads(file.read_text())
    except OSError as error:
        refuse(f"unable to read {file}: {error.strerror}")
    except ValueError as error:
        refuse(f"{file} is not TOML: {error}")
    for key, value in told.items():
        if key not in KINDS:
            refuse(f"{file}: unknown key {key!r}; known are {', '.join(KINDS)}")
        if not isinstance(value, KINDS[key]):
            refuse(f"{file}: {key} can't be {value!r}")
    told["annotations"] = dict(flat(told.get("annotations", {})))
    texts = [*told.get("mounts", []), *told.get("env", {}).values(), *told["annotations"].values()]
    for value in texts:
        if not isinstance(value, str):
            refuse(f"{file}: {value!r} is no text")
    for mount in told.get("mounts", []):
        if not re.fullmatch(rf"[^:]+:(/|\$\{{)[^:]*(:{FLAG}([+]{FLAG})*)?", mount):
            refuse(f"{file}: no mount SOURCE:DESTINATION[:FLAGS]: {mount}")
    return told


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names in nested tables, and their values."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def expand_all(asked: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return all values with variables in their place."""

    def in_place(key: str, value: Any) -> Any:
        if isinstance(value, str):
            return expand(key, value, variables)
        if isinstance(value, list):
            return [in_place(key, each) for each in value]
        if isinstance(value, dict):
            return {name: in_place(f"{key}.{name}", each) for name, each in value.items()}
        return value

    return {key: in_place(key, value) for key, value in asked.items()}


def expand(key: str, text: str, variables: Mapping[str, str]) -> str:
    """Return a text with variables in their place: `${NAME}`, `${NAME:-}`; `$$` is a dollar sign."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match["or"] is None and match["name"] not in variables:
            refuse(f"{key}: the variable {match['name']} is not set, neither in the job nor in the image")
        return variables.get(match["name"]) or match["or"] or ""

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(:-(?P<or>[^}]*))?\}", value, text)


def absolute(path: str) -> str:
    """Return a path, which may begin with `./`: then it is in the directory in which the job is."""
    return str(Path.cwd() / path) if path.startswith("./") else path


def refuse(words: str) -> NoReturn:
    """End with what is wrong."""
    print(words)
    sys.exit(1)


if __name__ == "__main__":
    main()
