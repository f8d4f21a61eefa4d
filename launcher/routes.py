"""The routes of a proxy that was restarted: it gets them back soon.

JupyterHub gives them back as it reads everybody's last activity out of the proxy (jupyterhub/app.py,
`update_last_activity`), every `last_activity_interval` of 300 s: too rarely for those who work. More often it
costs too much where there are thousands, for the hub stands still for two milliseconds each.
The routes alone cost a fraction of that.
"""

from __future__ import annotations

import asyncio
from logging import Logger
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

EVERY = 15.0
"""Seconds between two looks."""


async def keep(hub: Any, log: Logger) -> None:
    """Give the hub's proxy, again and again, the routes that it lacks.

    Args:
        hub: The JupyterHub application.
        log: The hub's.
    """
    while True:
        await asyncio.sleep(EVERY)
        # A hub that is still coming up does not know all of its servers, and would take their routes away.
        if hub.http_server is None:
            continue
        try:
            await hub.proxy.check_routes(hub.users, hub.tornado_settings["services"])
        except Exception as error:  # noqa: BLE001 - a proxy that is away is looked at again
            log.warning("Can't look at the routes of the proxy: %s", error)
            if isinstance(error, SQLAlchemyError):
                hub.db.rollback()  # else nobody could use the session any more
