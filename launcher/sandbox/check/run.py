"""The check: its steps in order, their time limits, and the clean-up that always happens."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from launcher.errors import LauncherError
from launcher.sandbox.check.browser import Browser
from launcher.sandbox.check.report import Report, Step
from launcher.sandbox.check.visit import JobGone, Seen, Visit

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


async def check(
    hub_url: str,
    *,
    username: str,
    password: str,
    options: Mapping[str, str] = NO_OPTIONS,
    job_gone: JobGone | None = None,
    start_timeout: float = 120,
    step_timeout: float = 60,
    tls: ssl.SSLContext | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Report:
    """Log in, start a server, use its kernel and its terminal, stop it, and see its job gone.

    The first step that fails ends the run. A server that was started is stopped in any case, also if
    the run is cancelled; a server that ran before is left alone, and fails the run.

    Args:
        hub_url: The hub's public address, the one a person types.
        username: Who logs in.
        password: Their password.
        options: What to put into which field of the options form; other fields keep their defaults.
        job_gone: Tells whether the scheduler has no job of this user; without it that is not checked.
        start_timeout: How long a start may take, in seconds, the queue included.
        step_timeout: How long any other step may take, in seconds.
        tls: Which certificates to trust; None stands for those of the system.
        on_step: Called after each step.

    Returns:
        The steps that were tried; those never reached are missing.

    Raises:
        UsageError: `hub_url` is no address of a web site.
    """
    steps = _Steps(on_step)
    async with Browser(tls) as browser:
        visit = Visit(
            browser, hub_url, username=username, password=password, options=options, job_gone=job_gone
        )
        try:
            complete = (
                await steps.take("log in", visit.log_in, step_timeout)
                and await steps.take("options form", visit.submit_options, step_timeout)
                and await steps.take("start", visit.wait_for_start, start_timeout)
                and await steps.take("JupyterLab", visit.open_lab, step_timeout)
                and await steps.take("kernel", visit.start_kernel, step_timeout)
                and await steps.take("cell output", visit.run_cell, step_timeout)
                and await steps.take("terminal", visit.use_terminal, step_timeout)
            )
        finally:
            visit.leave()
            if visit.started and await steps.take("stop", visit.stop, step_timeout) and job_gone:
                await steps.take("job gone", visit.wait_for_job_gone, step_timeout)
    return Report(complete and all(step.ok for step in steps.taken), steps.taken)


@dataclass
class _Steps:
    """Takes steps, and keeps what came of them."""

    on_step: Callable[[Step], None] | None
    taken: list[Step] = field(default_factory=list)

    async def take(self, name: str, work: Callable[[Seen], Awaitable[None]], limit: float) -> bool:
        """Take a step, for at most `limit` seconds; tell whether it held."""
        seen: Seen = []
        began = time.monotonic()
        failure: str | None = "It was interrupted."
        try:
            async with asyncio.timeout(limit):
                await work(seen)
            failure = None
        except LauncherError as error:
            failure = str(error)
        except TimeoutError:
            failure = f"It was not done after {limit:g} s."
        except (LookupError, TypeError, ValueError) as error:
            # An answer without the keys that Jupyter's APIs promise is a finding, too.
            failure = f"An answer was not what was expected: {error!r}."
        finally:
            # In a finally, so that an interrupted step shows as well.
            detail = "\n".join(seen if failure is None else [failure, *seen])
            step = Step(name, time.monotonic() - began, failure is None, detail)
            self.taken.append(step)
            if self.on_step:
                self.on_step(step)
        return step.ok
