"""Why a start failed, in words for the person who pressed Start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from jupyterhub.spawner import SpawnException

from launcher.errors import FirecrestError, InvalidFile, InvalidOptions, JobRejected, LauncherError
from launcher.spawner.firecrest import JobStatus

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_LOG_TITLE = "The end of the job's log:"
_LOG_TAG = '<pre class="text-start" style="white-space: pre-wrap; overflow-wrap: anywhere">'

_ADVICE = {
    "TIMEOUT": "The job reached its time limit. Choose a longer time.",
    "OUT_OF_MEMORY": "The job used more memory than it had. Ask for more, or use less.",
    "NODE_FAIL": "The compute node failed. Press Start again: the job will get another node.",
    "CANCELLED": "The job was cancelled, by you or an administrator. Press Start again if you want it.",
    "PREEMPTED": "A job of higher priority took the node. Press Start again.",
}


_ADVICE_BY_EXIT_CODE = {
    126: "The launcher on the node can't be run. Tell the site's support.",
    127: "The launcher is not on the node. Tell the site's support.",
    137: "Something killed it; most often it used more memory than it had.",
}


class LaunchFailed(SpawnException):
    """A start that failed, with its cause in text and in HTML (everything in it escaped).

    Args:
        message: What happened and what to do, one sentence a line.
        reason: A short word for metrics.
        log: The last lines of the job's log.
        status_code: HTTP status for a REST caller; below 500, since it isn't the hub that failed.
    """

    def __init__(
        self, message: str, *, reason: str, log: list[str] | None = None, status_code: int = 400
    ) -> None:
        message = plain(message)
        lines = [plain(line) for line in log or []]
        text = "\n".join([message, *([_LOG_TITLE, *lines] if lines else [])])
        html = "<br>".join(escape(line) for line in message.splitlines())
        if lines:
            tail = escape("\n".join(lines))
            html += f"<br>{escape(_LOG_TITLE)}{_LOG_TAG}{tail}</pre>"
        super().__init__(message, reason=reason, message_html=html, status_code=status_code)
        self.jupyterhub_message = text
        self.jupyterhub_html_message = html


def plain(text: str) -> str:
    """Return text without terminal sequences and control characters, line ends kept."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def from_error(error: LauncherError) -> LaunchFailed:
    """Return the failure that an error of this project means to the user."""
    if isinstance(error, InvalidOptions):
        return LaunchFailed("\n".join(["These options can't be used.", *error.lines]), reason="options")
    if isinstance(error, InvalidFile):
        return LaunchFailed(
            "The hub's description of this cluster has a mistake.\n"
            "Tell the site's support: the hub's log names it.",
            reason="configuration",
            status_code=424,
        )
    if isinstance(error, JobRejected):
        return LaunchFailed(str(error), reason="rejected")
    if isinstance(error, FirecrestError):
        return LaunchFailed(
            str(error), reason="login" if error.status == 401 else "firecrest", status_code=424
        )
    return LaunchFailed(str(error), reason="error")


@contextmanager
def shown() -> Iterator[None]:
    """Turn this project's errors into failures that JupyterHub shows."""
    try:
        yield
    except LauncherError as error:
        raise from_error(error) from None


def job_ended(job_id: str, status: JobStatus, log: list[str]) -> LaunchFailed:
    """Return the failure of a job that ended before its server was ready."""
    how = f"Job {job_id} ended before JupyterLab was ready: {status.state}"
    details = []
    if status.reason:
        details.append(f"reason {status.reason}")
    if status.signal:
        details.append(f"signal {status.signal}")
    elif status.exit_code is not None:
        details.append(f"exit code {status.exit_code}")
    advice = _ADVICE.get(status.state) or _ADVICE_BY_EXIT_CODE.get(status.exit_code or 0, "")
    text = how + (f" ({', '.join(details)})" if details else "") + "." + (f"\n{advice}" if advice else "")
    return LaunchFailed(text, reason=f"job_{status.state.lower()}", log=log)


def node_said(job_id: str, message: str, exit_code: int | None, log: list[str]) -> LaunchFailed:
    """Return the failure that the compute node itself reported."""
    which = f"Job {job_id}" if job_id else "The job"
    code = "" if exit_code is None else f" (exit code {exit_code})"
    said = f"{which} ended before JupyterLab was ready{code}."
    more = message or _ADVICE_BY_EXIT_CODE.get(exit_code or 0, "")
    return LaunchFailed(f"{said}\n{more}" if more else said, reason="node", log=log)


def unclaimed(job_id: str, seconds: int, log: list[str]) -> LaunchFailed:
    """Return the failure of a job that runs, but has said nothing to the hub for so many seconds."""
    return LaunchFailed(
        f"Job {job_id} runs, but did not reach the hub for {seconds} seconds.\n"
        "The node may not reach it, or the environment could not be mounted. Tell the site's support.",
        reason="unclaimed",
        log=log,
    )
