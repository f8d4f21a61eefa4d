"""Named servers of jupyter-server-proxy, as a user configures them for JupyterLab."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from launcher.sandbox.accounts import Account

KINDS = {
    "port": {},
    "port-raw": {"raw_socket_proxy": True},
    "command": {"command": ["sleep", "1000"]},
    "command-raw": {"command": ["sleep", "1000"], "raw_socket_proxy": True, "timeout": 1},
}
"""Every kind there is of those that have a port, by name; what they start does not listen."""


@contextlib.contextmanager
def named_servers(account: Account, servers: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Have them in a user's configuration, for a server that starts meanwhile."""
    configuration = account.home / ".jupyter/jupyter_server_config.json"
    configuration.parent.mkdir(exist_ok=True)
    os.chown(configuration.parent, account.uid, account.gid)
    configuration.write_text(json.dumps({"ServerProxy": {"servers": servers}}))
    try:
        yield
    finally:
        configuration.unlink()
