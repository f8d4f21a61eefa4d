"""A start that failed, as the person who pressed Start reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from urllib.parse import urlencode

from jupyterhub.spawner import SpawnException
from jupyterhub.user import User
from jupyterhub.utils import url_path_join

from launcher.errors import FirecrestError, InvalidFile, InvalidOptions, JobRejected, LauncherError
from launcher.firecrest import JobStatus
from launcher.words import causes, pending
from launcher.words.causes import Cause
from launcher.words.plain import one_line, plain, tail

__all__ = [
    "Cause",
    "LaunchFailed",
    "from_error",
    "job_ended",
    "login_url",
    "lost",
    "never_ready",
    "never_starts",
    "plain",
    "shown",
    "still_waiting",
    "unclaimed",
    "unreachable",
    "wrong_address",
]

_LOG_LINES = 20
_LOG_WIDTH = 500
_LONGEST_MESSAGE = 10_000
_LONGEST_PART = 2000
_LOG_TITLE = "The end of the job's log:"
_LOG_TAG = '<pre class="text-start" style="white-space: pre-wrap; overflow-wrap: anywhere">'
_LOGIN_LABEL = "Log in again"
_NO_LOG = "It has no log that can be read: your home directory may be full, or not be there on its node."
_IF_IT_STAYS_SO = "If it stays so, tell the site's support the job id."


class LaunchFailed(SpawnException):
    """A start that failed, with its cause in text and in HTML (everything in it escaped).

    Args:
        message: What happened and what to do, one sentence a line.
        reason: Its cause, which JupyterHub's metrics count.
        log: The job's log; its last 20 lines are shown.
        status_code: HTTP status for a REST caller; below 500, since it isn't the hub that failed.
        links: What to press next, as pairs of a label and a URL of the hub's own.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Cause,
        log: Sequence[str] | None = None,
        status_code: int = 400,
        links: Sequence[tuple[str, str]] = (),
    ) -> None:
        lines = plain(message[:_LONGEST_MESSAGE]).splitlines()
        # One line for the hub's own log, where a line of its own could pass for another message.
        super().__init__(" ".join(lines), reason=reason, status_code=status_code)
        self.jupyterhub_message = "\n".join(lines)
        self.jupyterhub_html_message = "<br>".join(escape(line) for line in lines)
        for label, url in links:
            self.offer(label, url)
        if last := "\n".join(tail(log or (), _LOG_LINES, _LOG_WIDTH)):
            self.jupyterhub_message += f"\n{_LOG_TITLE}\n{last}"
            self.jupyterhub_html_message += f"<br>{escape(_LOG_TITLE)}{_LOG_TAG}{escape(last)}</pre>"

    def offer(self, label: str, url: str) -> None:
        """Add a link."""
        label, url = one_line(label, 80), one_line(url, 2000)
        self.jupyterhub_message += f"\n{label}: {url}"
        self.jupyterhub_html_message += f'<br><a href="{escape(url)}">{escape(label)}</a>'


def from_error(error: LauncherError) -> LaunchFailed:
    """Return the failure that an error of this project means to the user."""
    if isinstance(error, InvalidOptions):
        return _failed(Cause.OPTIONS, "These options can't be used.", *error.lines)
    if isinstance(error, InvalidFile):
        what = "The hub's description of this cluster has a mistake."
        return _failed(Cause.CONFIGURATION, what, status_code=424)
    if isinstance(error, JobRejected):
        cause = causes.of_refusal(error.why[:_LONGEST_PART])
        return _failed(cause, error.what, error.why, todo=error.todo)
    if isinstance(error, FirecrestError):
        cause = Cause.LOGIN if error.status == 401 else Cause.FIRECREST
        return _failed(cause, error.what, error.why, todo=error.todo, status_code=424)
    return _failed(Cause.ERROR, error.what, error.why, todo=error.todo)


@contextmanager
def shown(login: str = "") -> Iterator[None]:
    """Turn this project's errors into failures that JupyterHub shows.

    Args:
        login: URL for a new log-in (`login_url`), which a failure for want of one offers.
    """
    try:
        yield
    except (LauncherError, LaunchFailed) as error:
        failed = from_error(error) if isinstance(error, LauncherError) else error
        if login and failed.reason is Cause.LOGIN:
            failed.offer(_LOGIN_LABEL, login)
        raise failed from None


def login_url(user: User, server_name: str = "") -> str:
    """Return where a user who is logged in gets a new log-in, and then the form of a server.

    JupyterHub's own log-in page sends people who are logged in away; OAuthenticator's, which its `login_url`
    names, asks the identity provider in any case. Without such a page they must log out first.
    """
    hub, settings = user.settings["hub"].base_url, user.settings
    url = str(settings["authenticator"].login_url(hub))
    if url == settings["login_url"]:
        return str(settings["logout_url"])
    return f"{url}?{urlencode({'next': url_path_join(hub, 'spawn', user.escaped_name, server_name)})}"


