"""What the hub asks a server directly, and what it makes of answers that user code could give."""

import asyncio
import contextlib
import os
import signal
from types import SimpleNamespace

import httpx
import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from launcher import server
from launcher.protocol import SIGNATURE_HEADER, Stop, encode, new_nonce, probe_proof, stop_proof
from launcher.singleuser.hub import Hub
from launcher.singleuser.reporter import Reporter
from launcher.singleuser.server import hub_handlers

KEY = "d" * 64
OTHER = "e" * 64
PREFIX = "/user/alice+bob.x/"


@pytest.fixture
def kills(monkeypatch):
    """Signals that a server sends to its own process."""
    sent = []
    monkeypatch.setattr("launcher.singleuser.server.os.kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest_asyncio.fixture
async def node():
    """A server's answers to its hub, where every other address asks for a log-in."""
    # Never started: it only notes why the server ends.
    reporter = Reporter(Hub("http://127.0.0.1:1"), "c" * 32, KEY)
    application = Application(hub_handlers(PREFIX, KEY, reporter), xsrf_cookies=True, cookie_secret="c00kie")
    http, (sock, port) = HTTPServer(application), bind_unused_port()
    http.add_socket(sock)
    yield SimpleNamespace(reporter=reporter, url=f"http://127.0.0.1:{port}{PREFIX}")
    http.stop()
    await http.close_all_connections()


class TestProbe:
    async def test_a_server_proves_that_it_is_its_launchs(self, node):
        assert await server.proves(node.url, KEY, None)

    async def test_it_proves_nothing_of_another_launch(self, node):
        assert not await server.proves(node.url, OTHER, None)

    async def test_no_cookie_comes_with_the_answer(self, node):
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{node.url}launcher/probe", params={"nonce": "b" * 64})
        assert (answer.status_code, answer.text) == (200, probe_proof(KEY, "b" * 64))
        assert "set-cookie" not in answer.headers

    async def test_nobody_learns_from_a_probe_what_ends_a_server(self, node, kills):
        nonce = new_nonce()
        async with httpx.AsyncClient(trust_env=False) as client:
            said = await client.get(f"{node.url}launcher/probe", params={"nonce": f"stop {nonce}"[:64]})
            answer = await client.post(
                f"{node.url}launcher/stop", content=encode(Stop(nonce)), headers={SIGNATURE_HEADER: said.text}
            )
        assert (answer.status_code, kills) == (403, [])


class TestStop:
    async def test_its_hub_ends_a_server_as_sigterm_does_and_knows_that_it_was_this_one(self, node, kills):
        assert await server.stop(node.url, KEY, None)
        assert kills == [(os.getpid(), signal.SIGTERM)]
        assert node.reporter.reason == "stopped"

    async def test_why_a_server_ends_already_is_not_forgotten(self, node, kills):
        node.reporter.reason = "walltime"
        assert await server.stop(node.url, KEY, None)
        assert node.reporter.reason == "walltime"

    async def test_the_hub_of_another_launch_ends_nothing(self, node, kills):
        assert not await server.stop(node.url, OTHER, None)
        assert (kills, node.reporter.reason) == ([], "exit")

    @pytest.mark.parametrize(
        ("body", "signature", "status"),
        [
            (encode(Stop("b" * 64)), "", 403),
            (encode(Stop("b" * 64)), None, 403),
            (encode(Stop("b" * 64)), "\xe9" * 64, 403),
            (encode(Stop("b" * 64)), stop_proof(KEY, "c" * 64), 403),
            (encode(Stop("b" * 64)), probe_proof(KEY, "b" * 64), 403),
            (b"", stop_proof(KEY, ""), 403),
            (b"{}", stop_proof(KEY, "b" * 64), 403),
            (b"x" * 2000, stop_proof(KEY, "b" * 64), 413),
        ],
    )
    async def test_anything_else_ends_nothing(self, node, kills, body, signature, status):
        headers = {} if signature is None else {SIGNATURE_HEADER: signature.encode("latin1")}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{node.url}launcher/stop", content=body, headers=headers)
        assert answer.status_code == status
        assert "set-cookie" not in answer.headers
        assert kills == []

    async def test_a_body_of_unknown_length_is_cut(self, node, kills):
        async def endless():
            for _ in range(100):
                yield b"x" * 1000

        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{node.url}launcher/stop", content=endless())
        assert (answer.status_code, kills) == (403, [])


@contextlib.asynccontextmanager
async def answering(answer):
    """Something that listens where a server was; yields its URL."""
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/user/alice/"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


HEAD = "HTTP/1.1 {} x\r\nContent-Length: {}\r\n\r\n"


class TestWhoeverListensThereNow:
    @pytest.mark.parametrize(
        "words",
        [
            b"",
            b"SSH-2.0-OpenSSH\r\n",
            HEAD.format(200, 2).encode() + b"ok",
            HEAD.format(202, 64).encode() + b"0" * 64,
            HEAD.format(200, 64).encode() + "é".encode() * 32,
            HEAD.format(200, 64).encode() + b"0" * 10,
            HEAD.format(302, 0).replace("x\r\n", "x\r\nLocation: http://127.0.0.1:1/\r\n").encode(),
            b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzp",
        ],
    )
    async def test_no_answer_but_the_proof_counts(self, words):
        async def say(writer):
            writer.write(words)
            await writer.drain()

        async with answering(say) as url:
            assert not await server.proves(url, KEY, None)
            assert not await server.stop(url, KEY, None)

    @pytest.mark.parametrize(
        ("begin", "more"),
        [
            (b"HTTP/1.1 200 x\r\n\r\n", b"0" * 65536),
            (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"0" * 65536 + b"\r\n"),
            (b"HTTP/1.1 200 x\r\n", b"X-More: and more\r\n" * 4096),
            (b"HTTP/1.1 200 x\r\nX-More: ", b"0" * 65536),
            (b"", b"\r\n" * 32768),
        ],
        ids=["body", "chunks", "headers", "one header", "empty lines"],
    )
    async def test_an_answer_without_an_end_is_not_read_to_its_end(self, begin, more):
        sent = 0

        async def stream(writer):
            nonlocal sent
            writer.write(begin)
            while True:
                writer.write(more)
                sent += len(more)
                await writer.drain()

        async with answering(stream) as url, asyncio.timeout(3):
            assert not await server.proves(url, KEY, None)
        assert sent < 50_000_000

    async def test_a_connection_to_one_that_says_nothing_is_closed_before_long(self, monkeypatch, caplog):
        monkeypatch.setattr(server, "_TIMEOUT", 0.3)
        monkeypatch.setattr(server, "_CLOSED_AFTER", 1.0)
        closed = asyncio.Event()

        async def listen(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            await reader.read()
            closed.set()
            writer.close()

        async with await asyncio.start_server(listen, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            assert not await server.proves(f"http://127.0.0.1:{port}/", KEY, None)
            assert not closed.is_set()
            async with asyncio.timeout(3):
                await closed.wait()
        assert caplog.text == ""

    async def test_one_that_says_nothing_or_little_is_waited_for_only_for_a_while(self, monkeypatch):
        monkeypatch.setattr(server, "_TIMEOUT", 0.3)

        async def drip(writer):
            writer.write(b"HTTP/1.1 200 x\r\n\r\n")
            while True:
                writer.write(b"0")
                await writer.drain()
                await asyncio.sleep(0.1)

        async def be_silent(_):
            await asyncio.sleep(5)

        for answer in (drip, be_silent):
            async with answering(answer) as url, asyncio.timeout(4):
                assert not await server.proves(url, KEY, None)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1/", "http://no.such.host.invalid/"])
    async def test_where_nobody_listens_or_can_nothing_is_raised(self, url):
        assert not await server.proves(url, KEY, None)
        assert not await server.stop(url, KEY, None)

    async def test_two_hundred_servers_may_be_asked_at_once(self, node):
        assert all(await asyncio.gather(*(server.proves(node.url, KEY, None) for _ in range(200))))
