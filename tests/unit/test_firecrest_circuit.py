"""Calls are kept away from a FirecREST that is down, until it is not."""

import asyncio
from itertools import pairwise

import pytest

from launcher.firecrest.circuit import OPENS_AFTER, Circuit

pytestmark = pytest.mark.usefixtures("virtual_time")


def broken():
    circuit = Circuit()
    for _ in range(OPENS_AFTER):
        circuit.answered(None)
    return circuit


async def tries(circuit, seconds):
    """Return when calls were let through, asked every second, each without an answer."""
    let_through = []
    for second in range(seconds):
        if circuit.lets_through():
            let_through.append(second)
            circuit.answered(None)
        await asyncio.sleep(1)
    return let_through


async def test_a_few_failures_mean_nothing():
    circuit = Circuit()
    for _ in range(OPENS_AFTER - 1):
        circuit.answered(None)
    assert not circuit.open
    assert circuit.lets_through()


async def test_failures_count_only_in_a_row():
    circuit = Circuit()
    for _ in range(10):
        for _ in range(OPENS_AFTER - 1):
            circuit.answered(None)
        circuit.answered(200)
    assert not circuit.open


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 408, 429, 500])
async def test_whoever_answers_is_not_down(status):
    circuit = broken()
    circuit.answered(status)
    assert not circuit.open
    assert circuit.lets_through()


@pytest.mark.parametrize("status", [None, 502, 503, 504])
async def test_no_answer_or_that_of_a_proxy_opens_it(status):
    circuit = Circuit()
    for _ in range(OPENS_AFTER):
        circuit.answered(status)
    assert circuit.open
    assert not circuit.lets_through()


async def test_one_call_at_a_time_tries_again():
    circuit = broken()
    await asyncio.sleep(13)
    assert [circuit.lets_through() for _ in range(20)].count(True) == 1


async def test_pauses_grow_and_have_a_ceiling():
    let_through = await tries(broken(), 3600)
    pauses = [after - before for before, after in pairwise(let_through)]
    assert 8 <= let_through[0] <= 13
    assert pauses[0] > let_through[0]
    assert max(pauses) <= 60 * 1.2 + 1
    assert 45 <= len(let_through) <= 75


async def test_two_hubs_do_not_try_in_step():
    assert await tries(broken(), 3600) != await tries(broken(), 3600)


async def test_after_it_was_closed_pauses_begin_anew():
    circuit = broken()
    await tries(circuit, 600)
    circuit.answered(200)
    for _ in range(OPENS_AFTER):
        circuit.answered(None)
    assert 8 <= (await tries(circuit, 20))[0] <= 13
