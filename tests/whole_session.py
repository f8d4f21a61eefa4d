"""A session with all that it may have, for who tries to get at it."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from belongings import belongings
from listener import Listener
from support import Person

from launcher.check.session import Kernel
from launcher.sandbox.accounts import Account
from launcher.sandbox.scheduler import Job


@dataclass
class Whole:
    """A session with all that it may have.

    Attributes:
        person: Whose it is.
        job: Its job, with the script, which holds the ticket, and the path of the log.
        kernel: The one that runs.
        about: What the kernel knows of itself.
        names: What stands for names in addresses of the server.
        server: The server's address and port.
        behind: A program of another user, to which named servers lead.
    """

    person: Person
    job: Job
    kernel: Kernel
    about: dict[str, Any]
    names: dict[str, Any]
    server: tuple[str, int]
    behind: Listener

    @property
    def account(self) -> Account:
        """Whose account it is."""
        return self.person.site.accounts[self.person.name]

    @property
    def ticket(self) -> str:
        """What claimed it."""
        return re.search(r"^launch_ticket=([0-9a-f]{64})$", self.job.script, re.MULTILINE)[1]

    def scripts(self) -> list[Path]:
        """Return all files of the site that hold the ticket, as root finds them."""
        found = []
        for directory, _, names in os.walk(self.person.site.state):
            for path in (Path(directory, name) for name in names):
                # Some have gone meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file() and not path.is_symlink() and self.ticket.encode() in path.read_bytes():
                        found.append(path)
        return found

    def belongings(self) -> dict[str, list[Any]]:
        """Return all that its user has on the node."""
        scripts, since = self.scripts(), self.job.start or 0
        found = belongings(self.account.uid, self.account.home, since=since)
        more = (*scripts, *(path.parent for path in scripts), self.account.home, self.job.standard_output)
        return {**found, "paths": sorted({*found["paths"], *map(str, more)})}

    def addresses(self, paths: tuple[str, ...]) -> list[str]:
        """Return addresses of the server, without what comes before its prefix."""
        return [path.format(**self.names) for path in paths]

    def tasks(self, token: str, **paths: tuple[str, ...]) -> dict[str, Any]:
        """Return all that there is of the session, and what to ask its server, with a token and without."""
        base = f"/user/{self.person.name}/"
        web = {
            "server": self.server,
            "tokens": ["", token],
            "paths": {what: [base + path for path in self.addresses(asked)] for what, asked in paths.items()},
        }
        return {**self.belongings(), "keys": [self.about["file"]], "web": web}
