"""Everything that can be known to be wrong with a cluster file before a job runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.clusters.cluster_file import SAMPLE_FACTS, ClusterFile
from launcher.clusters.model import Cluster
from launcher.clusters.request import LaunchRequest
from launcher.clusters.shell import Finding, bash_findings, shellcheck_findings
from launcher.errors import InvalidFile, MissingPart, UsageError
from launcher.yaml_file.part import Place
from launcher.yaml_file.problem import Problem, shown
from launcher.yaml_file.seen import Seen
from launcher.yaml_file.source import Source

_SBATCH = re.compile(r"^#SBATCH .*$", re.MULTILINE)
_JINJA = re.compile(r"{{.*?}}|{%.*?%}|{#.*?#}")


@dataclass(frozen=True)
class Checked:
    """What came of checking a cluster file.

    Attributes:
        path: The file.
        scripts: How many batch scripts were made from it and checked.
        problems: What is wrong, each fault once.
    """

    path: Path
    scripts: int
    problems: tuple[Problem, ...]


def cluster_files(directory: Path) -> list[Path]:
    """Return the cluster files of a directory, sorted.

    Raises:
        UsageError: If it has none, or can't be read.
    """
    try:
        found = sorted(each for each in directory.iterdir() if each.suffix == ".yaml" and each.stem[0] != ".")
    except OSError as error:
        raise UsageError(f"{directory} can't be read.", why=f"{error.strerror}.") from None
    if not found:
        raise UsageError(f"There is no cluster file in {directory}.", todo="A cluster file ends in .yaml.")
    return found


def check(path: Path, shellcheck: Path | None) -> Checked:
    """Check a cluster file: by itself, and by the script for each partition and environment.

    Args:
        path: The file.
        shellcheck: The program that looks at the scripts besides bash, if there is one.

    Raises:
        MissingPart: If bash or shellcheck does not work.
    """
    seen = Seen()
    file, problems = _load(path, seen)
    scripts, found = _bash_problems(path, file, seen, shellcheck)
    return Checked(path, scripts, tuple(dict.fromkeys([*problems, *found])))


def load_checked(path: Path, seen: Seen | None = None) -> ClusterFile:
    """Read a cluster file as a hub uses it: whatever Bash takes; shellcheck's remarks are for people.

    Args:
        path: The file.
        seen: Notes the files that are read or looked for, also if this fails.

    Raises:
        InvalidFile: With every problem.
    """
    seen = seen or Seen()
    file, problems = _load(path, seen)
    with suppress(MissingPart):  # who has no bash submits scripts all the same
        problems += _bash_problems(path, file, seen, shellcheck=None)[1]
    if file is None or problems:
        raise InvalidFile(list(dict.fromkeys(problems)))
    return file


def _load(path: Path, seen: Seen) -> tuple[ClusterFile | None, list[Problem]]:
    try:
        return ClusterFile.load(path, seen=seen), []
    except InvalidFile as error:
        return None, [
            each if isinstance(each, Problem) else Problem(each, file=path) for each in error.problems
        ]


def _bash_problems(
    path: Path, file: ClusterFile | None, seen: Seen, shellcheck: Path | None
) -> tuple[int, list[Problem]]:
    """Return how many scripts a file leads to, and what is found in them, or in its texts if it is broken."""
    if file is None:
        return 0, list(_wrong_texts(path))
    scripts = _Scripts(file, Source(path), [each for each in seen.files if each != path])
    return len(scripts), [*scripts.wrong_texts(), *scripts.wrong_scripts(shellcheck)]


def _wrong_texts(path: Path) -> Iterator[Problem]:
    """Yield what bash finds in the texts of a file that can't be used as a whole."""
    try:
        source = Source(path)
    except InvalidFile:
        return
    values = source.values if isinstance(source.values, dict) else {}
    environments = values.get("environments")
    count = len(environments) if isinstance(environments, list) else 0
    places: list[Place] = [("prologue",), ("epilogue",)]
    places += [("environments", position, "prologue") for position in range(count)]
    for place in places:
        for finding in bash_findings(source.written(place) or ""):
            yield source.problem_inside(place, finding.line, finding.column, finding.message)


