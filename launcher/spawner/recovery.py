"""What a hub takes up from the one before it: starts under way, and jobs that should end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from logging import Logger
from typing import Any
from urllib.parse import quote

import httpx

from launcher import certificates
from launcher.database.server_token import forget_token, forget_unused
from launcher.detached import run_detached
from launcher.spawner.launches import Launch, Launches

_AT_ONCE = 8
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_LOOK_EVERY = 0.2
_BUSY = frozenset({429, 502, 503, 504})


class Recovery:
    """Starts again, through the hub's own REST API, what an earlier hub was starting; sees off what it ended.

    Args:
        hub: The JupyterHub application.
        log: The hub's.
    """

    def __init__(self, hub: Any, log: Logger) -> None:
        self._hub = hub
        self._settings = hub.tornado_settings
        self._log = log
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    def begin(self) -> None:
        """Begin, for every launch that the database holds."""
        launches = Launches.of(self._settings, self._hub.db)
        forget_unused(self._hub.db, {f"{each.user}/{each.server}" for each in launches if each.wanted})
        for launch in launches:
            if launch.awaited:
                run_detached(self._start_again(launch))
            elif launch.has_successor:
                run_detached(self._start_successor(launch))
            elif not launch.wanted:
                if launch.starting:
                    self._log.warning("Start of %s: too late to go on with it; its job is ended", launch.name)
                run_detached(self._end(launch))

    async def _end(self, launch: Launch) -> None:
        user = self._hub.users.get(launch.user)
        if user is not None:
            await user.spawners[launch.server].see_off(launch)

    async def _start_again(self, launch: Launch) -> None:
        """Have the hub go on with a start, unless the user stops it or the ticket expires."""
        await self._asked(launch, launch.record.asked, lambda: launch.awaited)
        if launch.awaited:
            launch.awaited = False
            self._log.error("Start of %s: given up; its job is ended", launch.name)
            await self._end(launch)

    async def _start_successor(self, launch: Launch) -> None:
        """Have the hub begin the start that waited for the end of a launch, and does so again.

        What the hub refuses now is given up, for the launch must end.
        """
        user, record = self._hub.users.get(launch.user), launch.record
        until = record.successor_until

        def due() -> bool:
            return launch.has_successor and record.successor_until == until and not launch.gone

        if user is not None:
            spawner = user.spawners[launch.server]
            await self._asked(
                launch,
                spawner.orm_spawner.user_options or {},
                due,
                final=lambda status: status not in _BUSY and not spawner.pending,
            )
        if due():
            record.successor_until = 0.0
        await self._end(launch)

    async def _asked(
        self,
        launch: Launch,
        options: Mapping[str, Any],
        due: Callable[[], bool],
        final: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """Ask the hub to start a launch's server until it does, or that is not due any more.

        Args:
            launch: The launch.
            options: What the user asked for.
            due: Tells whether the start is still to be begun.
            final: Tells of an HTTP status whether there is no use in asking again.
        """
        pause = _FIRST_PAUSE
        while due() and not _hopeless(launch):
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
            status = 0
            try:
                async with self._at_once:
                    status, problem = await self._ask(launch, options, due)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try is another chance
                problem = f"{type(error).__name__}: {error}"
            if not due():
                return
            self._log.warning("Start of %s: not taken up yet: %s", launch.name, problem)
            if status and final(status):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _ask(
        self, launch: Launch, options: Mapping[str, Any], due: Callable[[], bool]
    ) -> tuple[int, str]:
        """Ask the hub to start a server, as long as that is due; return its answer's status and words."""
        user = self._hub.users.get(launch.user)
        if user is None or not due():
            return 0, "there is no such user"
        token = user.new_api_token(
            note="The launcher takes up a start", scopes=[f"servers!user={launch.user}"], expires_in=300
        )
        server = f"servers/{quote(launch.server)}" if launch.server else "server"
        verify = certificates.client_context(self._settings) or False
        try:
            async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=30.0) as client:
                asking = asyncio.ensure_future(
                    client.post(
                        f"{self._hub.hub.api_url}/users/{quote(launch.user, safe='@~')}/{server}",
                        headers={"Authorization": f"token {token}"},
                        json={"user_options": options},
                    )
                )
                # The answer comes only when the server is ready, or slow to be.
                while due() and not asking.done():
                    await asyncio.wait({asking}, timeout=_LOOK_EVERY)
                asking.cancel()
                await asyncio.wait({asking})
        finally:
            forget_token(self._hub.db, token)
        if asking.cancelled():
            return 0, "it is not due any more"
        answer = asking.result()
        return answer.status_code, f"HTTP {answer.status_code}: {answer.text[:300]}"


def _hopeless(launch: Launch) -> bool:
    """Tell whether a launch that was under way can't become a server any more."""
    return launch.wanted and (launch.ended is not None or (launch.starting and launch.ticket_expired))
