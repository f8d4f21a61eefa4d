"""Each recipe's lock can be installed on all machines that it is for, without a compiler."""

import subprocess
import sys
from pathlib import Path

import pytest

import launcher
from launcher.builder.lock.checks import PYTHONS
from launcher.builder.lock.resolve import find_uv
from launcher.builder.target import ARCHITECTURES

pytestmark = pytest.mark.extra

LOCKS = sorted(Path(launcher.__file__).parents[1].glob("[cu]*/*/requirements.txt"))
GLIBC = "2_31"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: ".".join(map(str, python)))
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_package_has_a_wheel_that_is_in_the_lock(tmp_path, lock, python, arch):
    done = subprocess.run(
        [
            *(find_uv(), "pip", "install", "--dry-run", "--requirements", lock),
            *("--no-deps", "--only-binary=:all:", "--require-hashes", "--target", tmp_path),
            *("--python", sys.executable, "--python-version", ".".join(map(str, python))),
            *("--python-platform", f"{arch}-manylinux_{GLIBC}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
