"""Connections to FirecREST that break: what is certain not to have been carried out, and what is not."""

import asyncio
import contextlib

import pytest

from launcher.clusters import Cluster
from launcher.errors import FirecrestError
from launcher.firecrest import Firecrest
from launcher.firecrest import client as module

TAKEN = b'HTTP/1.1 201 x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"jobId": 42}'


class Alice:
    """An identity that has a token."""

    key = name = "alice"
    everybody = False

    async def token(self, _refused=""):
        return "token"


class Server:
    """Something that listens where FirecREST should, and says the same to each request."""

    def __init__(self, words):
        self.words = words
        self.asked = []
        self.connections = []

    async def serve(self, reader, writer):
        self.connections.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = (line.partition(": ")[2] for line in head.split("\r\n") if "ength: " in line)
                await reader.readexactly(int(next(lengths, "0")))
                self.asked.append(head)
                if self.words is None:
                    await asyncio.Event().wait()
                writer.write(self.words)
                await writer.drain()
                if self.words is not TAKEN:
                    break
        writer.close()


@contextlib.asynccontextmanager
async def listening(words):
    server = Server(words)
    socket = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{socket.sockets[0].getsockname()[1]}"
    yield server
    socket.close()
    for connection in server.connections:
        connection.cancel()
    await asyncio.gather(*server.connections)


@contextlib.asynccontextmanager
async def firecrest(url):
    where = {"url": url, "system": "tiny"}
    model = {"name": "tiny", "title": "Tiny", "firecrest": where, "home": "/home/{user}"}
    model |= {"launcher": "/opt/launcher", "partitions": [{"name": "normal", "time_limit": 480}]}
    client = Firecrest(Cluster.model_validate(model | {"node_addresses": ["10.0.0.0/8"]}))
    yield client
    await client._client.close_session()


async def refused(client):
    with pytest.raises(FirecrestError) as caught:
        await client.submit(Alice(), "#!/bin/bash", "/home/alice")
    assert caught.value.status is None
    return caught.value


async def test_one_connection_serves_calls_that_come_one_after_the_other():
    async with listening(TAKEN) as server, firecrest(server.url) as client:
        for _ in range(3):
            assert await client.submit(Alice(), "#!/bin/bash", "/home/alice") == "42"
    assert (len(server.asked), len(server.connections)) == (3, 1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no.such.host.invalid"])
async def test_where_nobody_listens_nothing_was_carried_out(url):
    async with firecrest(url) as client:
        assert not (await refused(client)).may_have_happened


@pytest.mark.parametrize(
    "words",
    [b"", b"SSH-2.0-OpenSSH\r\n\r\n", TAKEN[:-5], b"HTTP/1.1 201 x\r\n" + b"X" * 100_000, None],
    ids=["nothing", "no HTTP", "half of it", "a head without end", "silence"],
)
async def test_who_gives_no_whole_answer_may_have_carried_it_out(words, monkeypatch):
    monkeypatch.setattr(module, "CALL_TIMEOUT", 0.5)
    async with listening(words) as server, firecrest(server.url) as client:
        assert (await refused(client)).may_have_happened
    assert len(server.asked) == 1, "a submit is sent once"


async def test_the_proxy_that_the_environment_names_is_used(monkeypatch):
    async with listening(TAKEN) as server:
        monkeypatch.setenv("http_proxy", server.url)
        async with firecrest("http://firecrest.example.org/v2") as client:
            assert await client.submit(Alice(), "#!/bin/bash", "/home/alice") == "42"
    assert server.asked[0].startswith("POST http://firecrest.example.org/v2/compute/tiny/jobs HTTP/1.1\r\n")
