"""The count of a hub's servers, which JupyterHub makes at each start, to refuse those beyond a limit.

It looks at every server for that (jupyterhub/user.py, `UserDict.count_active_users`), some 10 microseconds
each: with thousands, the hub serves nobody for tens of milliseconds at each start. One without a limit needs
the numbers for a metric and its debug log alone.
"""

from __future__ import annotations

import asyncio
from logging import Logger
from typing import Any

from jupyterhub.metrics import RUNNING_SERVERS
from jupyterhub.user import UserDict
from sqlalchemy.exc import SQLAlchemyError

EVERY = 15.0
"""Seconds between two counts."""


async def keep(hub: Any, log: Logger) -> None:
    """Count the servers of a hub that refuses nobody now and then, and have its starts use that.

    A `concurrent_spawn_limit` or `active_server_limit` leaves JupyterHub's own way as it is. Each count sets
    the metric `jupyterhub_running_servers` right: to it JupyterHub adds a start that it has counted already
    once more when its server is ready.

    Args:
        hub: The JupyterHub application.
        log: The hub's.
    """
    limits = ("concurrent_spawn_limit", "active_server_limit")
    if any(hub.tornado_settings.get(limit) for limit in limits):
        return
    while True:
        try:
            counts = UserDict.count_active_users(hub.users)
        except SQLAlchemyError as error:
            log.warning("Can't count the servers: %s", error)
            hub.db.rollback()  # else nobody could use the session any more
        else:
            RUNNING_SERVERS.set(counts["active"])
            hub.users.count_active_users = counts.copy
        await asyncio.sleep(EVERY)
