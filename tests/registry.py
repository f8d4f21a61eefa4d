"""A registry of containers at 127.0.0.1: as much of the specification as engines need to push."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import secrets
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "publisher", "registry-token-of-the-tests"


class Registry:
    """What a registry holds, and how it answers.

    Attributes:
        host: Its name, with the port.
        manifests: Repository and tag, or digest → manifest.
        blobs: Digest → content.
        closed: Whether only `USER` may do anything, after a detour for a token.
        refuses: A status that it answers everything with.
        asked: The repositories and rights that tokens were asked for.
    """

    def __init__(self) -> None:
        self.host = ""
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.closed = True
        self.refuses = 0
        self.asked: list[str] = []
        self.tokens: set[str] = set()

    def hold(self, repository: str, tag: str, manifest: bytes) -> str:
        """Have something under a tag; return its digest."""
        digest = _digest(manifest)
        self.manifests[repository, tag] = self.manifests[repository, digest] = manifest
        return digest


@contextlib.contextmanager
def registry() -> Iterator[Registry]:
    """Run a registry as long as this lasts."""
    held = Registry()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Answer", (_Answer,), {"held": held})
    ) as server:
        held.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class _Answer(http.server.BaseHTTPRequestHandler):
    """https://github.com/opencontainers/distribution-spec/blob/main/spec.md, with Docker's tokens."""

    protocol_version = "HTTP/1.1"
    held: Registry

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.held.refuses:
            self._answer(self.held.refuses)
        elif url.path == "/token":
            self._token(parse_qs(url.query).get("scope", []))
        elif self._let_in():
            self._look(url.path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self._let_in():
            self._answer(HTTPStatus.ACCEPTED, {"Location": f"{self.path}{secrets.token_hex(8)}"})

    def do_PATCH(self) -> None:
        if not self._let_in():
            return
        self.held.blobs[self.path] = self.held.blobs.get(self.path, b"") + self._body()
        self._answer(HTTPStatus.ACCEPTED, {"Location": self.path})

    def do_PUT(self) -> None:
        if not self._let_in():
            return
        url = urlsplit(self.path)
        body = self._body()
        if found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", url.path):
            digest = self.held.hold(found[1], found[2], body)
        else:
            digest = parse_qs(url.query)["digest"][0]
            content = self.held.blobs.pop(url.path, b"") + body
            assert _digest(content) == digest
            self.held.blobs[digest] = content
        self._answer(HTTPStatus.CREATED, {"Docker-Content-Digest": digest, "Location": url.path})

    def _look(self, path: str) -> None:
        if path == "/v2/":
            self._answer(HTTPStatus.OK)
        elif found := re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", path):
            repository, kind, name = found.groups()
            held = (
                self.held.manifests.get((repository, name))
                if kind == "manifests"
                else self.held.blobs.get(name)
            )
            if held is None:
                self._answer(HTTPStatus.NOT_FOUND)
                return
            headers = {"Docker-Content-Digest": _digest(held)}
            if kind == "manifests":
                headers["Content-Type"] = json.loads(held).get("mediaType", "")
            self._answer(HTTPStatus.OK, headers, held)
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def _let_in(self) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.held.closed or token in self.held.tokens:
            return True
        self._body()
        realm = f'Bearer realm="http://{self.held.host}/token",service="registry"'
        self._answer(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": realm})
        return False

    def _token(self, scopes: list[str]) -> None:
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        self.held.asked += scopes
        token = secrets.token_hex(8)
        self.held.tokens.add(token)
        self._answer(HTTPStatus.OK, {}, json.dumps({"token": token}).encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
