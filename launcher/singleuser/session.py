"""A session: all that the server is started with, and what its user's programs learn of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from launcher import __version__
from launcher.errors import PreflightFailed
from launcher.protocol import ClaimAnswer
from launcher.singleuser.environment import Environments
from launcher.singleuser.listener import Listener
from launcher.singleuser.reporter import Reporter

_COMMAND = f"{os.path.dirname(__file__)}/launcher.sh"


class Session(NamedTuple):
    """What a server is started with.

    Attributes:
        answer: What the hub said that this launch is.
        listener: The bound socket.
        reporter: Hears of `ready` once the server accepts connections, and why it ends.
        environments: What the server and its user's programs see.
        directory: A directory of this node that only its user may enter, for sockets and the like.
    """

    answer: ClaimAnswer
    listener: Listener
    reporter: Reporter
    environments: Environments
    directory: str

    def announce(self, scheme: str) -> None:
        """Tell all programs of the session what the hub delivered, where the server is, and its directory.

        Those of the user find the program `launcher` besides, after all that they have, and in
        LAUNCHER_SESSION the path of what `record` returns, as JSON.

        Args:
            scheme: `http` or `https`.

        Raises:
            PreflightFailed: If the session's directory takes no file.
        """
        prefix = self.answer.environment.get("JUPYTERHUB_SERVICE_PREFIX", "/")
        self.environments.add(
            {
                **self.answer.environment,
                "JUPYTERHUB_SERVICE_URL": f"{scheme}://{self.listener.host}:{self.listener.port}{prefix}",
                "JUPYTER_RUNTIME_DIR": self.directory,
            }
        )
        told, programs = f"{self.directory}/session.json", f"{self.directory}/bin"
        try:
            _write(told, json.dumps(record(self.answer, self.environments)))
            os.mkdir(programs, 0o700)
            # No copy: where programs may not be run from the directory, what a link leads to still may.
            os.symlink(_COMMAND, f"{programs}/launcher")
        except OSError as error:
            raise PreflightFailed(
                f"Nothing can be written to {os.path.dirname(self.directory)} on this node.",
                why=f"{error.strerror}.",
                todo="Press Start again to get another node, or tell the site's support.",
            ) from None
        for each in (self.environments.user, self.environments.bare):
            each["LAUNCHER_SESSION"] = told
            each["LAUNCHER_PYTHON"] = sys.executable
            each["PATH"] = f"{each.get('PATH') or os.defpath}:{programs}"


def record(answer: ClaimAnswer, environments: Environments) -> dict[str, Any]:
    """Return what a session is, for its user's programs: no token and no key.

    `start` and `end` are the job's, in seconds since 1970, or None if Slurm does not tell its jobs; an admin
    may have moved the end since. The session ends `end_warning` seconds before its job.
    """
    job = environments.bare
    hub = answer.environment
    loaded = {(view.mount, view.name) for view in environments.views}
    return {
        "launcher": __version__,
        "hub": hub.get("JUPYTERHUB_PUBLIC_HUB_URL")
        or hub.get("JUPYTERHUB_API_URL", "").removesuffix("/").removesuffix("/api"),
        "cluster": answer.cluster,
        "environment": {"title": answer.title, "kind": answer.kind},
        "images": [
            {
                "mount": image.mount,
                "label": image.label,
                "name": image.name,
                "loaded": [name for name in image.views if (image.mount, name) in loaded],
                "others": [name for name in image.views if (image.mount, name) not in loaded],
            }
            for image in environments.images
        ],
        "node": job.get("SLURMD_NODENAME") or os.uname().nodename,
        "job": {
            "id": job.get("SLURM_JOB_ID", ""),
            "partition": job.get("SLURM_JOB_PARTITION", ""),
            "account": job.get("SLURM_JOB_ACCOUNT", ""),
            "nodes": job.get("SLURM_JOB_NODELIST", ""),
            # Older versions of Slurm don't say.
            "start": _seconds(job, "SLURM_JOB_START_TIME"),
            "end": _seconds(job, "SLURM_JOB_END_TIME"),
        },
        "end_warning": answer.end_warning,
        "start_directory": answer.start_directory,
    }


def _seconds(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else None


def _write(path: str, text: str) -> None:
    """Write a file that only its owner may read, and that nobody finds half written."""
    aside = f"{path}.new"
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(aside, path)
