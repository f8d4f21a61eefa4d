"""An event loop that stands still does not take others' silence for an answer."""

import asyncio
import time

import pytest

from launcher.patience import within


async def test_what_is_done_in_time_is_returned():
    assert await within(5, asyncio.sleep(0.01, "done")) == "done"


async def test_what_goes_wrong_is_raised():
    async def wrong():
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        await within(5, wrong())


async def test_time_for_which_the_loop_stood_still_does_not_count():
    async def answer():
        time.sleep(1.2)
        await asyncio.sleep(0.3)
        return "done"

    assert await within(1, answer()) == "done"


@pytest.mark.usefixtures("virtual_time")
class TestNotInTime:
    async def test_it_is_given_up_and_cancelled(self, virtual_time):
        task = asyncio.ensure_future(asyncio.sleep(60))
        with pytest.raises(TimeoutError):
            await within(5, task)
        await asyncio.sleep(0)
        assert task.cancelled()
        assert 5 <= virtual_time.elapsed < 6

    async def test_it_is_cancelled_too_where_nobody_waits_any_more(self):
        task = asyncio.ensure_future(asyncio.sleep(60))
        waiting = asyncio.create_task(within(5, task))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait({waiting})
        await asyncio.sleep(0)
        assert task.cancelled()