class _Scripts:
    """The batch scripts that a cluster file can lead to, and where their lines come from.

    Args:
        file: The cluster file.
        source: Its text.
        templates: Its batch template, and what that one extends or includes.
    """

    def __init__(self, file: ClusterFile, source: Source, templates: Iterable[Path]) -> None:
        self._source = source
        self._texts = dict(_texts(file.cluster))
        self._scripts = [(request, file.render(request, SAMPLE_FACTS)) for request in file.samples()]
        self._wrong: set[str] = set()
        self._templates = {
            path: [_pattern(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for path in templates
        }

    def __len__(self) -> int:
        return len(self._scripts)

    def wrong_texts(self) -> Iterator[Problem]:
        """Yield what bash finds in prologues and epilogues by themselves."""
        for place, text in self._texts.items():
            for finding in bash_findings(text):
                self._wrong.add(text)
                yield self._source.problem_inside(place, finding.line, finding.column, finding.message)

    def wrong_scripts(self, shellcheck: Path | None) -> Iterator[Problem]:
        """Yield what is found in whole scripts, unless they hold a text that is wrong by itself."""
        # Scripts that differ in what Slurm reads only are the same to a shell.
        distinct = {_SBATCH.sub("#", script): (request, script) for request, script in self._scripts[::-1]}
        whole = []
        told: set[tuple[str, str]] = set()
        for request, script in list(distinct.values())[::-1]:
            if any(text in script for text in self._wrong):
                continue
            findings = bash_findings(script)
            yield from self._problems(findings, request, script, told)
            if not findings:
                whole.append((request, script))
        if shellcheck:
            found = shellcheck_findings(shellcheck, [script for _, script in whole])
            for (request, script), findings in zip(whole, found, strict=True):
                yield from self._problems(findings, request, script, told)

    def _problems(
        self, findings: list[Finding], request: LaunchRequest, script: str, told: set[tuple[str, str]]
    ) -> Iterator[Problem]:
        lines = [*script.splitlines(), ""]
        for finding in findings:
            above = lines[: finding.line]
            if problem := self._in_a_text(finding, script):
                yield problem
            elif (finding.message, above[-1]) not in told:
                told.add((finding.message, above[-1]))
                yield self._in_the_template(finding, above, request)

    def _in_a_text(self, finding: Finding, script: str) -> Problem | None:
        """Return the problem at the cluster file's own text, if the line comes from one."""
        for place, text in self._texts.items():
            start = script.find(f"\n{text}")
            before = script.count("\n", 0, start + 1)
            if start >= 0 and before < finding.line <= before + text.count("\n"):
                return self._source.problem_inside(
                    place, finding.line - before, finding.column, finding.message
                )
        return None

    def _in_the_template(self, finding: Finding, above: list[str], request: LaunchRequest) -> Problem:
        """Return the problem at the template's line that looks most like the script's, and those above it."""
        message = (
            f"{finding.message}; partition {request.partition}, environment {request.environment}, "
            f"line {finding.line} of the script: {shown(above[-1].strip(), 80)}"
        )
        alike: dict[int, list[Problem]] = {}
        for path, patterns in self._templates.items():
            for number in range(1, len(patterns) + 1):
                problem = Problem(message, file=path, line=number, column=finding.column)
                alike.setdefault(_likeness(patterns[:number], above), []).append(problem)
        best = max(alike, default=0)
        if best and len(alike[best]) == 1:
            return alike[best][0]
        return self._source.problem(("template",), message)


def _texts(cluster: Cluster) -> Iterator[tuple[Place, str]]:
    """Yield the lines of Bash that a cluster file holds, with their place."""
    yield from ((("prologue",), cluster.prologue), (("epilogue",), cluster.epilogue))
    for position, environment in enumerate(cluster.environments):
        yield ("environments", position, "prologue"), environment.prologue


def _pattern(line: str) -> tuple[re.Pattern[str], int]:
    """Return what the lines look like that a line of a template leads to, and how much of them it tells."""
    literal = _JINJA.split(line)
    return re.compile(".*".join(map(re.escape, literal))), sum(len(each.strip()) for each in literal)


def _likeness(template: list[tuple[re.Pattern[str], int]], script: list[str]) -> int:
    """Return how much the last lines of a template tell of those of a script; 0 if they differ."""
    told = 0
    for (pattern, weight), line in zip(template[:-5:-1], script[:-5:-1], strict=False):
        if not pattern.fullmatch(line) or not weight:
            break
        told += weight
    return told
