"""A user's Slurm accounts, as FirecREST tells them: asked with a time-out, kept, and served again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakKeyDictionary

from jupyterhub.user import User

from launcher.clusters import Cluster, UserAccounts
from launcher.detached import run_detached
from launcher.errors import LauncherError

PATIENCE = 3.0
"""Seconds that a form waits for FirecREST."""
FRESH_FOR = 300.0
"""Seconds that an answer is good for."""
RETRY_AFTER = 30.0
"""Seconds without another try after one that failed."""


@dataclass
class _Kept:
    """What is known of one user on one cluster, and when to ask again."""

    accounts: UserAccounts | None = None
    problem: str = ""
    ask_at: float = float("-inf")
    told_at: float = float("-inf")
    asking: asyncio.Task[None] | None = None


class AccountBook:
    """The accounts of all users of a hub, as far as they are known.

    Args:
        clock: Seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By user object: one who is deleted takes what was known along.
        self._kept: WeakKeyDictionary[User, dict[str, _Kept]] = WeakKeyDictionary()

    @classmethod
    def of(cls, settings: MutableMapping[str, Any]) -> Self:
        """Return the one that all spawners of a hub share."""
        book: Self = settings.setdefault("launcher_accounts", cls())
        return book

    def known(self, user: User, cluster: Cluster) -> UserAccounts | None:
        """Return a user's accounts without asking; None if they were not told of late."""
        kept = self._of(user, cluster)
        fresh = self._clock() - kept.told_at < FRESH_FOR
        return kept.accounts if fresh and cluster.accounts == "firecrest" else None

    async def ask(
        self, user: User, cluster: Cluster, fetch: Callable[[], Awaitable[UserAccounts]]
    ) -> tuple[UserAccounts | None, str]:
        """Return a user's accounts, asked for if what is known is old.

        Args:
            user: Whose accounts.
            cluster: The cluster; one whose file does not take accounts from FirecREST has none.
            fetch: Asks FirecREST. What takes longer than `PATIENCE` goes on, for the next to find.

        Returns:
            The accounts as they were last told, None if they never were; and why there are none.
        """
        if cluster.accounts != "firecrest":
            return None, ""
        kept = self._of(user, cluster)
        if kept.asking is None and self._clock() >= kept.ask_at:
            # Detached: a log-in that is just being renewed must not be cut off.
            kept.asking = run_detached(self._fetch(kept, fetch))
        if kept.asking:
            await asyncio.wait({kept.asking}, timeout=PATIENCE)
        if kept.accounts and kept.accounts.names:
            return kept.accounts, ""
        return kept.accounts, kept.problem or "FirecREST did not tell your Slurm accounts in time."

    async def _fetch(self, kept: _Kept, fetch: Callable[[], Awaitable[UserAccounts]]) -> None:
        wait = RETRY_AFTER
        try:
            kept.accounts = await fetch()
            kept.told_at = self._clock()
            kept.problem = "" if kept.accounts.names else "FirecREST names no Slurm account of yours."
            wait = FRESH_FOR
        except LauncherError as error:
            kept.problem = " ".join(part for part in (error.what, error.todo) if part)
        finally:
            kept.ask_at = self._clock() + wait
            kept.asking = None

    def _of(self, user: User, cluster: Cluster) -> _Kept:
        return self._kept.setdefault(user, {}).setdefault(f"{cluster.firecrest}", _Kept())
