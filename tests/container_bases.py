"""Base images of containers, made of packages of Debian and PyPI; no registry is asked.

What takes long is done once: the images stay below PLACE, until what they are made of changes here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import container_engine
from support import program

DEBIAN = "localhost/debian:bookworm-slim"
"""Shaped like Debian's: small, without Python, without certificates."""
NGC = "localhost/ngc:25.06-py3"
"""Shaped like NVIDIA's PyTorch: its Python pinned, an old Jupyter in it, a banner before each command."""
NGC_WITHOUT_IPYKERNEL = "localhost/ngc-without-ipykernel:25.06-py3"
"""The same without ipykernel, and without what only ipykernel needs."""

PLACE = Path(sys.prefix) / "bases"
"""Where they stay."""
SUITE = "bookworm"
"""The Debian of all of them."""
TIME = 1_700_000_000
"""When all of them were made, whenever that was."""

TORCH = "2.8.0a0+5228986c39.nv25.06"
"""The version of what stands in for NVIDIA's torch."""
PINS = """\
argon2-cffi==23.1.0
argon2-cffi-bindings==21.2.0
asttokens==2.4.1
attrs==23.2.0
beautifulsoup4==4.12.3
bleach==6.1.0
cffi==1.16.0
decorator==5.1.1
defusedxml==0.7.1
entrypoints==0.4
executing==2.0.1
fastjsonschema==2.19.1
ipython==8.21.0
ipython-genutils==0.2.0
jedi==0.19.1
jinja2==3.1.3
jsonschema==4.21.1
jsonschema-specifications==2023.12.1
jupyter-client==7.4.9
jupyter-core==5.3.0
jupyterlab-pygments==0.3.0
markupsafe==2.1.5
matplotlib-inline==0.1.6
mistune==2.0.5
nbclient==0.9.0
nbconvert==7.2.10
nbformat==5.9.2
nest-asyncio==1.6.0
notebook==6.4.13
numpy==1.26.4
packaging==23.2
pandocfilters==1.5.1
parso==0.8.3
pexpect==4.9.0
platformdirs==4.2.0
prometheus-client==0.20.0
prompt-toolkit==3.0.43
ptyprocess==0.7.0
pure-eval==0.2.2
pycparser==2.21
pygments==2.17.2
python-dateutil==2.8.2
pyzmq==24.0.1
referencing==0.33.0
rpds-py==0.18.0
send2trash==1.8.2
six==1.16.0
soupsieve==2.5
stack-data==0.6.3
terminado==0.18.0
tinycss2==1.2.1
tornado==6.2
traitlets==5.9.0
wcwidth==0.2.13
webencodings==0.5.1
"""
KERNEL_PINS = """\
comm==0.2.1
debugpy==1.8.1
ipykernel==6.21.3
psutil==5.9.4
"""

_TORCH_PROJECT = f"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "torch"
version = "{TORCH}"
description = "Stands in for NVIDIA's PyTorch"
dependencies = ["numpy"]
"""
_TORCH_MODULE = f"""\
'''Stands in for NVIDIA's PyTorch, which no test has: small tensors on numpy, and no GPU.'''

import numpy

from torch import cuda

__all__ = ["Tensor", "cuda", "ones", "tensor"]
__version__ = "{TORCH}"


class Tensor:
    def __init__(self, values):
        self._values = numpy.asarray(values)

    def __add__(self, other):
        return Tensor(self._values + getattr(other, "_values", other))

    def __repr__(self):
        return f"tensor({{self._values.tolist()}})"

    def sum(self):
        return Tensor(self._values.sum())

    def item(self):
        return self._values.item()


def tensor(values):
    return Tensor(values)


def ones(*shape):
    return Tensor(numpy.ones(shape))
"""
_CUDA_MODULE = """\
def is_available():
    return False


def device_count():
    return 0
"""
_ENTRYPOINT = """\
#!/bin/bash
cat <<'BANNER'

=============
== PyTorch ==
=============

This stands in for NVIDIA Release 25.06; NVIDIA has no part in it.

