"""Whether all programs start the same server: with all extensions, which answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.node.starts import Server
from benchmarks.startup.programs import Program

ANSWERS = (
    "api/contents",
    "api/kernelspecs",
    "api/metrics/v1",
    "api/nbconvert",
    "api/terminals",
    "lab",
    "lab/api/settings/",
    "lsp/status",
    "server-proxy/servers-info",
)
"""What the server and its extensions answer: each extension but JupyterHub's has one of these."""
_LOADED = re.compile(r"\b(\w+) \| extension was successfully loaded")


def check(programs: Mapping[str, Program]) -> None:
    """Start each once.

    Raises:
        RuntimeError: If one of the servers is not what the others are.
    """
    loaded = {}
    for name, program in programs.items():
        with program.running() as server:
            loaded[name] = answering(server, name)
    if unlike := differing(loaded):
        raise RuntimeError(f"Not all extensions are everywhere: {unlike}")


def answering(server: Server, name: str) -> frozenset[str]:
    """Return the extensions that a server has loaded.

    Raises:
        RuntimeError: If something does not answer.
    """
    for path in ANSWERS:
        status, body = server.ask(path)
        if status != 200:
            raise RuntimeError(f"{name} answers {status} at {path}: {body.decode(errors='replace')}")
    return frozenset(_LOADED.findall(server.log))


def differing(loaded: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """Return which extensions each program lacks that another has loaded, if there are any.

    Args:
        loaded: Name of a program → its extensions.
    """
    everything = frozenset().union(*loaded.values())
    return {name: sorted(everything - own) for name, own in loaded.items() if everything - own}
