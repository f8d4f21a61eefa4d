"""What a page sent: the chosen cluster's part of it, and what of it is shown again."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from launcher.clusters import options_from_form

CLUSTER = "cluster"
"""The option that names a cluster."""


@dataclass(frozen=True)
class Sent:
    """What a page sent.

    Attributes:
        options: What can be shown again, untrusted.
        errors: Field name → what is wrong with it.
    """

    options: Mapping[str, Any]
    errors: Mapping[str, str] = field(default_factory=dict)


SENT: ContextVar[Sent | None] = ContextVar("sent", default=None)
"""What the request that is being answered has sent.

JupyterHub answers a form that could not be used with the form of the user's default server, whichever server
it was for. Each request is a task of its own, so nobody, and no other server, ever sees what it sent.
"""


class NothingChosenError(Exception):
    """A link that starts nothing: the form is shown."""

    jupyterhub_message = ""


def sent_name(cluster: str, field: str) -> str:
    """Return the name by which a form of several clusters sends a field of one of them."""
    return f"{cluster}.{field}"


def sent_options(form: Mapping[str, list[Any]], first: str) -> dict[str, Any]:
    """Return the options that a form sent for the cluster that was chosen on it.

    Args:
        form: Name → values. The fields of other clusters are left out; a name without a cluster counts for
            whichever was chosen.
        first: The cluster that is meant if the form names none.
    """
    options = options_from_form(form)
    chosen = options.pop(CLUSTER, None) or first
    own = {}
    for name, value in options.items():
        # A cluster's name may hold a dot, a field's does not.
        cluster, _, field = name.rpartition(".")
        if cluster in ("", chosen):
            own[field] = value
    return {**own, CLUSTER: chosen}
