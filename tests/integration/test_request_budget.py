"""What launches and servers cost at FirecREST: counts, which are the same on a slow machine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import time
from collections import Counter

import pytest
import pytest_asyncio
from support import Person, Robot, eventually

from launcher.check.browser import Browser
from launcher.sandbox.site import Site
from launcher.sandbox.state import state_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNTS = ("GET", "/status/{system}/userinfo")
SUBMIT = ("POST", "/compute/{system}/jobs")
LIST = ("GET", "/compute/{system}/jobs")

LAUNCH = {ACCOUNTS: 1, SUBMIT: 1}
"""The requests of a launch besides its looks at the job."""
LOOKS_AFTER = (3, 20)
"""Seconds after which a launch that is not ready looks at its job; then every 75 s."""
LOOK = 1
"""The requests by which all launches of a hub hear of Slurm; by users' own tokens, all of a user's."""
TOKENS = 1
"""The tokens that a launch may ask for."""

MANY = 10
POLLS = 3
SERVICE = "service-account-launcher"


@pytest.fixture(scope="module", params=[True, False], ids=["a service account", "users' own tokens"])
def service_account(request):
    return request.param


@pytest.fixture(scope="module")
def watched_by(service_account):
    """Return a function: a person → the name in the token by which the hub looks at their job."""
    return lambda person: SERVICE if service_account else person.name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(service_account):
    """A site whose jobs are watched by one account, or by everybody's own token."""
    with state_directory(None) as state:
        site = Site(
            state,
            scheduler="process",
            people=[f"person{number}" for number in range(MANY)],
            stand_in=True,
            service_account=service_account,
            robot=True,
            spawner={"poll_interval": 1, "poll_jitter": 0},
            # Who presses Start is told at once that the launch goes on.
            jupyterhub={"tornado_settings": {"slow_spawn_timeout": 0}},
        )
        await site.start()
        try:
            if service_account:
                await eventually(functools.partial(has_looked, site))
            yield site
        finally:
            await site.stop()


async def has_looked(site):
    """Tell whether the hub has looked for jobs that no launch wants, as it does once when it begins."""
    return site.gateway.requests[LIST]


@pytest_asyncio.fixture(loop_scope="module")
async def people(site):
    """Everybody, logged in; their servers are stopped at the end."""
    site.scheduler.slots, site.scheduler.reason = MANY, ""
    async with contextlib.AsyncExitStack() as stack:
        everybody = []
        for account in site.accounts:
            browser = await stack.enter_async_context(Browser())
            everybody.append(await Person.log_in(site, account.name, browser))
        yield everybody
        await asyncio.gather(*(each.stop() for each in everybody))


async def test_a_launch_submits_and_looks_at_its_job_until_its_server_is_ready(site, people):
    before, tokens = Counter(site.gateway.requests), Counter(site.identity.token_requests)
    began = time.monotonic()
    await people[0].visit.submit_options([])
    await people[0].visit.wait_for_start([])
    seconds = time.monotonic() - began
    asked = site.gateway.requests - before
    assert asked.pop(LIST, 0) <= sum(seconds > each for each in LOOKS_AFTER) + seconds // 75
    assert asked == LAUNCH
    assert (site.identity.token_requests - tokens).total() <= TOKENS


async def test_launches_that_wait_hear_of_slurm_by_one_request(site, people, watched_by):
    site.scheduler.slots = 0
    await asyncio.gather(*map(press_start, people))
    names = {watched_by(each) for each in people}

    def looks():
        return {name: site.gateway.traffic.by_user[name, *LIST] for name in names}

    async def have_looked():
        return all(count > begun[name] for name, count in looks().items())

    async def hears(person):
        await person.progress(until="license")
        name = watched_by(person)
        return looks()[name] - before[name]

    begun = looks()
    await eventually(have_looked)
    # The next look is some seconds away, and the one after that still farther.
    before, asked = looks(), Counter(site.gateway.requests)
    site.scheduler.reason = "Licenses"
    assert set(await asyncio.gather(*map(hears, people))) == {LOOK}
    assert set(site.gateway.requests - asked) == {LIST}


async def test_healthy_servers_cost_nothing(site, people):
    await asyncio.gather(*map(press_start, people))
    for each in people:
        await eventually(each.is_ready)
    async with Robot(site) as robot:
        first = await verdicts(robot, site)

        async def asked_again():
            return await verdicts(robot, site) >= first + rounds * len(people)

        rounds = 1
        await eventually(asked_again)
        before = Counter(site.gateway.requests)
        rounds += POLLS
        await eventually(asked_again)
        assert site.gateway.requests == before


async def press_start(person):
    answer = await person.api("POST", f"users/{person.name}/server", {"user_options": {}})
    assert answer.status_code in (201, 202)


async def verdicts(robot, site):
    """Return how often the hub has asked itself so far whether a server lives."""
    answer = await robot("GET", f"{site.url}hub/metrics")
    told = re.findall(r"^launcher_verdicts_total\{.*\} ([0-9.]+)$", answer.text, re.MULTILINE)
    return sum(map(float, told))
