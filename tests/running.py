"""The batch script, run for real: Bash, a small program in the server's place, and a hub that listens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from rendering import cluster_file, script
from support import program
from unit.conftest import StandInHub

HELPERS = {
    # Name → how its argument list ends and the server's command begins.
    "uenv": "--",
    "squashfs-mount": "--",
    "srun": "--environment=/edf/a.toml",
}
HELPER = """\
#!/bin/bash
printf '%s\\n' "$@" > {here}/arguments-{name}
while [ "$1" != {last} ]; do shift; done
shift
echo $$ > {here}/pid
exec "$@"
"""
SCANCEL = """\
#!/bin/bash
printf '%s\\n' "$@" > {here}/arguments-scancel
kill -TERM "$(< {here}/pid)"
"""


class Job:
    """The script, run as Slurm runs it: Bash, a file, and a directory to start in."""

    def __init__(self, directory, text, path):
        self.directory = directory
        file = directory / "slurm_script"
        file.write_text(text)
        self._log = (directory / "job.log").open("w+")
        self.process = subprocess.Popen(
            ["/bin/bash", file],
            cwd=directory,
            env={"PATH": path, "SLURM_JOB_ID": "42"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    @property
    def log(self):
        self._log.seek(0)
        return self._log.read()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        return self.process.wait(timeout=60)


@pytest.fixture
def hub():
    hub = StandInHub()
    yield hub
    hub.close()


@pytest.fixture
def run(tmp_path, hub):
    """Return a function that starts a rendered script, with a small program in the server's place."""
    with contextlib.ExitStack() as jobs:

        def start(server="exit 0", *, mode="host", programs=("curl",), shell="sh", path="", **facts):
            launcher = tmp_path / "launcher-singleuser"
            launcher.write_text(f"#!/bin/bash\ncd {tmp_path}\n{server}\n")
            launcher.chmod(0o755)
            environment = {
                "host": {"kind": "host", "launcher": str(launcher)},
                "container": {"kind": "container", "edf": "/edf/a.toml", "launcher": str(launcher)},
            }.get(mode, {"kind": "uenv", "image": "/images/gnu.squashfs", "view": "default"})
            file = cluster_file(
                tmp_path,
                launcher=None,
                tools={"image": "/images/tools.squashfs", "launcher": str(launcher)},
                uenv={"attach": mode if mode in ("run", "squashfs-mount") else "directive"},
                environments=[{"id": "it", **environment, **facts.pop("environment", {})}],
                **facts,
            )
            path = path or only(tmp_path, programs, shell)
            return jobs.enter_context(Job(tmp_path, script(file, url=hub.url), path))

        yield start


def only(here, names, shell):
    """Make a PATH with some programs, a shell as sh, and stand-ins for those that attach an environment."""
    directory = here / "bin"
    directory.mkdir()
    (directory / "sh").symlink_to(program(shell))
    for name in names:
        # Not a version manager's python3: that is a script, which needs more of a PATH.
        found = os.path.realpath(sys.executable) if name == "python3" else program(name)
        (directory / name).symlink_to(found)
    stand_ins = {name: HELPER.format(here=here, name=name, last=last) for name, last in HELPERS.items()}
    for name, text in {**stand_ins, "scancel": SCANCEL.format(here=here)}.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return str(directory)


def appears(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
