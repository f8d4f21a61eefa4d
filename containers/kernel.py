"""Installs the wheels that lie beside it for the Python that runs it, in a build without network.

Nothing is there that the image holds already. Byte code is made for the content of its source, not for that
one's time, which layers of images don't keep.
"""

import compileall
import importlib
import importlib.metadata
import os
import py_compile
import subprocess
import sys

DIRECTORY = os.path.dirname(os.path.abspath(__file__))
PIP = "-m pip install --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check".split()
ASIDE = {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_ROOT_USER_ACTION": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}


def main() -> None:
    """Install all of them."""
    wheels = [each.split("-")[:2] for each in sorted(os.listdir(DIRECTORY)) if each.endswith(".whl")]
    if not wheels:
        return
    # By name, so that no note of where the file lay stays in the image.
    named = [f"{name}=={version}" for name, version in wheels]
    command = [sys.executable, *PIP, f"--find-links={DIRECTORY}", *named]
    subprocess.run(command, check=True, env={**os.environ, **ASIDE})
    importlib.invalidate_caches()
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for name, _ in wheels:
        for file in importlib.metadata.distribution(name).files or ():
            if file.suffix == ".py":
                compileall.compile_file(str(file.locate()), quiet=2, invalidation_mode=mode)


main()
