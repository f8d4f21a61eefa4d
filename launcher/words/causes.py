"""Why starts fail: what Slurm, a job's log and its node say, and what a user can do about it.

Texts of Slurm: `slurm_strerror` and slurmstepd of Slurm 22.05. Texts of uenv and squashfs-mount:
https://github.com/eth-cscs/uenv, https://github.com/eth-cscs/squashfs-mount; of the container engine:
https://github.com/NVIDIA/pyxis.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

from launcher.errors import HubUnreachable, LaunchRefused, NoPort, PreflightFailed, ServerFailed
from launcher.firecrest import JobStatus
from launcher.protocol import PULL_FAILED
from launcher.words.plain import one_line

_OTHER_ENVIRONMENT = "Choose another environment, or tell the site's support the job id."
_SUPPORT = "Press Start again; if it stays so, tell the site's support the job id."


class Cause(StrEnum):
    """Why a start failed: the `reason` label of JupyterHub's metrics, which has no other values.

    Attributes:
        todo: What the user can do.
        what: What happened to a job that has ended, or says nothing; empty for other causes.
    """

    todo: str
    what: str

    def __new__(cls, word: str, todo: str, what: str = "") -> Self:
        """Make a member, which is its word."""
        self = str.__new__(cls, word)
        self._value_, self.todo, self.what = word, todo, what
        return self

    # Before there is a job.
    OPTIONS = "options", "Change them in the form, then press Start again."
    CONFIGURATION = "configuration", "Tell the site's support: only they can mend this."
    LOGIN = "login", "Log in again, then press Start once more."
    FIRECREST = "firecrest", "Try again in some minutes; if it stays so, tell the site's support."
    ERROR = "error", "Tell the site's support: the hub's log has more."

    # Refused by the scheduler, or accepted and never to be started.
    ACCOUNT = "account", "Choose another account, or another partition: not every account may use each."
    PARTITION = "partition", "Choose another partition; this one may be closed, or not for you."
    QOS = "qos", "Choose another QoS, or none; not every account may use each."
    TOO_LONG = "too_long", "Choose a shorter time, or a partition that allows more."
    RESERVATION = "reservation", "Choose no reservation, or one that is yours and on now."
    LIMIT = "limit", "End other jobs or servers of yours, ask for less, or choose another account."
    RESOURCES = "resources", "Ask for fewer nodes, CPUs, GPUs or less memory, or choose another partition."
    SCHEDULER = "scheduler", "The scheduler is busy or down. Try again in some minutes."
    REJECTED = (
        "rejected",
        "Change what the scheduler names, then press Start again, or tell the site's support.",
    )

    # The job did not get to a server.
    QUEUE = "queue", "Ask for a shorter time or fewer nodes, choose another partition, or try again later."
    UNCLAIMED = (
        "unclaimed",
        "Choose another environment; if that does not help, tell the site's support the job id.",
        "Its environment could not be mounted, as when an image is gone, or the node does not reach the hub.",
    )
    LOST = "lost", _SUPPORT
    UNREACHABLE = "unreachable", "Press Start again; if it stays so, tell the site's support this address."
    ADDRESS = "address", "Tell the site's support the job id: this node is set up in another way."

    # It ended.
    TIME_LIMIT = (
        "time_limit",
        "Choose a longer time, then press Start again.",
        "Its time was over: it reached its time limit, or its deadline.",
    )
    MEMORY = (
        "memory",
        "Ask for more memory, or a node of your own, then press Start again.",
        "It used more memory than it had.",
    )
    NODE = (
        "node",
        "Press Start again: the job will get another node.",
        "A compute node of it failed, or did not boot.",
    )
    PREEMPTED = (
        "preempted",
        "Press Start again, or choose a partition or QoS whose jobs are not preempted.",
        "A job of higher priority took its node.",
    )
    CANCELLED = (
        "cancelled",
        "Press Start again if you want it; if it was not you, ask the site's support why.",
        "It was cancelled, by you, an administrator or Slurm.",
    )
    DISK_FULL = (
        "disk_full",
        "Delete or move files in your home, caches (~/.cache) first, and start again.",
        "A disk is full: your home directory, or the node's space for temporary files.",
    )
    HOME = (
        "home",
        "Press Start again to get another node; if it stays so, tell the site's support the job id.",
        "Your home directory is not there on its node, or not open to you.",
    )
    IMAGE = (
        "image",
        _OTHER_ENVIRONMENT,
        "The image of its environment is missing, or could not be mounted or started on the node.",
    )
    LABEL = (
        "label",
        "Choose another environment, or a label that uenv image find shows just once.",
        "An image of its environment is not in the registry, or its label fits several there.",
    )
    PULL = (
        "pull",
        _SUPPORT,
        "An image of its environment could not be pulled from the registry.",
    )
    PROCESSORS = (
        "processors",
        "Choose an environment that is made for these nodes, or a partition with other nodes.",
        "Its environment is made for other processors than its node has.",
    )
    LAUNCHER = "launcher", _OTHER_ENVIRONMENT, "The launcher is not in this environment, or it can't be run."
    KILLED = (
        "killed",
        "Ask for more memory, then press Start again.",
        "Something killed it; most often it used more memory than it had.",
    )
    TERMINATED = (
        "terminated",
        "Press Start again if you want it.",
        "It was told to end, as when a job is cancelled or its time is over.",
    )
    HUB = "hub", _SUPPORT, "Its node could not reach the hub."
    UNWANTED = (
        "unwanted",
        "Press Start again.",
        "The hub did not want it any more, as when the server was stopped or started anew.",
    )
    PREFLIGHT = "preflight", _SUPPORT, "Its node is not fit for a session."
    VERSIONS = "versions", _OTHER_ENVIRONMENT, "JupyterHub on the node does not fit the hub's."
    PORT = (
        "port",
        "Press Start again to get another node; if it stays so, tell the site's support the job id.",
        "There was no port, or no allowed address, to listen on.",
    )
    SERVER = (
        "server",
        "Look into the log; broken files in ~/.jupyter are the usual cause.",
        "JupyterLab is missing on the node, or it did not start.",
    )
    TMPDIR = "tmpdir", _SUPPORT, "On its node there was no directory where temporary files can be written."
    FINISHED = "finished", _SUPPORT, "Its script came to its end without an error, and without a server."
    FAILED = (
        "failed",
        "Look into the log, then press Start again; if it stays so, tell support the job id.",
        "Its script failed.",
    )


# Order matters: the first that is found counts.
_REFUSALS = (
    (Cause.SCHEDULER, r"slurm controller|temporarily unable|socket timed out|MaxJobCount"),
    (Cause.IMAGE, r"uenv (?:matches|image)|uenv:|--uenv|squashfs|pyxis|environment="),
    (Cause.ACCOUNT, r"invalid account|account/partition"),
    (Cause.LIMIT, r"violates accounting|job submit limit|resource limit exceeded"),
    (Cause.TOO_LONG, r"time limit|invalid time|wallduration|--time\b"),
    (Cause.RESERVATION, r"reservation"),
    (Cause.LIMIT, r"(?:assoc|qos)(?:grp|max|min)|max\w{1,30}peraccount"),
    (Cause.QOS, r"qos"),
    (Cause.PARTITION, r"partition"),
    (Cause.RESOURCES, r"node configuration|memory|gres\b|processors|requested nodes|node not available"),
    (Cause.RESOURCES, r"(?:feature|count|distribution|\(gres\)|\(tres\)) specification|more tasks|number of"),
    (Cause.RESOURCES, r"--(?:mem|nodes|gpus|cpus|constraint)"),
    (Cause.ACCOUNT, r"user not found|permission denied"),
    (Cause.CONFIGURATION, r"batch script|unrecognized option|invalid (?:directive|argument|option)"),
)
_CLUES = (
    (Cause.VERSIONS, r"does not fit JupyterHub"),
    (Cause.DISK_FULL, r"disk quota exceeded|no space left (?:on device|in )|your quota is used up"),
    (Cause.TIME_LIMIT, r"due to time limit"),
    (Cause.PREEMPTED, r"due to preemption"),
    (Cause.NODE, r"due to node failure"),
    (Cause.MEMORY, r"oom[-_ ]?kill|(?<!cuda )out of memory|exceeded (?:job|step) memory limit"),
    (Cause.LABEL, r"no uenv found that match|more than one (?:uenv|sha) found that match"),
    (Cause.PULL, r"the image [^\n]{0,300} could not be pulled"),
    (Cause.IMAGE, r"no uenv matches|more than one uenv|error mounting the|invalid mount point"),
    (Cause.IMAGE, r"squashfs-mount: |error: uenv: |(?:invalid|unable to read) squashfs"),
    (Cause.IMAGE, r"mount (?:path|point) [^\n]{0,300}(?:not exist|not a valid)"),
    (Cause.IMAGE, r"error: pyxis|couldn't start container|spank: required plugin"),
    (Cause.IMAGE, r"the image [^\n]{0,300} (?:is not mounted at|has no view)|the description of the image"),
    # A shell runs a Python script, whose interpreter it can't run, as a script of its own; where there is
    # ImageMagick, `import` is a program.
    (Cause.PROCESSORS, r"exec format error|: (?:line )?\d+: import: (?:command )?not found"),
    (Cause.PROCESSORS, r"launcher-singleuser: (?:line )?\d+: syntax error"),
    (Cause.PROCESSORS, r"is for \w+ processors; this node has"),
    (Cause.HOME, r"couldn't chdir to|(?:written|write) to your home directory"),
    (Cause.HOME, r"your home directory [^\n]{0,300}(?:does not exist|is not|can't be used)"),
    (Cause.TMPDIR, r"(?:written|write) to the directory for temporary files"),
    (Cause.HUB, r"the hub at [^\n]{0,300} could not be reached|the certificate of the hub at"),
    (Cause.KILLED, r"\bline \d+: +\d+ Killed\b"),
    (Cause.LAUNCHER, r"execve\(\): |launcher[\w./-]*: (?:command )?not found|bad interpreter"),
    # What starts it is `sh`, which may be Dash or Bash.
    (Cause.LAUNCHER, r"\bsh: (?:line )?\d+: exec: "),
    (Cause.LAUNCHER, r"\bsh: line \d+: /[^\n]{0,300}: (?:no such file|cannot execute|permission denied)"),
)
# Slurm goes on with /tmp: a cause only where nothing else is one.
_FAINT_CLUES = ((Cause.TMPDIR, r"unable to create tmpdir|tmpdir \["),)

_STATES = {
    "TIMEOUT": Cause.TIME_LIMIT,
    "DEADLINE": Cause.TIME_LIMIT,
    "OUT_OF_MEMORY": Cause.MEMORY,
    "NODE_FAIL": Cause.NODE,
    "BOOT_FAIL": Cause.NODE,
    "PREEMPTED": Cause.PREEMPTED,
    "CANCELLED": Cause.CANCELLED,
    "REVOKED": Cause.CANCELLED,
}
LAST_SIGNAL = 64
"""Above it are signals that there are not, by which Slurm marks what ran out of memory: 125 is SIG_OOM."""
_SIGNALS = {125: Cause.MEMORY}
_EXIT_CODES = {
    HubUnreachable.exit_code: Cause.HUB,
    LaunchRefused.exit_code: Cause.UNWANTED,
    PreflightFailed.exit_code: Cause.PREFLIGHT,
    NoPort.exit_code: Cause.PORT,
    ServerFailed.exit_code: Cause.SERVER,
    PULL_FAILED: Cause.PULL,
    0: Cause.FINISHED,
    126: Cause.LAUNCHER,
    127: Cause.LAUNCHER,
    137: Cause.KILLED,
    # The warning before it, to a server that was only starting.
    138: Cause.TIME_LIMIT,
    143: Cause.TERMINATED,
}


def of_refusal(words: str) -> Cause:
    """Return why the scheduler refused a job, from what sbatch said."""
    return _first(_REFUSALS, words) or Cause.REJECTED


def of_clues(text: str) -> Cause | None:
    """Return what a log, or what a node said, gives away, or None."""
    return _first(_CLUES, text)


def of_end(status: JobStatus | None, exit_code: int | None, said: str, log: str) -> Cause:
    """Return why a job ended.

    Args:
        status: What Slurm says of it, or None.
        exit_code: Its script's, as a shell tells it, or None.
        said: What its node said of it.
        log: The end of its log.
    """
    exit_code = shell_code(status, exit_code)
    by_code = None if exit_code is None else _EXIT_CODES.get(exit_code)
    by_state = status and (_STATES.get(status.state) or _SIGNALS.get(status.signal or 0))
    if said:
        return of_clues(said) or by_code or by_state or Cause.FAILED
    return by_state or of_clues(log) or by_code or _first(_FAINT_CLUES, log) or Cause.FAILED


def shell_code(status: JobStatus | None, exit_code: int | None) -> int | None:
    """Return an exit code, or else Slurm's, as a shell tells it: 128 and the signal that ended it."""
    if exit_code is not None or status is None:
        return exit_code
    signal = status.signal or 0
    return 128 + signal if 0 < signal <= LAST_SIGNAL else status.exit_code


def canceller(status: JobStatus | None) -> str:
    """Return who cancelled a job; empty where Slurm does not tell."""
    who = one_line(status.ended_by, 40) if status else ""
    if not who:
        return ""
    return "an administrator" if who in ("0", "root") else f"user {who}"


def _first(table: tuple[tuple[Cause, str], ...], text: str) -> Cause | None:
    return next((cause for cause, pattern in table if re.search(pattern, text, re.IGNORECASE)), None)
