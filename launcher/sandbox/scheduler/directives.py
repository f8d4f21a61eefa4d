"""A batch script's `#SBATCH` lines, read and refused as sbatch(1) does, in the words of Slurm 22.05."""

import re
import shlex
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from launcher.sandbox.scheduler.model import SubmitRefused
from launcher.sandbox.scheduler.notation import seconds

_WITH_VALUE = frozenset(
    """
    account acctg-freq array batch bb bbf begin chdir cluster cluster-constraint clusters comment
    constraint container context core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task
    deadline delay-boot dependency distribution error exclude export export-file extra-node-info gid
    gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input
    job-name kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu
    mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu
    ntasks-per-node ntasks-per-socket ntasks-per-tres open-mode output partition power prefer
    priority profile qos reservation signal sockets-per-node switches tasks-per-node thread-spec
    threads-per-core time time-min tmp uid wait-all-nodes wckey wrap
    """.split()
)
_WITHOUT = frozenset(
    """
    contiguous help hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot
    requeue spread-job test-only usage use-min-nodes verbose version wait
    """.split()
)
_EITHER = frozenset("exclusive get-user-env nice no-kill propagate".split())
_KNOWN = _WITH_VALUE | _WITHOUT | _EITHER
_SHORT = {
    "A": "account", "B": "extra-node-info", "C": "constraint", "D": "chdir", "F": "nodefile", "G": "gpus",
    "H": "hold", "J": "job-name", "L": "licenses", "M": "clusters", "N": "nodes", "O": "overcommit",
    "Q": "quiet", "S": "core-spec", "V": "version", "W": "wait", "a": "array", "b": "begin",
    "c": "cpus-per-task", "d": "dependency", "e": "error", "h": "help", "i": "input", "k": "no-kill",
    "m": "distribution", "n": "ntasks", "o": "output", "p": "partition", "q": "qos", "s": "oversubscribe",
    "t": "time", "v": "verbose", "w": "nodelist", "x": "exclude",
}  # fmt: skip


@dataclass(frozen=True)
class Directives:
    """What a script asks for, as far as plain processes can give it; the other options of sbatch do nothing.

    Attributes:
        interpreter: The script's first line: program and, if there is one, its argument.
        name: Job name.
        partition: None for the default one.
        project: Slurm's account.
        working_directory: None for where it was submitted.
        nodes: How many, at least.
        limit: Seconds, infinite for no limit; None for the partition's.
        signal: Name of a signal for the batch shell before the limit ("USR1"), None for none.
        signal_time: How many seconds before.
        standard_input: File name pattern, as are the next two; None for /dev/null.
        standard_output: None for slurm-%j.out.
        standard_error: None for where the output goes.
    """

    interpreter: tuple[str, ...]
    name: str
    partition: str | None
    project: str
    working_directory: str | None
    nodes: int
    limit: float | None
    signal: str | None
    signal_time: int
    standard_input: str | None
    standard_output: str | None
    standard_error: str | None


def read(script: str, options: Mapping[str, str | None]) -> Directives:
    """Read a batch script.

    Args:
        script: The whole script.
        options: Long options of the command line, which win over the script's.

    Raises:
        SubmitRefused: With sbatch's words.
    """
    _check_text(script)
    asked: dict[str, str] = {}
    for line in _directive_lines(script):
        asked |= _options(_split(line))
    asked |= {name: value for name, value in options.items() if value is not None}
    if "reservation" in asked:
        raise refused("Batch job submission failed: Requested reservation is invalid")
    if "constraint" in asked:
        raise refused("Batch job submission failed: Invalid feature specification")
    signal_name, signal_time = _signal(asked.get("signal"))
    return Directives(
        interpreter=tuple(script.partition("\n")[0][2:].strip().split(maxsplit=1)),
        name=asked.get("job-name") or "sbatch",
        partition=asked.get("partition"),
        project=asked.get("account", ""),
        working_directory=asked.get("chdir"),
        nodes=_nodes(asked.get("nodes")),
        limit=_limit(asked.get("time")),
        signal=signal_name,
        signal_time=signal_time,
        standard_input=asked.get("input"),
        standard_output=asked.get("output"),
        standard_error=asked.get("error"),
    )


