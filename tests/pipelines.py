"""Pipelines that build and publish images: what their files say, and their scripts, run with stand-ins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from launcher.clusters.shell import bash_findings, find_shellcheck, shellcheck_findings

GITLAB, GITHUB = "gitlab.yml", "github.yml"
_SCHEMAS = {
    GITLAB: ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    GITHUB: ["--builtin-schema", "vendor.github-workflows"],
}
_ACTION = re.compile(r"uses: ([a-z-]+)/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+")


def installed(name: str) -> Path:
    """Return a program that was installed with the tests."""
    return Path(sys.executable).parent / name


def schema_findings(pipeline: Path) -> str:
    """Return what its published schema says of a pipeline's file; empty if it fits."""
    # The schemas come with the program: it has no way out.
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [installed("check-jsonschema"), *_SCHEMAS[pipeline.name], pipeline]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def shell_of(pipeline: Path) -> list[str]:
    """Return all shell of a pipeline, a script for each job or step."""
    said = yaml.safe_load(pipeline.read_text())
    if pipeline.name == GITHUB:
        return [step["run"] for job in said["jobs"].values() for step in job["steps"] if "run" in step]
    jobs = [job for job in said.values() if isinstance(job, dict)]
    return ["\n".join(job[key]) for job in jobs for key in ("before_script", "script") if job.get(key)]


def shell_findings(file: Path) -> list[str]:
    """Return what bash and shellcheck say of a script, or of all shell of a pipeline."""
    scripts = shell_of(file) if file.suffix == ".yml" else [file.read_text()]
    assert scripts
    shellcheck = find_shellcheck()
    assert shellcheck
    found = [*map(bash_findings, scripts), *shellcheck_findings(shellcheck, scripts)]
    return [each.message for findings in found for each in findings]


def owners_of_actions(pipeline: Path) -> set[str]:
    """Return whose actions a workflow uses; each must be pinned by its commit, with the release beside it."""
    used = re.findall(r"uses: .*", pipeline.read_text())
    pinned = [_ACTION.fullmatch(each) for each in used]
    assert used
    assert all(pinned), used
    return {each[1] for each in pinned if each}


def lines_with(word: str, *files: Path) -> list[str]:
    """Return the lines that hold a word, without what surrounds them."""
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if word in line]


class Scripts:
    """The scripts of a pipeline, with stand-ins for what they call.

    Attributes:
        programs: Where the stand-ins lie; they append what they are told to the file that `SAID` names.

    Args:
        ci: Where the scripts lie.
        directory: A directory for the stand-ins.
        stand_ins: Program → its text.
        usual: What the environment holds unless it is told otherwise.
    """

    def __init__(
        self, ci: Path, directory: Path, stand_ins: Mapping[str, str], usual: Mapping[str, str]
    ) -> None:
        self._ci = ci
        self._said = directory / "said"
        self._usual = usual
        self.programs = directory / "bin"
        self.programs.mkdir()
        for name, text in stand_ins.items():
            self.add(name, text)

    def add(self, name: str, text: str) -> None:
        """Add a stand-in."""
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script for the directory `images`."""
        self._said.write_text("")
        path = f"{self.programs}:/usr/bin:/bin:/usr/sbin:/sbin"
        environment = {**self._usual, **variables, "PATH": path, "SAID": str(self._said)}
        command = [self._ci / script, *arguments, "images"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def told(self) -> list[str]:
        """Return what the stand-ins were told by the last script."""
        return self._said.read_text().splitlines()

    def __call__(self, script: str, status: int = 0, **variables: str) -> list[str]:
        """Run a script; return what the stand-ins were told, or for a failure what it said."""
        done = self.run(script, **variables)
        assert done.returncode == status, done.stderr
        return done.stderr.splitlines() if status else self.told()


CURL = """#!/bin/sh
for url; do :; done
while [ $# -gt 1 ]; do [ "$1" = --output ] && output=$2; shift; done
echo "curl $url" >> "$SAID"
touch "$output"
"""
"""Stands in for curl: what it is to fetch is empty."""
