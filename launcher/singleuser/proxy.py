"""What jupyter-server-proxy leads to: its user's own programs, and by `/proxy/<port>` only where allowed.

A port of a node is anybody's, and what answers there is shown at the address of its user's JupyterLab, with
all that this opens. So nothing is handed on to another user's program.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import takewhile
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from tornado.web import HTTPError, RequestHandler

_LISTENS = "0A"
_LOOPBACK = ("localhost", "127.0.0.1")
_IPV4 = (IPv4Address("127.0.0.1"), IPv4Address("0.0.0.0"))  # noqa: S104 - looked for, not listened on
_IPV6 = (IPv6Address("::1"), IPv6Address("::"))
_HUBS_COOKIE = re.compile(r"\s*(__Host-)?jupyterhub-")


class _Own(RequestHandler):
    """A handler of jupyter-server-proxy that hands on to programs of its user alone.

    They get what is theirs, and nothing that opens JupyterLab.
    """

    port: int
    unix_socket: str | None
    token_authenticated: bool
    identity_provider: Any

    async def prepare(self) -> None:
        """Keep what is the hub's."""
        if (prepared := super().prepare()) is not None:
            await prepared
        if self._finished:
            return
        self._keep_cookies()
        if self.token_authenticated:
            self._keep_token(self.identity_provider.hub_auth.get_token(self, in_cookie=False))

    def get_client_uri(self, protocol: str, host: str, port: str | int, proxied_path: str) -> str:
        """Return the address that is connected to."""
        uri: str = super().get_client_uri(protocol, host, port, proxied_path)  # type: ignore[misc]
        if self.unix_socket is not None:
            _check_owner(self.unix_socket)
        elif host in _LOOPBACK:
            return uri.replace(f"://{host}:", f"://{own_address(str(port))}:", 1)
        return uri

    def _create_ws_connection(self, protocol: Callable[[], asyncio.BaseProtocol]) -> Awaitable[Any]:
        # What a named server of raw bytes connects by.
        if self.unix_socket is not None:
            _check_owner(self.unix_socket)
            connection: Awaitable[Any] = super()._create_ws_connection(protocol)  # type: ignore[misc]
            return connection
        host = own_address(str(self.port)).strip("[]")
        return asyncio.get_running_loop().create_connection(protocol, host, self.port)

    async def _http_ready_func(self, process: Any) -> bool:
        try:
            return bool(await super()._http_ready_func(process))  # type: ignore[misc]
        except HTTPError:
            return False

    def _keep_cookies(self) -> None:
        # `_xsrf` opens nothing by itself, and pages of programs take it for their own.
        headers = self.request.headers
        theirs = [cookie for cookie in headers.pop("Cookie", "").split(";") if not _HUBS_COOKIE.match(cookie)]
        if cookies := ";".join(theirs).strip():
            headers["Cookie"] = cookies

    def _keep_token(self, token: str) -> None:
        # Programs may have tokens of their own.
        request = self.request
        if request.headers.get("Authorization", "").partition(" ")[2].strip() == token:
            del request.headers["Authorization"]
        request.query = "&".join(
            part for part in request.query.split("&") if parse_qsl(part) != [("token", token)]
        )


class _Off(RequestHandler):
    """In the place of a handler of `/proxy/…` where the cluster does not allow it."""

    async def prepare(self) -> None:
        """Say so, to whom the server is."""
        if (prepared := super().prepare()) is not None:
            await prepared
        if not self._finished:
            raise HTTPError(
                403,
                "This cluster does not hand on /proxy/…; the site can allow it with `proxy: true` in its "
                "cluster file.",
            )


class _AnyPort(_Own):
    """A handler of `/proxy/…`."""

    async def prepare(self) -> None:
        """Look whose the port is, before a websocket is accepted, too."""
        await super().prepare()
        if self._finished:
            return
        *host, port, _ = self.path_args
        if not host or host[0] in _LOOPBACK:
            own_address(port)


def guard(*, allowed: bool) -> None:
    """Guard what jupyter-server-proxy will set up, if it is installed.

    Args:
        allowed: Whether `/proxy/<port>` and its like hand on.
    """
    try:
        import jupyter_server_proxy as package  # type: ignore[import-untyped] # noqa: PLC0415 - may be missing
        from jupyter_server_proxy import config, handlers  # noqa: PLC0415
    except ImportError:
        return

    def guarded(handler: type, by: type[RequestHandler]) -> type:
        return type(handler.__name__, (by, handler), {})

    def setup_handlers(web_app: Any, settings: Any) -> None:
        def add_handlers(host: str, rules: list[Any]) -> None:
            by = _AnyPort if allowed else _Off
            web_app.add_handlers(
                host, [(path, guarded(handler, by), *facts) for path, handler, *facts in rules]
            )

        guarding = SimpleNamespace(settings=web_app.settings, add_handlers=add_handlers)
        handlers.setup_handlers(guarding, settings)

    package.setup_handlers = setup_handlers
    # Named servers: whether a port is configured or was found to be free, others may be faster to take it.
    for name, handler in list(vars(config).items()):
        named = isinstance(handler, type) and issubclass(handler, handlers.ProxyHandler)
        if named and not issubclass(handler, _Own):
            setattr(config, name, guarded(handler, _Own))


def own_address(port: str) -> str:
    """Return the address of this node, as it stands in a URL, at which a program of this user has a port.

    Raises:
        HTTPError: 403, in words, if nobody listens there, or another user does. Jupyter's 404 shows no words.
    """
    own, seen = {os.getuid()}, list(_listeners(port))
    by_ipv4 = {uid for address, uid in seen if address in _IPV4}
    by_ipv6 = {uid for address, uid in seen if address in _IPV6}
    if by_ipv4 == own:
        return "127.0.0.1"
    if by_ipv6 == own and _has_ipv6():
        return "[::1]"
    if by_ipv6 == own and not by_ipv4:
        return "127.0.0.1"
    if by_ipv4 | by_ipv6:
        raise HTTPError(
            403,
            f"On port {port} of this node another user's program listens. Have yours listen on another port.",
        )
    raise HTTPError(403, f"No program of yours listens on port {port} of this node (yet).")


def _check_owner(path: str) -> None:
    """Raise `HTTPError` 403 if a unix socket is another user's, as it may be in a directory for all."""
    try:
        owner = os.stat(path).st_uid
    except FileNotFoundError:
        return  # of which whoever connects tells
    if owner != os.getuid():
        raise HTTPError(403, f"The socket {path} is another user's. Have your program listen at another.")


def _listeners(port: str) -> Iterator[tuple[IPv4Address | IPv6Address, int]]:
    """Yield each address of this node at which somebody listens on a TCP port, with the user's id.

    The tables are those of proc(5): addresses in the machine's byte order, word by word, and first of all
    rows those that listen.
    """
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as rows:
                next(rows)
                for row in takewhile(lambda row: row[3] == _LISTENS, map(str.split, rows)):
                    address, _, number = row[1].partition(":")
                    if str(int(number, 16)) == port:
                        yield _address(address), int(row[7])
        except FileNotFoundError:
            continue  # without IPv6


def _address(words: str) -> IPv4Address | IPv6Address:
    """Return an address as the kernel's tables write it."""
    packed = b"".join(
        int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8)
    )
    found = ip_address(packed)
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def _has_ipv6() -> bool:
    """Tell whether `::1` is there: a program that listens on `::` may be reached by 127.0.0.1 alone."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
