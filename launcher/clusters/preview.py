"""The script of a launch that nobody asked for, for an admin to look at."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from launcher.clusters.cluster_file import ClusterFile
from launcher.clusters.options import parse_options
from launcher.clusters.request import LaunchRequest
from launcher.clusters.script import LaunchFacts


def preview_facts(user: str, hub_api_url: str) -> LaunchFacts:
    """Return a launch that never was.

    Args:
        user: The user's name on the cluster.
        hub_api_url: The hub's API as compute nodes reach it.

    Raises:
        LauncherError: If no user can have that name.
        ValueError: If the URL is none.
    """
    # A ticket as any other, so that what replaces it can stand in no other place.
    return LaunchFacts("0" * 32, secrets.token_hex(32), hub_api_url, user)


def preview(file: ClusterFile, options: Mapping[str, str], facts: LaunchFacts) -> tuple[LaunchRequest, str]:
    """Return the request that options lead to, and its script with x's for the ticket.

    Args:
        file: The cluster file.
        options: As a form or the REST API gives them.
        facts: The launch.

    Raises:
        InvalidOptions: If the options can't be had.
    """
    request = parse_options(file.cluster, options, user=facts.user)
    return request, file.render(request, facts).replace(facts.ticket, "x" * len(facts.ticket))
