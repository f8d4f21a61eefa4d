"""Starts of an image's own server from several places, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.node.places import Place, State, prepare, turned
from benchmarks.node.starts import AS_NOBODY, Node, Start


def server(mount: str) -> list[str]:
    """Return the command of the server that an image brings, as nobody."""
    return [*AS_NOBODY, f"{mount}/env/jupyter/bin/launcher-singleuser"]


def alternating(node: Node, places: Mapping[str, Place], state: State, times: int) -> dict[str, list[Start]]:
    """Start servers from some places in turn; each round begins with another place.

    Args:
        node: Where.
        places: Name → place.
        state: What is in memory.
        times: How often from each.
    """
    starts: dict[str, list[Start]] = {name: [] for name in places}
    commands = {name: place.command(server(place.mount)) for name, place in places.items()}
    with ExitStack() as others:
        if state is State.WARM:
            for name, place in places.items():
                others.enter_context(place.held())
                node.start(commands[name])
        for number in range(times):
            for name in turned(list(places), number):
                prepare(places[name], state)
                starts[name].append(node.start(commands[name]))
    return starts
