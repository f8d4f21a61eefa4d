"""What a hub answers to a claim, for tests of the node's half."""

from __future__ import annotations

from launcher.protocol import ClaimAnswer

ANSWER = ClaimAnswer(
    launch_id="c" * 32,
    launch_key="d" * 64,
    environment={"JUPYTERHUB_API_TOKEN": "t0ken"},
    arguments=[],
    networks=["127.0.0.0/8"],
    names=[],
    interface="",
    ports=None,
    start_directory="/tmp",
    vscode=True,
    jupyterhub_version="6.1.1",
)
"""An answer as usual; a test replaces what it is about."""
