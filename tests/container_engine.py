"""A container engine with a storage of its own, and a registry: this machine's are left alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import missing, program

_SETTINGS = """\
[containers]
# As much as may be had without CAP_SYS_RESOURCE.
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]

[engine]
# crun does not run where there are control groups of both versions.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "{directory}/libpod"
"""
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{directory}/graph"
runroot = "{directory}/run"

[storage.options]
additionalimagestores = {others}
"""
_INSECURE = """
[[registry]]
location = "{place}"
insecure = true
"""
_REGISTRY = """\
version: 0.1
log: {{accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory}/data}}}}
http: {{addr: "127.0.0.1:0", secret: none}}
"""
_LISTENS = re.compile(r"listening on (127\.0\.0\.1:\d+)")


CACHE = Path(sys.prefix) / "images/cache"
"""What builds keep for the next ones, those of images for uenv, too."""


class Engine:
    """What Buildah and Podman go by; both see the same images.

    Attributes:
        environment: The variables that tell them.
        graph: Where they keep images and containers.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.graph = directory / "graph"
        names = {"CONTAINERS_CONF": "containers", "CONTAINERS_REGISTRIES_CONF": "registries"}
        names |= {"CONTAINERS_STORAGE_CONF": "storage"}
        self.environment = {name: str(directory / f"{stem}.conf") for name, stem in names.items()}
        self._write("CONTAINERS_CONF", _SETTINGS.format(directory=directory))
        self._write("CONTAINERS_REGISTRIES_CONF", "unqualified-search-registries = []\n")
        self.read()

    def read(self, *others: Path) -> None:
        """Have the images of other storages, too, as they are."""
        listed = json.dumps([str(path) for path in others])
        self._write("CONTAINERS_STORAGE_CONF", _STORAGE.format(directory=self._directory, others=listed))

    def trust(self, place: str) -> None:
        """Talk to a registry without TLS."""
        registries = Path(self.environment["CONTAINERS_REGISTRIES_CONF"])
        registries.write_text(registries.read_text() + _INSECURE.format(place=place))

    def _write(self, name: str, text: str) -> None:
        Path(self.environment[name]).write_text(text)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Engine]:
    """Lend an engine, which this process and those that it starts use; nothing is left of it in the end."""
    if os.geteuid():
        missing("without root there are no mounts", "run the tests as root")
    for each in ("buildah", "podman", "runc"):
        program(each)
    directory.mkdir()
    engine = Engine(directory)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environment.items():
            patch.setenv(name, value)
        try:
            yield engine
        finally:
            subprocess.run(["podman", "rm", "--all", "--force", "--time=0"], check=True, capture_output=True)
            remove(directory)


def remove(directory: Path) -> None:
    """Remove a directory, and what is mounted below it before."""
    unmount(directory)
    shutil.rmtree(directory)


def unmount(directory: Path) -> None:
    """Unmount what is mounted below a directory; engines leave a mount behind."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([path for path in mounts if path.startswith(f"{directory}/")]):
        subprocess.run(["umount", mount], check=True)


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[str]:
    """Lend a registry without TLS and accounts: `127.0.0.1:…`, what names of its images begin with."""
    config, log = directory / "config.yml", directory / "log"
    config.write_text(_REGISTRY.format(directory=directory))
    command = [program("docker-registry"), "serve", config]
    with log.open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            deadline = time.monotonic() + 30
            while not (found := _LISTENS.search(log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            yield found[1]
        finally:
            process.terminate()


def launcher_build(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `launcher build container`."""
    CACHE.parent.mkdir(exist_ok=True)
    command = [Path(sys.executable).with_name("launcher"), "build", "container", *arguments]
    options = {"stdout": subprocess.PIPE, "text": True} | options
    return subprocess.run([*command, "--cache", CACHE], check=False, **options)