BANNER
[ $# -gt 0 ] || set -- /bin/bash
exec "$@"
"""
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEBIAN_FILE = f"""\
FROM scratch
ADD debian.tar /
ENV {_PATH}
CMD ["bash"]
"""
# The base's own /mnt stays: an engine removes the place that it mounted something at.
# Byte code that goes by the times of files would be stale in an image whose times are all the same.
_INSTALL = """\
RUN --mount=type=bind,source=wheels,target=/launcher-wheels \\
    SOURCE_DATE_EPOCH=0 PIP_CONSTRAINT= PIP_ROOT_USER_ACTION=ignore \\
    pip install --quiet --no-cache-dir --no-index --no-deps \\
        --find-links=/launcher-wheels --requirement=/launcher-wheels/{} && \\
    PIP_CONSTRAINT= pip list --format=freeze >/etc/pip/constraint.txt
"""
_WITHOUT_FILE = f"""\
FROM scratch
ADD python.tar /
COPY nvidia_entrypoint.sh /opt/nvidia/
COPY constraint.txt /etc/pip/
ENV {_PATH} \\
    PYTHONIOENCODING=utf-8 \\
    LC_ALL=C.UTF-8 \\
    SHELL=/bin/bash \\
    PIP_BREAK_SYSTEM_PACKAGES=1 \\
    PIP_CONSTRAINT=/etc/pip/constraint.txt \\
    JUPYTER_PORT=8888 \\
    PYTORCH_VERSION={TORCH} \\
    NVIDIA_PYTORCH_VERSION=25.06 \\
    NVIDIA_VISIBLE_DEVICES=all \\
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \\
    LD_LIBRARY_PATH=/usr/local/cuda/compat/lib:/usr/local/nvidia/lib:/usr/local/nvidia/lib64
WORKDIR /workspace
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]
{_INSTALL.format("pins")}"""
_NGC_FILE = f"""\
FROM {NGC_WITHOUT_IPYKERNEL}
{_INSTALL.format("kernel-pins")}"""


def store() -> Path:
    """Return the storage that the images are in, which engines may read beside their own; make it first."""
    PLACE.mkdir(exist_ok=True)
    made = PLACE / hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    # Tests that run beside these may need them, too.
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for before in PLACE.glob("*/"):
                container_engine.remove(before)
            with container_engine.running(PLACE / "new") as engine:
                _make()
                container_engine.unmount(engine.graph)
                engine.graph.rename(made)
    return made


def _make() -> None:
    """Make the images in the storage of the engine."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory, ThreadPoolExecutor() as threads:
        context = Path(directory)
        debian = threads.submit(_debian, context)
        parts = [threads.submit(part, context) for part in (_python, _torch, _wheels)]
        for part in parts:
            part.result()
        script = context / "nvidia_entrypoint.sh"
        script.write_text(_ENTRYPOINT)
        script.chmod(0o755)
        (context / "constraint.txt").touch()
        _build(context, NGC_WITHOUT_IPYKERNEL, _WITHOUT_FILE)
        _build(context, NGC, _NGC_FILE)
        debian.result()


def _debian(context: Path) -> None:
    _bootstrap(context / "debian.tar")
    _build(context, DEBIAN, _DEBIAN_FILE)


def _python(context: Path) -> None:
    _bootstrap(context / "python.tar", "ca-certificates", "python3", "python3-pip")


def _bootstrap(archive: Path, *packages: str) -> None:
    """Make a root file system of Debian, as its images are made: without what people read."""
    unread = ("doc", "info", "locale", "man")
    _run(
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        # Without the program that moves files in older systems, and Perl for it.
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        f"--include={','.join(('usr-is-merged', *packages))}",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in unread),
        # The sources may be a copy of some day.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        # The host's own.
        '--customize-hook=rm "$1/etc/hostname" "$1/etc/resolv.conf"',
        SUITE,
        archive,
        *_sources(),
        SOURCE_DATE_EPOCH=str(TIME),
        TMPDIR=str(archive.parent),
    )


def _sources() -> list[str]:
    """Return where the host has its own packages from, if they are the same Debian's."""
    host = Path("/etc/apt/sources.list.d/debian.sources")
    return [str(host)] if host.is_file() and SUITE in host.read_text() else []


def _torch(context: Path) -> None:
    """Make what stands in for torch, as a package."""
    project = context / "torch"
    module = project / "torch"
    module.mkdir(parents=True)
    (project / "pyproject.toml").write_text(_TORCH_PROJECT)
    (module / "__init__.py").write_text(_TORCH_MODULE)
    (module / "cuda.py").write_text(_CUDA_MODULE)
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", context / "wheels", cwd=project)


def _wheels(context: Path) -> None:
    """Fetch the others."""
    wheels = context / "wheels"
    wheels.mkdir(exist_ok=True)
    (wheels / "pins").write_text(f"{PINS}torch=={TORCH}\n")
    (wheels / "kernel-pins").write_text(KERNEL_PINS)
    wanted = context / "wanted"
    wanted.write_text(PINS + KERNEL_PINS)
    how = ["--no-deps", "--only-binary=:all:", "--python-version=3.11"]
    _run(sys.executable, "-m", "pip", "download", "--quiet", *how, "--dest", wheels, "--requirement", wanted)


def _build(context: Path, name: str, text: str) -> None:
    file = context / f"Dockerfile-{name.partition('/')[2].partition(':')[0]}"
    file.write_text(text)
    how = ["--isolation=chroot", "--pull=never", "--format=docker", f"--timestamp={TIME}"]
    _run("buildah", "build", *how, f"--tag={name}", f"--file={file}", context)


def _run(*command: str | Path, cwd: Path | None = None, **environment: str) -> None:
    """Run a program; what it says is shown if it fails."""
    done = subprocess.run(
        [program(str(command[0])), *command[1:]],
        cwd=cwd,
        env=os.environ | environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}"
