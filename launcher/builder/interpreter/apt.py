"""Debian's packages, fetched with this machine's apt but apart from what it has installed.

The machine's sources and keys serve; state, cache and processor are those of a directory of its own, so that
packages for other processors can be had, nobody has to be root, and nothing on the machine changes.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from launcher.builder.target import OTHER_NAMES
from launcher.errors import BuildFailed, MissingPart

_CANDIDATE = re.compile(r"^(\S+):\n(?:  .*\n)*?  Candidate: (\S+)$", re.MULTILINE)


class Apt:
    """Apt for one kind of processors.

    Args:
        directory: An empty directory.
        arch: The processors, as `uname -m` names them.

    Raises:
        BuildFailed: If the lists of packages can't be fetched.
        MissingPart: If this machine has no apt.
    """

    def __init__(self, directory: Path, arch: str) -> None:
        self._directory = directory
        self._arch = OTHER_NAMES[arch]
        for name in ("state/lists/partial", "cache/archives/partial", "packages"):
            (directory / name).mkdir(parents=True)
        (directory / "state/status").touch()
        self._environment = {**os.environ, "LC_ALL": "C"}
        # Proxies and the like; neither hooks nor preferences of the machine.
        own = [line for line in self._run("apt-config", "dump").splitlines() if line.startswith("Acquire::")]
        (directory / "apt.conf").write_text(
            "\n".join(
                [
                    *own,
                    f'Dir::State "{directory}/state";',
                    f'Dir::State::status "{directory}/state/status";',
                    f'Dir::Cache "{directory}/cache";',
                    'Dir::Etc::main "/dev/null";',
                    'Dir::Etc::parts "/dev/null";',
                    'Dir::Etc::preferences "/dev/null";',
                    'Dir::Etc::preferencesparts "/dev/null";',
                    f'APT::Architecture "{self._arch}";',
                    f'APT::Architectures {{ "{self._arch}"; }};',
                    'APT::Sandbox::User "root";',
                    'Acquire::Languages "none";',
                    "",
                ]
            )
        )
        self._environment["APT_CONFIG"] = str(directory / "apt.conf")
        self._run("apt-get", "-qq", "update")

    def newest(self, packages: list[str]) -> dict[str, str]:
        """Return the newest version of each package.

        Raises:
            BuildFailed: If there is no such package.
        """
        versions = dict(_CANDIDATE.findall(self._run("apt-cache", "policy", *packages)))
        missing = [package for package in packages if versions.get(package, "(none)") == "(none)"]
        if missing:
            raise self._lacks(f"no package {missing[0]} for {self._arch}")
        return {package: versions[package] for package in packages}

    def fetch(self, packages: dict[str, str]) -> list[Path]:
        """Download packages, whose signatures apt checks.

        Args:
            packages: Package → version.

        Returns:
            A file for each.

        Raises:
            BuildFailed: If one can't be had.
        """
        directory = self._directory / "packages"
        wanted = [f"{package}={version}" for package, version in packages.items()]
        try:
            self._run("apt-get", "-qq", "download", *wanted, at=directory)
        except BuildFailed as error:
            raise self._lacks(f"not all pinned packages for {self._arch}", error.why) from None
        return sorted(directory.glob("*.deb"))

    def _lacks(self, what: str, why: str = "") -> BuildFailed:
        return BuildFailed(
            f"This machine's apt offers {what}.",
            why=why,
            todo="Its sources must offer the release that interpreters.yaml names. Mirrors drop versions "
            "that are replaced: pin the newer ones, or take a standalone Python with --interpreter.",
        )

    def _run(self, *command: str, at: Path | None = None) -> str:
        try:
            done = subprocess.run(
                command, cwd=at, env=self._environment, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise MissingPart(
                f"The pinned Python comes from Debian, and this machine has no {command[0]}.",
                todo="Build on Debian, or take a standalone Python with --interpreter.",
            ) from None
        if done.returncode:
            raise BuildFailed(f"{' '.join(command[:3])} failed.", why=done.stderr.strip()[-1000:])
        return done.stdout