def job_ended(
    job_id: str,
    status: JobStatus | None,
    *,
    said: str = "",
    exit_code: int | None = None,
    log: Sequence[str] = (),
) -> LaunchFailed:
    """Return the failure of a job that ended before its server was ready.

    Args:
        job_id: The job, or empty.
        status: What Slurm says of it, or None.
        said: What its node said of the end, in words for the user.
        exit_code: What its script ended with, or None.
        log: Its log.
    """
    said = plain(said[:_LONGEST_PART]).strip()
    cause = causes.of_end(status, exit_code, said, _text(log))
    what = f"{_job(job_id)} ended before JupyterLab was ready{_facts(status, exit_code)}"
    if said:
        return _failed(cause, what, said, todo=_IF_IT_STAYS_SO, log=log)
    if cause is Cause.CANCELLED and (by := causes.canceller(status)):
        return _failed(cause, what, f"It was cancelled by {by}.", log=log)
    if cause is Cause.FAILED and not _text(log):
        return _failed(cause, what, cause.what, _NO_LOG, todo=Cause.HOME.todo)
    return _failed(cause, what, cause.what, log=log)


def unclaimed(
    job_id: str, seconds: float, status: JobStatus | None = None, log: Sequence[str] = ()
) -> LaunchFailed:
    """Return the failure of a job that runs, but has said nothing to the hub for so many seconds."""
    where = f" on {one_line(status.nodes, 80)}" if status and status.nodes else ""
    what = f"{_job(job_id)} runs{where}, but did not reach the hub for {pending.duration(seconds)}"
    cause = causes.of_clues(_text(log)) or Cause.UNCLAIMED
    return _failed(cause, what + _facts(status), cause.what, "It is cancelled.", log=log)


def still_waiting(job_id: str, seconds: float, status: JobStatus | None = None) -> LaunchFailed:
    """Return the failure of a job whose server was not ready within the hub's `start_timeout` in seconds."""
    within = f"within {pending.duration(seconds)}, which is as long as this hub waits"
    if status and status.waiting:
        doing = f"{pending.words(job_id, status, time.time())}."
        what = f"{_job(job_id)} did not start {within}{_facts(status)}"
        return _failed(pending.cause(status), what, doing, "It is cancelled.")
    return _failed(Cause.QUEUE, f"{_job(job_id)} had no server {within}{_facts(status)}", "It is cancelled.")


def never_starts(job_id: str, status: JobStatus) -> LaunchFailed:
    """Return the failure of a job that waits for what will not come (`pending.hopeless`)."""
    what = f"{pending.words(job_id, status, time.time())}{_facts(status)}"
    return _failed(pending.cause(status), what, "It is cancelled.")


def wrong_address(job_id: str, why: str) -> LaunchFailed:
    """Return the failure of a server that reported to be where none of its cluster may be."""
    return _failed(Cause.ADDRESS, f"{_job(job_id)} reported a wrong address.", why, "It is cancelled.")


def never_ready(job_id: str, seconds: float, log: Sequence[str] = ()) -> LaunchFailed:
    """Return the failure of a job that reached the hub, but whose JupyterLab does not come up."""
    what = f"{_job(job_id)} runs, but its JupyterLab did not start within {pending.duration(seconds)}."
    why = "A file system of the node may hang, or something in your home directory keeps it."
    return _failed(Cause.SERVER, what, why, "It is cancelled.", log=log)


def unreachable(job_id: str, url: str, seconds: float) -> LaunchFailed:
    """Return the failure of a server that listens on its node, but does not answer the hub."""
    what = f"JupyterLab of {_job(job_id)} listens at {url}, but the hub has no answer from there"
    why = "A firewall may be between them, or the cluster file's node_addresses or ports name others."
    return _failed(Cause.UNREACHABLE, f"{what} for {pending.duration(seconds)}.", why, "It is cancelled.")


def lost(job_id: str, log: Sequence[str] = ()) -> LaunchFailed:
    """Return the failure of a job that Slurm, asked again and again, does not know."""
    return _failed(Cause.LOST, f"{_job(job_id)} is not known to Slurm any more{_facts(None)}", log=log)


def _failed(
    cause: Cause, *lines: str, todo: str = "", log: Sequence[str] = (), status_code: int = 400
) -> LaunchFailed:
    # What is cut is never what to do.
    message = "\n".join(line[:_LONGEST_PART] for line in (*lines, todo or cause.todo) if line)
    return LaunchFailed(message, reason=cause, log=log, status_code=status_code)


def _job(job_id: str) -> str:
    return f"Job {one_line(job_id, 40)}" if job_id else "The job"


def _facts(status: JobStatus | None, exit_code: int | None = None) -> str:
    """Return the end of a sentence: Slurm's state and reason, and the exit code, as far as they are known."""
    code = exit_code if exit_code is not None else status and status.exit_code
    parts = [f"exit code {code}" if code is not None else "no exit code"]
    if status is None:
        return f" ({parts[0]}). Slurm has not told its state."
    if status.signal and status.signal <= causes.LAST_SIGNAL:
        parts.insert(0, f"signal {status.signal}")
    if status.reason:
        parts.insert(0, f"reason {one_line(status.reason, 120)}")
    return f": {one_line(status.state, 40) or 'no state'} ({', '.join(parts)})."


def _text(log: Sequence[str]) -> str:
    return "\n".join(tail(log, _LOG_LINES, _LOG_WIDTH))
