"""What goes wrong in a soak: FirecREST, the identity provider, and jobs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from launcher.sandbox.accounts import Account
from launcher.sandbox.faults import Answer, Asked, Fault
from launcher.sandbox.site import Site
from launcher.sandbox.software import STAND_IN

_SUBMIT = "/compute/{system}/jobs"
_NOT_FOUND = Answer(404, "<html><body>404 page not found</body></html>")
_CARRIED_OUT_AFTER = 5.0


async def _late(_: Fault, call: Asked) -> Answer:
    """Carry a submit out some time after it was answered with an error."""
    asyncio.get_running_loop().call_later(_CARRIED_OUT_AFTER, lambda: asyncio.ensure_future(call()))
    return Answer(500, {"message": "An error occurred during the request process"})


FAULTS: Mapping[str, Callable[[Site, str], Fault]] = {
    "FirecREST answers 500": lambda site, user: site.gateway.faults.error(
        500, "Error executing Slurm command.", user=user
    ),
    "FirecREST answers 502": lambda site, user: site.gateway.faults.answer(
        Answer(502, "<html><body>502 Bad Gateway</body></html>"), user=user
    ),
    "FirecREST refuses tokens": lambda site, user: site.gateway.faults.error(
        401, "Access token expired", user=user
    ),
    "FirecREST times out": lambda site, user: site.gateway.faults.error(
        408, "Command execution timed out", user=user
    ),
    "FirecREST sends half an answer": lambda site, user: site.gateway.faults.truncate(0.5, user=user),
    "FirecREST sends empty lists": lambda site, user: site.gateway.faults.empty(method="GET", user=user),
    "FirecREST tells an unknown state": lambda site, user: site.gateway.faults.state("VOID", user=user),
    "FirecREST tells what accounting slips to": lambda site, user: site.gateway.faults.backwards(user=user),
    "FirecREST hangs up": lambda site, user: site.gateway.faults.drop(user=user),
    "FirecREST hangs": lambda site, user: site.gateway.faults.hang(user=user),
    "FirecREST is slow": lambda site, user: site.gateway.faults.delay(4, user=user),
    "a proxy answers 404": lambda site, user: site.gateway.faults.answer(_NOT_FOUND, user=user),
    "sshd is busy": lambda site, user: site.gateway.faults.ssh_busy(user=user),
    "accounting is down": lambda site, user: site.gateway.faults.accounting_down(user=user),
    "the controller is down": lambda site, user: site.gateway.faults.controller_down(
        noticed=False, user=user
    ),
    "the controller is known to be down": lambda site, user: site.gateway.faults.controller_down(
        noticed=True, user=user
    ),
    "answers to submits are lost": lambda site, user: site.gateway.faults.drop(
        after=True, user=user, method="POST", path=_SUBMIT
    ),
    "submits are carried out late": lambda site, user: site.gateway.faults.add(
        _late, user=user, method="POST", path=_SUBMIT
    ),
    "cancels hang": lambda site, user: site.gateway.faults.hang(method="DELETE", user=user),
    "the identity provider answers 500": lambda site, user: site.identity.faults.error(user=user),
    "the identity provider hangs": lambda site, user: site.identity.faults.hang(user=user),
    "the identity provider sends no token": lambda site, user: site.identity.faults.without_token(user=user),
    "a log-in expires": lambda site, user: site.identity.faults.error(
        400, "invalid_grant", user=user, times=1
    ),
}
"""Name of a fault → puts it into the answers to a user, or to all who match."""


def signal_job(account: Account, job_id: str, number: signal.Signals, *, server_only: bool = False) -> int:
    """Send the processes of a job a signal; return how many there were.

    Args:
        account: Whose job it is.
        job_id: The job.
        number: The signal.
        server_only: Whether only the server gets it, and not the script around it.
    """
    found = [
        pid
        for pid, environment in processes({account.home})
        if f"SLURM_JOB_ID={job_id}".encode() in environment and (not server_only or _is_server(pid))
    ]
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return len(found)


def processes(homes: set[Path]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number and the environment of each process whose home is one of these."""
    mine = {f"HOME={home}".encode() for home in homes}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            environment = path.read_bytes().split(b"\0")
            if not mine.isdisjoint(environment):
                yield int(path.parent.name), environment


def _is_server(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return STAND_IN.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
