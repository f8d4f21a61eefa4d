"""Which address is a hub's, and whether a token may travel to it."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from launcher.errors import UsageError


def hub_address(url: str) -> str:
    """Return the address below which a hub's own pages and its API lie, with a slash at its end.

    Args:
        url: The hub's public address, or that of one of its pages.

    Raises:
        UsageError: It is no address of a web site, or holds a password.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError("The hub's address holds a name or a password.", todo="Give it without: https://…")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{url!r} is no address of a hub.", todo="Give it as a browser shows it: https://…")
    path = f"{parts.path.rstrip('/')}/".partition("/hub/")[0].rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}/hub/"


def require_private(url: str) -> None:
    """Refuse an address to which a token would travel in the clear: http to another machine.

    Raises:
        UsageError: It is one.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise UsageError(
            f"{parts.scheme}://{parts.netloc} is not encrypted, and the token would be readable on its way.",
            todo="Give the hub's https address, or --allow-http on a network that nobody else listens to.",
        )


def is_within(url: str, site: str) -> bool:
    """Whether an address is on the same site: its host, or a subdomain, with the same scheme and port."""
    try:
        asked, own = urlsplit(url), urlsplit(site)
        same = (asked.scheme, asked.port or _default(asked.scheme)) == (
            own.scheme,
            own.port or _default(own.scheme),
        )
    except ValueError:
        return False
    host, own_host = asked.hostname or "", own.hostname or ""
    return same and bool(own_host) and (host == own_host or host.endswith(f".{own_host}"))


def _default(scheme: str) -> int:
    return 443 if scheme in {"https", "wss"} else 80


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    # RFC 6761, 6.3: names below it, too.
    return host == "localhost" or host.endswith(".localhost")
