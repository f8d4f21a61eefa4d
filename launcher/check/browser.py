"""A browser without a window: cookies, redirects, forms, JSON, event streams and websockets.

It sends the fetch metadata that a browser sends, so that JupyterHub and Jupyter Server apply their
cross-site checks to it as to a person.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpx
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketError, websocket_connect

from launcher.check.address import is_within
from launcher.check.forms import Form
from launcher.check.page import Page, parse_page
from launcher.errors import CheckFailed

_ANSWER_TIMEOUT = 30.0
_NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html,*/*;q=0.8"}
_FETCH = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
_SOCKET = {"Sec-Fetch-Mode": "websocket", "Sec-Fetch-Site": "same-origin"}


class NoAnswer(CheckFailed):
    """There was no answer, or only that of a failing server: another try may help."""


class Browser(AbstractAsyncContextManager["Browser"]):
    """One person's session with a site.

    Args:
        tls: Which certificates to trust; None stands for those of the system.
        token: An API token, which then stands for a log-in.
        site: The address of the only site, with its subdomains, that gets the token.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, token: str = "", site: str = "") -> None:
        self._tls = tls or ssl.create_default_context()
        self._token = token
        self._site = site
        # Proxy settings in the environment are not honoured: websockets could not follow them.
        self._client = httpx.AsyncClient(
            verify=self._tls,
            trust_env=False,
            follow_redirects=True,
            timeout=_ANSWER_TIMEOUT,
            headers={"User-Agent": "Mozilla/5.0 (launcher check)"},
            event_hooks={"request": [_without_body_headers, self._authorize]},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._client.aclose()

    async def open(self, url: str) -> Page:
        """Go to an address, through all redirects.

        Raises:
            NoAnswer: There was none.
        """
        with _reachable(url):
            return _page(await self._client.get(url, headers=_NAVIGATE))

    async def submit(self, form: Form, values: Mapping[str, str]) -> Page:
        """Fill a form, send it, and follow where it leads.

        Raises:
            CheckFailed: The form can't be filled like that.
            NoAnswer: There was none.
        """
        fields = form.filled(values)
        headers = dict(_NAVIGATE)
        with _reachable(form.action):
            if form.method != "post":
                address = urlsplit(form.action)._replace(query=urlencode(fields)).geturl()
                answer = await self._client.get(address, headers=headers)
            elif form.multipart:
                parts = [(name, (None, value)) for name, value in fields]
                answer = await self._client.post(form.action, files=parts, headers=headers)
            else:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
                answer = await self._client.post(form.action, content=urlencode(fields), headers=headers)
        return _page(answer)

    async def call(self, method: str, url: str, body: object = None) -> httpx.Response:
        """Call an API as the scripts of a page do: cookies, and the XSRF token of that path.

        Raises:
            NoAnswer: There was none.
        """
        with _reachable(url):
            return await self._client.request(
                method,
                url,
                content=None if body is None else json.dumps(body),
                headers=_FETCH | {"X-XSRFToken": self._xsrf(url), "Origin": _origin(url)},
            )

    async def fetch(self, method: str, url: str, body: object = None) -> Any:
        """Call an API and read its answer.

        Returns:
            The JSON of the answer, or None if it is empty.

        Raises:
            CheckFailed: The answer was not a good one.
            NoAnswer: There was none.
        """
        answer = await self.call(method, url, body)
        if not answer.is_success:
            failure = NoAnswer if answer.is_server_error else CheckFailed
            raise failure(f"{method} {urlsplit(url).path} answered {describe(answer)}.")
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise CheckFailed(f"{method} {urlsplit(url).path} did not answer with JSON.") from None

    @asynccontextmanager
    async def events(self, url: str) -> AsyncIterator[AsyncIterator[dict[str, Any]] | None]:
        """Follow a stream of server-sent events, each a JSON object.

        Yields:
            The events, or None if the address has no stream to offer now.

        Raises:
            NoAnswer: There was none, or it broke off.
        """
        # A page can give the token in the query only, where it gets into logs.
        headers = _FETCH | {"X-XSRFToken": self._xsrf(url), "Accept": "text/event-stream"}
        with _reachable(url):
            request = self._client.stream("GET", url, headers=headers)
            async with request as answer:
                yield _json_events(answer.aiter_lines()) if answer.is_success else None

    async def connect(self, url: str, *, origin: str = "") -> WebSocketClientConnection:
        """Open the websocket at an http(s) address.

        Args:
            url: The address.
            origin: The site whose page asks for it; by default the address's own.

        Raises:
            CheckFailed: It can't be opened.
        """
        here = _SOCKET | {"Origin": _origin(url)}
        elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": origin}
        headers = (elsewhere if origin else here) | {"Cookie": self._cookies(url)} | self._authorization(url)
        request = HTTPRequest(
            re.sub("^http", "ws", url),
            headers=headers,
            follow_redirects=False,
            ssl_options=self._tls,
            connect_timeout=_ANSWER_TIMEOUT,
            request_timeout=_ANSWER_TIMEOUT,
        )
        try:
            return await websocket_connect(request)
        except (HTTPClientError, WebSocketError, OSError) as error:
            raise CheckFailed(
                f"The websocket {urlsplit(url).path} can't be opened.", why=str(error)
            ) from error

    def _authorization(self, url: str) -> dict[str, str]:
        given = self._token and is_within(url, self._site)
        return {"Authorization": f"token {self._token}"} if given else {}

    async def _authorize(self, request: httpx.Request) -> None:
        # Also called for each redirect: it may lead to another site.
        if self._token:
            request.headers.pop("Authorization", None)
            request.headers.update(self._authorization(str(request.url)))

    def _cookies(self, url: str) -> str:
        request = httpx.Request("GET", url)
        self._client.cookies.set_cookie_header(request)
        cookies: str = request.headers.get("Cookie", "")
        return cookies

    def _xsrf(self, url: str) -> str:
        # Cookies of the longest path come first, and the hub's and the server's differ by path only.
        found = re.search(r"(?:^|; )_xsrf=([^;]*)", self._cookies(url))
        return found[1] if found else ""


def describe(answer: httpx.Response) -> str:
    """The status of an API's answer, with its message if it gives one."""
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = ""
    return f"{answer.status_code}: {message}" if message else str(answer.status_code)


async def _without_body_headers(request: httpx.Request) -> None:
    # httpx keeps the content type of a form on the redirect that follows it, with no content.
    if request.method == "GET":
        request.headers.pop("Content-Type", None)


def _page(answer: httpx.Response) -> Page:
    return parse_page(answer.text, str(answer.url), answer.status_code)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        place = urlsplit(_asked(error) or url)
        # A query is never shown: it can hold a code or a token.
        where = f"{place.scheme}://{place.netloc}{place.path}"
        raise NoAnswer(f"{where} gave no answer.", why=str(error) or type(error).__name__) from error


def _asked(error: Exception) -> str:
    """Where a redirect may have led before the error."""
    try:
        return str(error.request.url) if isinstance(error, httpx.HTTPError) else ""
    except RuntimeError:
        return ""


async def _json_events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            try:
                event = json.loads("\n".join(data))
            except ValueError:
                event = None
            if isinstance(event, dict):
                yield event
            data = []
