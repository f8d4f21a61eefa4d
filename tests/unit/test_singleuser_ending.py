"""A signal ends a server that has nothing to do."""

import asyncio
import os
import signal
import threading
from types import SimpleNamespace

import pytest_asyncio
from tornado.ioloop import IOLoop

from launcher.singleuser.ending import EndingServer


@pytest_asyncio.fixture
async def server():
    """What of a server a signal meets."""
    ended, reasons = asyncio.Event(), []

    async def end():
        ended.set()

    server = SimpleNamespace(
        _stopping=False,
        _end=end,
        io_loop=IOLoop.current(),
        session=SimpleNamespace(reporter=SimpleNamespace(note=reasons.append)),
        reasons=reasons,
        ended=ended,
    )
    server.stop = lambda: EndingServer.stop(server)
    server._awake = lambda callback: EndingServer._awake(server, callback)
    before = signal.signal(signal.SIGTERM, lambda *given: EndingServer._signalled(server, *given))
    yield server
    signal.signal(signal.SIGTERM, before)


async def test_a_signal_wakes_a_loop_that_would_sleep_on(server):
    # Nothing else is to be done before this is over: the loop sleeps when the signal comes.
    late = asyncio.get_running_loop().call_later(30, server.reasons.append, "late")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    await server.ended.wait()
    late.cancel()
    assert server.reasons == ["terminated"]


async def test_more_signals_change_nothing(server):
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
    await server.ended.wait()
    assert server._stopping
    server.ended.clear()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    assert not server.ended.is_set()
