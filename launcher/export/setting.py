"""What a hub for one cluster sets, and why."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.clusters import Cluster

_QUEUE_MARGIN = 3600


@dataclass(frozen=True)
class Setting:
    """One configurable value of JupyterHub.

    Attributes:
        section: The class that it belongs to.
        name: The trait.
        value: Its value: a number, text, a list or a truth value.
        reason: Why it is so, for the reader of the configuration.
    """

    section: str
    name: str
    value: bool | int | float | str | list[str]
    reason: str


def settings(cluster: Cluster) -> list[Setting]:
    """Return what every hub for this cluster sets, whatever it is installed with."""
    longest = max(partition.time_limit for partition in cluster.partitions)
    return [
        Setting("JupyterHub", "spawner_class", "launcher", "Servers are jobs, started through FirecREST."),
        Setting(
            *("JupyterHub", "authenticator_class", "generic-oauth"),
            "Each user's access token for FirecREST comes from the log-in.",
        ),
        Setting(
            *("JupyterHub", "concurrent_spawn_limit", 0),
            "No limit: a server whose job waits in the queue is a pending start, and so many waiting jobs as "
            "a limit allows would lock everybody else out.",
        ),
        Setting(
            *("JupyterHub", "cleanup_servers", False),
            "A hub that is restarted must leave its users' jobs alone.",
        ),
        Setting(
            *("JupyterHub", "last_activity_interval", 0),
            "Servers report their activity themselves. To read it out of the proxy, too, keeps everybody "
            "waiting for some two milliseconds a server.",
        ),
        Setting(
            *("ConfigurableHTTPProxy", "should_start", False),
            "The proxy is a program of its own, so that a restart of the hub cuts nobody's connection.",
        ),
        Setting(
            *("GenericOAuthenticator", "enable_auth_state", True),
            "The hub keeps the token, encrypted: it submits, watches and cancels jobs as their user.",
        ),
        Setting(
            *("GenericOAuthenticator", "auth_refresh_age", 60),
            "Tokens are looked at each minute: FirecREST refuses one in the last 30 seconds of its life.",
        ),
        Setting(
            *("GenericOAuthenticator", "refresh_pre_spawn", False),
            "A start renews tokens itself and, where a log-in has expired, shows a link to log in again; the "
            "hub's own look before each start would show an error.",
        ),
        Setting(
            *("GenericOAuthenticator", "allow_all", True),
            "Whoever the identity provider lets in may log in: FirecREST and Slurm decide who may run jobs.",
        ),
        Setting(
            *("LauncherSpawner", "start_timeout", 60 * longest + _QUEUE_MARGIN),
            "In seconds, and above the longest queue, because a start takes as long as its job waits: jobs "
            f"ahead of it may run for {longest} minutes.",
        ),
        Setting(
            *("LauncherSpawner", "poll_interval", 300),
            "In seconds, and only a safety net: servers say themselves that they live and that they end.",
        ),
        Setting(
            *("LauncherSpawner", "poll_jitter", 0.5),
            "Spreads these looks, so that a hub that comes back does not take them all at the same moment.",
        ),
        Setting(
            *("LauncherSpawner", "consecutive_failure_limit", 0),
            "No limit: with one, the hub ends itself after so many starts in a row that timed out or met an "
            "error of the hub's own, and a queue that is full for long is enough for that. Refusals of Slurm "
            "or FirecREST never count.",
        ),
    ]


def login_settings() -> list[Setting]:
    """Return what a hub sets whose log-in nobody else has configured."""
    return [
        Setting(
            *("GenericOAuthenticator", "scope", ["openid", "profile"]),
            "What is asked of the identity provider; some renew tokens only with offline_access.",
        ),
        Setting(
            *("GenericOAuthenticator", "username_claim", "preferred_username"),
            "The claim that holds the user's name on the cluster.",
        ),
    ]