def refused(*lines: str, exit_status: int = 1) -> SubmitRefused:
    """A refusal of sbatch(1), one "sbatch: error:" a line."""
    return SubmitRefused("".join(f"sbatch: error: {line}\n" for line in lines), exit_status=exit_status)


def _misused(words: str) -> SubmitRefused:
    return SubmitRefused(f'sbatch: {words}\nTry "sbatch --help" for more information\n', exit_status=255)


def _check_text(script: str) -> None:
    if not script:
        raise refused("Batch script is empty!")
    if not script.strip():
        raise refused("Batch script contains only whitespace!")
    if not script.startswith("#!"):
        raise refused(
            "This does not look like a batch script.  The first",
            "line must start with #! followed by the path to an interpreter.",
            "For instance: #!/bin/sh",
        )
    if "\r\n" in script:
        raise refused(
            r"Batch script contains DOS line breaks (\r\n)", r"instead of expected UNIX line breaks (\n)."
        )


def _directive_lines(script: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(script.split("\n"), 1):
        if line.startswith("#SBATCH"):
            yield number, line.removeprefix("#SBATCH")
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def _split(line: tuple[int, str]) -> list[str]:
    number, text = line
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        quote = '"' if text.count('"') % 2 else "'"
        rest = text[max(0, text.rfind(quote) - 1) :]
        words = f"sbatch: fatal: stdin: line {number}: Unmatched `{quote}` in [{rest}]\n"
        raise SubmitRefused(words, exit_status=1) from None


def _options(words: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            name = _long(name, word)
            if equals and name in _WITHOUT:
                raise _misused(f"option '--{name}' doesn't allow an argument")
            if not equals and name in _WITH_VALUE:
                value = next(rest, "")
                if not value:
                    raise _misused(f"option '--{name}' requires an argument")
            found[name] = value
        elif word.startswith("-"):
            letter, value = word[1:2], word[2:]
            name = _SHORT.get(letter, "")
            if not name:
                raise _misused(f"invalid option -- '{letter}'")
            if name in _WITH_VALUE:
                value = value or next(rest, "")
                if not value:
                    raise _misused(f"option requires an argument -- '{letter}'")
            found[name] = value
        else:
            raise refused(f"Invalid directive found in batch script: {word}", exit_status=255)
    return found


def _long(name: str, word: str) -> str:
    meant = [name] if name in _KNOWN else sorted(known for known in _KNOWN if known.startswith(name))
    if not meant:
        raise _misused(f"unrecognized option '{word}'")
    if len(meant) > 1:
        choice = " ".join(f"'--{known}'" for known in meant)
        raise _misused(f"option '{word}' is ambiguous; possibilities: {choice}")
    return meant[0]


def _limit(text: str | None) -> float | None:
    try:
        return None if text is None else seconds(text)
    except ValueError:
        raise refused("Invalid --time specification", exit_status=255) from None


def _nodes(text: str | None) -> int:
    if text is None:
        return 1
    count = re.fullmatch(r"(\d+)(?:-\d+)?", text)
    if not count:
        raise refused(f'"{text}" is not a valid node count', exit_status=255)
    if int(count[1]) == 0:
        raise refused("Batch job submission failed: Node count specification invalid")
    return int(count[1])


def _signal(text: str | None) -> tuple[str | None, int]:
    """Without "B:" the signal is for the job's steps alone, of which a plain process has none."""
    if text is None:
        return None, 0
    asked = re.fullmatch(r"(?P<whom>[RB]{1,2}:)?(?:SIG)?(?P<signal>\w+)(?:@(?P<time>\d+))?", text)
    names = {number.value: number.name for number in signal.Signals}
    name = asked and (
        names.get(int(asked["signal"])) if asked["signal"].isdigit() else f"SIG{asked['signal']}"
    )
    if not asked or name not in names.values():
        raise refused("Invalid --signal specification", exit_status=255)
    batch_shell = "B" in (asked["whom"] or "")
    return (name.removeprefix("SIG") if batch_shell and name else None), int(asked["time"] or 60)
