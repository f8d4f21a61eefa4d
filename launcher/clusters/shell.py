"""What bash and shellcheck say of a script, which neither of them runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from launcher.errors import MissingPart
from launcher.yaml_file.problem import shown

_TIME_OUT = 60
"""Seconds after which either of them is ended."""

# Neither BASH_ENV nor SHELLCHECK_OPTS, nor anything else of whoever checks.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}

_SAID = re.compile(r"[^:]*: (?:line (?P<line>[0-9]+): )?(?P<text>.*)")
_BEGUN = re.compile(r" at line ([0-9]+)")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a script.

    Attributes:
        line: Line, from 1; it may be the one after the last.
        column: Column, from 1.
        message: What is wrong.
    """

    line: int
    column: int
    message: str


def find_shellcheck() -> Path | None:
    """Return the shellcheck of PATH, or the one that was installed with this package, or None."""
    beside = Path(sys.executable).parent
    found = shutil.which("shellcheck") or shutil.which("shellcheck", path=beside)
    return Path(found) if found else None


def bash_findings(script: str) -> list[Finding]:
    """Return what `bash -n` says of a script.

    Raises:
        MissingPart: If there is no bash.
    """
    # A `shopt` that is not run can't teach bash the patterns that come after it.
    patterns = ["-O", "extglob"] if "extglob" in script else []
    with TemporaryDirectory(prefix="launcher-check-") as directory:
        Path(directory, "script").write_text(script, encoding="utf-8")
        done = _run("bash", ["--norc", "--noprofile", *patterns, "-n", "script"], directory)
    lines = done.stderr.splitlines()
    said = [match for line in lines if (match := _SAID.fullmatch(line)) and "setlocale" not in line]
    # It shows the line that it stumbled over as one more message.
    return [_finding(each["line"], each["text"]) for each in said if not each["text"].startswith("`")]


def shellcheck_findings(program: Path, scripts: Sequence[str]) -> list[list[Finding]]:
    """Return the warnings and errors of shellcheck for each of some scripts.

    Raises:
        MissingPart: If the program does not work.
    """
    if not scripts:
        return []
    names = [f"script{position}" for position in range(len(scripts))]
    with TemporaryDirectory(prefix="launcher-check-") as directory:
        for name, script in zip(names, scripts, strict=True):
            Path(directory, name).write_text(script, encoding="utf-8")
        options = ["--norc", "--shell=bash", "--severity=warning", "--format=json1"]
        done = _run(str(program), [*options, *names], directory)
    try:
        comments = json.loads(done.stdout)["comments"]
    except (ValueError, LookupError, TypeError):
        raise MissingPart(
            f"{program} does not work.",
            why=shown(done.stderr.strip(), 200),
            todo="Install shellcheck 0.7 or later, or do without: launcher check needs none.",
        ) from None
    findings: dict[str, list[Finding]] = {name: [] for name in names}
    for each in comments:
        message = f"{each['message']} (SC{each['code']})"
        findings[each["file"]].append(Finding(each["line"], each["column"], shown(message, 300)))
    return list(findings.values())


def _finding(line: str | None, text: str) -> Finding:
    text = text.removeprefix("warning: ")
    if begun := _BEGUN.search(text):
        # A here-document without an end: where it begins says more than where the script ends.
        line, text = begun[1], text.replace(begun[0], "", 1)
    return Finding(int(line or 1), 1, f"bash: {shown(text, 200)}")


def _run(program: str, arguments: list[str], directory: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [program, *arguments],
            cwd=directory,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIME_OUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPart(
            f"{program} does not work.",
            why=f"{error}.",
            todo=f"Install {program}, which cluster files are checked with.",
        ) from None
