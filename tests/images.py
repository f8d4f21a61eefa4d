"""Squashfs images for sessions: JupyterLab itself, and a programming environment that does not fit it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import program

from launcher.sandbox import software
from launcher.sandbox.software import stage

TOOLS = "/user-tools"
USER = "/user-environment"
PREFIX = f"{USER}/env/default"
"""Prefix of the Python in the programming environment."""
CONTAINER = "/opt/launcher"
"""Prefix of JupyterLab in a container."""
CONTAINER_PREFIX = "/opt/python"
"""Prefix of the container's own Python."""

JUPYTER_VIEW = {"list": {"PATH": [{"op": "prepend", "value": [f"{TOOLS}/env/jupyter/bin"]}]}}
DEFAULT_VIEW = {
    "list": {
        "PATH": [{"op": "prepend", "value": [f"{PREFIX}/bin"]}],
        "PYTHONPATH": [{"op": "prepend", "value": [f"{USER}/foreign/python"]}],
        "LD_LIBRARY_PATH": [{"op": "append", "value": [f"{USER}/foreign/lib"]}],
        "MANPATH": [{"op": "unset"}],
    },
    "scalar": {"PRGENV": "test", "PRGENV_CACHE": "${@HOME@}/.cache/prgenv", "PRGENV_UNWANTED": None},
}
BARE_VIEW = {"scalar": {"PRGENV_BARE": "yes"}}

# A Python that is not the environment's ends at once, and says so, when it meets its sitecustomize.
_SITECUSTOMIZE = f"""\
import os, sys
if sys.prefix != {PREFIX!r}:
    os.write(2, f"{{sys.prefix}} has met the PYTHONPATH of {USER}\\n".encode())
    os._exit(99)
"""
# A Python that takes the arguments of Julia's kernel: the last one is the connection file.
_JULIA = f"""\
#!/bin/sh
for last; do :; done
exec {PREFIX}/bin/python3 -m ipykernel_launcher -f "$last"
"""
_BROKEN_MODULE = 'raise ImportError(f"{__name__} is for another Python")\n'
_EMPTY_LIBRARY = "libsqlite3.so.0"
"""Without it, Jupyter Server does not start, and IPython only has no history."""
_MACHINE = slice(18, 20)
"""Where an ELF file names its machine, elf(5)."""
_AARCH64, _X86_64 = b"\xb7\x00", b"\x3e\x00"


class Images(NamedTuple):
    """Files that sessions are made of.

    Attributes:
        tools: The tools image.
        foreign_tools: One that holds programs for other processors.
        prgenv: The programming environment `prgenv-test`, with the views `default` and `bare`.
        foreign_prgenv: One that holds programs for other processors, with the view `default`.
        plain: One that does not describe itself.
        container: A container's, in Enroot's format: variables, and links such as /bin, for a node's /usr.
        opt: What is below `/opt` in a container: JupyterLab, and the container's own Python.
    """

    tools: Path
    foreign_tools: Path
    prgenv: Path
    foreign_prgenv: Path
    plain: Path
    container: Path
    opt: Path


def make_images(directory: Path) -> Images:
    """Make all images; every account can read them."""
    directory.chmod(0o755)
    opt = directory / "opt"
    opt.mkdir()
    _stage(opt / "launcher", CONTAINER)
    _stage_ipykernel(opt / "python", CONTAINER_PREFIX)
    return Images(
        _tools(directory),
        _foreign_tools(directory),
        _prgenv(directory),
        _foreign_prgenv(directory),
        _plain(directory),
        _container(directory),
        opt,
    )


def pack(directory: Path, name: str, views: dict[str, Any], default: str = "", mount: str = USER) -> Path:
    """Make an image of what lies below a directory; it describes itself, and has its views beside it."""
    image = directory.with_name(f"{name}.squashfs")
    described: dict[str, Any] = {
        "name": name,
        "mount": mount,
        "views": {
            view: {"description": "", "env": {"version": 1, "type": "augment", "values": values}}
            for view, values in views.items()
        },
    }
    meta = directory / "meta"
    meta.mkdir(parents=True)
    (meta / "env.json").write_text(json.dumps(described | ({"default-view": default} if default else {})))
    squash(directory, image)
    write_views(image, views)
    return image


def write_views(image: Path, views: dict[str, Any]) -> None:
    """Put beside an image shell scripts that do what its views do, as the tests' Slurm plugin wants them."""
    for view, values in views.items():
        Path(f"{image}.{view}.sh").write_text("\n".join([*_shell_lines(values), ""]))


def _tools(directory: Path) -> Path:
    tree = directory / "tools"
    _stage(tree / "env/jupyter", f"{TOOLS}/env/jupyter")
    return pack(tree, "jupyterlab", {"jupyter": JUPYTER_VIEW}, "jupyter", TOOLS)


