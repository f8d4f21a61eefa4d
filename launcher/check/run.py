"""The two checks: their steps in order, their time limits, and the clean-up that always happens."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from types import MappingProxyType

from launcher.check.address import hub_address, require_private
from launcher.check.browser import Browser
from launcher.check.errand import Errand
from launcher.check.report import Report, Step
from launcher.check.server import JobGone
from launcher.check.steps import Steps, Work, to_the_end
from launcher.check.visit import Visit

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
OnStep = Callable[[Step], None]


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
    on_step: OnStep | None = None,
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
    steps = Steps(on_step)
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
            if visit.started:
                gone = visit.wait_for_job_gone if job_gone else None
                await to_the_end(_end(steps, visit.stop, step_timeout, gone, step_timeout))
    return Report(complete and all(step.ok for step in steps.taken), steps.taken)


async def smoke(
    hub_url: str,
    *,
    token: str,
    user: str = "",
    server: str = "",
    options: Mapping[str, str] = NO_OPTIONS,
    start_timeout: float = 600,
    step_timeout: float = 60,
    stop_timeout: float = 180,
    allow_http: bool = False,
    tls: ssl.SSLContext | None = None,
    on_step: OnStep | None = None,
) -> Report:
    """Start a server by the hub's REST API, use its kernel, stop it, and see it gone.

    It ends, and cleans up, as `check` does.

    Args:
        hub_url: The hub's public address.
        token: A hub's API token, of a user or of a service. It is sent to that hub and its subdomains only.
        user: Whose server to start; without it that of the token's owner.
        server: Name of the server; without it the default one. One that was not there before is removed.
        options: The server's `user_options`.
        start_timeout: How long a start may take, in seconds, the queue included.
        step_timeout: How long any other step may take, in seconds.
        stop_timeout: How long the server's end may take, in seconds, a restart of the hub included.
        allow_http: Whether the token may travel in the clear.
        tls: Which certificates to trust; None stands for those of the system.
        on_step: Called after each step.

    Returns:
        The steps that were tried; those never reached are missing.

    Raises:
        UsageError: `hub_url` is no address of a web site, or the token would travel in the clear.
    """
    hub = hub_address(hub_url)
    if not allow_http:
        require_private(hub)
    steps = Steps(on_step)
    async with Browser(tls, token=token, site=hub) as browser:
        errand = Errand(browser, hub, user=user, server_name=server, options=options)
        try:
            complete = (
                await steps.take("token", errand.identify, step_timeout)
                and await steps.take("request", errand.request, step_timeout)
                and await steps.take("start", errand.wait_for_start, start_timeout)
                and await steps.take("JupyterLab", errand.open_lab, step_timeout)
                and await steps.take("kernel", errand.start_kernel, step_timeout)
                and await steps.take("cell output", errand.run_cell, step_timeout)
            )
        finally:
            errand.leave()
            if errand.started:
                await to_the_end(_end(steps, errand.stop, stop_timeout, errand.see_gone, step_timeout))
    return Report(complete and all(step.ok for step in steps.taken), steps.taken)


async def _end(steps: Steps, stop: Work, stop_timeout: float, gone: Work | None, gone_timeout: float) -> None:
    if await steps.take("stop", stop, stop_timeout) and gone:
        await steps.take("job gone", gone, gone_timeout)
