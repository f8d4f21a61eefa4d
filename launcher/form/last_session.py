"""How users' last sessions ended: kept, and shown on JupyterHub's page of a server that does not run."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any, Self
from weakref import WeakKeyDictionary

from jinja2 import ChoiceLoader, PackageLoader
from jupyterhub.user import User

from launcher.words.ended import Ended

_PAGE = "not_running.html"


class LastSessions:
    """How sessions ended by themselves, until their users start the next; a hub that is restarted forgets it.

    Use `LastSessions.of`: there is one a hub.
    """

    def __init__(self) -> None:
        # By user object: one who is deleted takes what was known along.
        self._ended: WeakKeyDictionary[User, dict[str, Ended]] = WeakKeyDictionary()

    @classmethod
    def of(cls, settings: MutableMapping[str, Any]) -> Self:
        """Return the one of a hub."""
        sessions: Self = settings.setdefault("launcher_last_sessions", cls())
        return sessions

    def keep(self, user: User, server: str, ended: Ended) -> None:
        """Keep how the last session of a user's server ended; what becomes known later counts, too."""
        self._ended.setdefault(user, {})[server] = ended

    def forget(self, user: User, server: str) -> None:
        """Forget it: there is a next session, or the user has stopped it."""
        self._ended.get(user, {}).pop(server, None)

    def told(self, user: User, server: str) -> Ended | None:
        """Return how the last session of a user's server ended, unless that was the user's own wish."""
        ended = self._ended.get(user, {}).get(server)
        return None if ended is None or ended.by_its_user else ended


def extend_pages(settings: MutableMapping[str, Any]) -> None:
    """Have JupyterHub's page of a server that does not run say why.

    A site's own page stays as it is; `launcher_last_session(user, server_name)` is there for it, too. It
    tells that user alone: admins, and those with whom a server is shared, may open the page as well.

    Args:
        settings: The hub's, with its templates.
    """

    def told_to(viewer: User | None) -> Callable[[User, str], str]:
        def words(user: User, server: str) -> str:
            ended = LastSessions.of(settings).told(user, server) if user is viewer else None
            return ended.words(time.time()) if ended else ""

        return words

    # JupyterHub calls it with whoever sees a page, and gives the page what it returns. Its handlers have a
    # copy of the settings, but this very dictionary.
    settings["template_vars"]["launcher_last_session"] = told_to
    for key in ("jinja2_env", "jinja2_env_sync"):
        environment = settings[key]
        loader = environment.loader
        found, original = (loader.get_source(environment, name)[1] for name in (_PAGE, f"templates/{_PAGE}"))
        if found == original:
            environment.loader = ChoiceLoader([PackageLoader("launcher.form", "pages"), loader])