def _foreign_tools(directory: Path) -> Path:
    tree = directory / "foreign-tools"
    programs = tree / "env/jupyter/bin"
    programs.mkdir(parents=True)
    _program(programs / "python", _foreign_program())
    _program(programs / "launcher-singleuser", f"#!{TOOLS}/env/jupyter/bin/python\nimport sys\n".encode())
    return pack(tree, "foreign-tools", {"jupyter": JUPYTER_VIEW}, "jupyter", TOOLS)


def _foreign_prgenv(directory: Path) -> Path:
    tree = directory / "foreign-prgenv"
    programs = tree / "env/default/bin"
    programs.mkdir(parents=True)
    _program(programs / "python3", _foreign_program())
    return pack(tree, "foreign-prgenv", {"default": DEFAULT_VIEW}, "default")


def _foreign_program() -> bytes:
    content = bytearray(Path(program("true")).read_bytes())
    content[_MACHINE] = _X86_64 if os.uname().machine == "aarch64" else _AARCH64
    return bytes(content)


def _prgenv(directory: Path) -> Path:
    tree = directory / "prgenv"
    prefix = tree / "env/default"
    _stage_ipykernel(prefix, PREFIX)
    _program(prefix / "bin/julia", _JULIA.encode())
    julia = prefix / "share/jupyter/kernels/julia-1.11"
    julia.mkdir(parents=True)
    command = ["julia", "-i", "--color=yes", "--project=@.", "-e", "import IJulia", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Julia 1.11", "language": "julia"}
    (julia / "kernel.json").write_text(json.dumps(kernel))
    _make_foreign(tree / "foreign")
    return pack(tree, "prgenv-test", {"default": DEFAULT_VIEW, "bare": BARE_VIEW}, "default")


def _plain(directory: Path) -> Path:
    tree = directory / "plain"
    tree.mkdir()
    (tree / "README").write_text("A squashfs file.\n")
    return squash(tree, tree.with_name("plain.squashfs"))


def _container(directory: Path) -> Path:
    tree = directory / "container"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/environment").write_text(f"PATH={CONTAINER_PREFIX}/bin:/usr/bin:/bin\n")
    for name, target in system_links():
        (tree / name).symlink_to(target)
    return squash(tree, tree.with_name("container.sqsh"))


def system_links() -> Iterator[tuple[str, Path]]:
    """Yield the links that lead from the root into /usr, such as /bin, and where they lead."""
    for path in Path("/").iterdir():
        if path.is_symlink() and path.readlink().parts[:1] == ("usr",):
            yield path.name, path.readlink()


def squash(directory: Path, image: Path) -> Path:
    """Move what lies below a directory to an image."""
    quick = ("-comp", "zstd", "-Xcompression-level", "1", "-all-root", "-quiet", "-no-progress")
    subprocess.run([program("mksquashfs"), directory, image, *quick], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(directory)
    return image


def _make_foreign(directory: Path) -> None:
    """Make the modules and libraries that only the environment's own programs can use."""
    modules, libraries = directory / "python", directory / "lib"
    modules.mkdir(parents=True)
    libraries.mkdir()
    (modules / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    for name in ("jupyter_server", "jupyterlab", "jupyterhub", "launcher", "terminado"):
        (modules / f"{name}.py").write_text(_BROKEN_MODULE)
    (modules / "of_prgenv.py").write_text('"""A module that only this PYTHONPATH leads to."""\n')
    link = ("-shared", "-nostdlib", f"-Wl,-soname,{_EMPTY_LIBRARY}", "-x", "c", os.devnull)
    subprocess.run([program("gcc"), *link, "-o", libraries / _EMPTY_LIBRARY], check=True)


def _stage(target: Path, place: str) -> None:
    """Copy the base install to where it lies until it is mounted at its place."""
    stage(target)
    for script in (target / "bin").iterdir():
        content = script.read_bytes()
        if content.startswith(b"#!"):
            script.write_bytes(content.replace(f"#!{target}/".encode(), f"#!{place}/".encode(), 1))


def _stage_ipykernel(target: Path, place: str) -> None:
    """Make a Python that has ipykernel and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(software, "DISTRIBUTION", "ipykernel")
        _stage(target, place)
    (own,) = target.glob("lib/*/site-packages/launcher")
    shutil.rmtree(own)
    (target / "bin" / software.STAND_IN).unlink()
    (target / "bin/python3").symlink_to("python")


def _program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def _shell_lines(values: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in values.get("scalar", {}).items():
        expanded = re.sub(r"\$\{@(\w+)@\}", r"$\1", value or "")
        lines.append(f"unset {name}" if value is None else f'export {name}="{expanded}"')
    for name, operations in values.get("list", {}).items():
        for operation in operations:
            fields = ":".join(operation.get("value", []))
            lines.append(
                {
                    "prepend": f'export {name}="{fields}${{{name}:+:${name}}}"',
                    "append": f'export {name}="${{{name}:+${name}:}}{fields}"',
                    "set": f'export {name}="{fields}"',
                    "unset": f"unset {name}",
                }[operation["op"]]
            )
    return lines
