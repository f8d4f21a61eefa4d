"""`launcher smoke`: the check by a token, told to whoever runs it, and ended by signals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from launcher.check.outcome import say, tell
from launcher.check.report import Report, Step
from launcher.check.run import smoke
from launcher.check.signals import ended_by_signals


async def run(
    hub_url: str,
    *,
    token: str,
    user: str,
    server: str,
    options: Mapping[str, str],
    start_timeout: float,
    allow_http: bool,
    as_json: bool,
) -> None:
    """Try a hub as `smoke` does, and print what held, also if a signal ends it early.

    Raises:
        CheckFailed: If a step did not hold.
        UsageError: `hub_url` is no address of a web site, or the token would travel in the clear.
    """
    steps: list[Step] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        if not as_json:
            say(step)

    try:
        with ended_by_signals():
            report = await smoke(
                hub_url,
                token=token,
                user=user,
                server=server,
                options=options,
                start_timeout=start_timeout,
                allow_http=allow_http,
                on_step=on_step,
            )
    except asyncio.CancelledError:
        report = Report(ok=False, steps=steps)
    tell(report, as_json=as_json)
