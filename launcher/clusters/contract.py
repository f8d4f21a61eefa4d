"""What every batch script must hold, whatever a site's template does: by it the hub knows its jobs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from launcher.clusters.script import JOB_NAME, LOG_NAME, LaunchFacts

_LONG = {"-J": "--job-name", "-o": "--output"}


def faults(script: str, facts: LaunchFacts) -> Iterator[str]:
    """Yield what is wrong with a script, in words for who wrote its template.

    Args:
        script: The batch script.
        facts: The launch that it is for.
    """
    lines = script.splitlines()
    if not script.startswith("#!"):
        yield "the script must begin with #!/bin/bash: Slurm takes no other"
    if lines[1:2] != [f"# launch {facts.launch_id}"]:
        yield "the script's second line must be '# launch {{ launch.launch_id }}': jobs are found by it"
    if facts.ticket not in script:
        yield "the script must hold {{ launch.ticket }}: without it the job can't reach the hub"
    if "\r" in script:
        yield "the script has the line ends of Windows: Slurm does not take it"
    given = dict(_directives(lines))
    for name, value in (("--job-name", JOB_NAME), ("--output", LOG_NAME)):
        if given.get(name) != value:
            how = f"sets {name}={given[name]}" if name in given else f"has no {name}"
            hint = "does block directives begin with {{ super() }}?"
            yield f"the script {how}, and must have {name}={value}; {hint}"
    if "--requeue" in given:
        yield "the script sets --requeue: a job that starts a second time can't claim its launch"


def _directives(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of the `#SBATCH` lines that sbatch(1) reads: those before the first command."""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            return
        if not line.startswith("#SBATCH"):
            continue
        try:
            words = shlex.split(line.removeprefix("#SBATCH"), comments=True)
        except ValueError:
            continue  # Slurm itself says what is wrong with its quotes
        for position, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name.startswith("-"):
                following = words[position + 1 : position + 2]
                yield _LONG.get(name, name), value if equals else "".join(following)
