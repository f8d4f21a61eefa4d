"""The clock that other tests go by."""

import asyncio
import time

import pytest
from virtual_time import Hang, run


async def test_sleeping_takes_no_time_and_all_clocks_agree(virtual_time):
    real, began, epoch = time.perf_counter(), time.monotonic(), time.time()
    await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(60))
    assert time.perf_counter() - real < 60
    assert time.monotonic() - began == pytest.approx(3600)
    assert time.time() - epoch == pytest.approx(3600)
    assert virtual_time.elapsed == pytest.approx(3600)


async def test_what_happens_at_different_times_happens_in_order(virtual_time):
    order = []

    async def later(seconds):
        await asyncio.sleep(seconds)
        order.append((seconds, round(virtual_time.elapsed)))

    await asyncio.gather(*(later(each) for each in (30, 10, 20)))
    assert order == [(10, 10), (20, 20), (30, 30)]


async def test_a_time_out_ends_a_wait(virtual_time):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100):
            await asyncio.Event().wait()
    assert virtual_time.elapsed == pytest.approx(100)


def test_a_wait_that_nothing_ends_fails_instead_of_blocking():
    with pytest.raises(Hang):
        run(asyncio.Event().wait())


def test_afterwards_time_is_what_it_was():
    monotonic = time.monotonic
    run(asyncio.sleep(1e6))
    assert time.monotonic is monotonic
