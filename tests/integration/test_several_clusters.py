"""A hub of two clusters, each behind a FirecREST of its own: the user chooses, and nothing goes elsewhere."""

from __future__ import annotations

import pytest
from support import eventually

from launcher.check.page import parse_page
from launcher.sandbox.scheduler import JobState

CLUSTER = {
    "title": "First",
    "partitions": [{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 30}],
    "times": {"choices": [15, 60, 240], "default": 60},
    "links": [],
}
SECOND = {
    "title": "Second",
    "times": {"choices": [15, 30, 120], "default": 30},
    "memory": ["1G", "2G"],
    "links": ["time"],
    "announcements": [{"text": "Second is new."}],
}
SITE = {"more_clusters": {"second": SECOND}}

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def get(person, path="spawn"):
    """Open a page of the hub; return what came, through all redirects."""
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    return await person.browser._client.get(f"{person.hub}{path}", headers=headers)


async def send(person, **values):
    """Fill the form, without any script, and send all of it."""
    page = form_of(await get(person))
    return await person.browser._client.post(
        page.action,
        files=[(name, (None, value)) for name, value in page.filled(values) if name],
        headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    )


def form_of(answer):
    page = parse_page(answer.text, str(answer.url))
    return next(form for form in page.forms if any(control.name == "cluster" for control in form.controls))


def values(answer):
    return dict(form_of(answer).filled({}))


def said(answer):
    return parse_page(answer.text, str(answer.url)).alerts


async def where(site, person):
    """Return on which clusters somebody has a job."""
    return [
        name
        for name, system in site.systems.items()
        for job in await system.scheduler.jobs()
        if job.account_name == person.name and not JobState(job.state.split()[0]).ended
    ]


async def request(person, options):
    return await person.api("POST", f"users/{person.name}/server", {"user_options": options})


# ---- the form


async def test_it_offers_both_with_fields_and_announcements_of_their_own(person):
    answer = await get(await person())
    clusters = [control for control in form_of(answer).controls if control.name == "cluster"]
    assert [(each.value, each.checked) for each in clusters] == [("sandbox", True), ("second", False)]
    sent = values(answer)
    assert sent["cluster"] == "sandbox"
    assert (sent["sandbox.time"], sent["second.time"]) == ("60", "30")
    assert "sandbox.memory" not in sent
    assert answer.text.index("Second is new.") > answer.text.index('value="second"')


async def test_without_scripts_the_chosen_cluster_gets_the_job_and_is_chosen_the_next_time(site, person):
    alice = await person()
    await send(alice, cluster="second", **{"second.time": "120", "second.memory": "1G", "sandbox.time": "15"})
    await eventually(alice.is_ready)
    assert await where(site, alice) == ["second"]
    await alice.stop()
    sent = values(await get(alice))
    assert sent["cluster"] == "second"
    assert (sent["second.time"], sent["sandbox.time"]) == ("120", "60")


async def test_refused_input_comes_back_at_its_cluster(site, person):
    alice = await person()
    answer = await send(alice, cluster="second", **{"second.partition": "debug", "second.time": "120"})
    assert answer.status_code == 400
    sent = values(answer)
    assert (sent["cluster"], sent["second.partition"], sent["second.time"]) == ("second", "debug", "120")
    assert sent["sandbox.partition"] == "normal"
    assert any("must be at most 30 minutes" in text for text in said(answer))
    assert await where(site, alice) == []


# ---- the REST API


@pytest.mark.parametrize("cluster", ["second", "sandbox"])
async def test_a_program_names_the_cluster(site, person, cluster):
    alice = await person()
    assert (await alice.start(cluster=cluster, time=15))[-1].get("ready")
    assert await where(site, alice) == [cluster]
    await alice.stop()
    assert values(await get(alice))["cluster"] == cluster


async def test_without_a_name_the_first_is_meant(site, person):
    alice = await person()
    assert (await request(alice, {"time": 15})).status_code in (201, 202)
    await eventually(alice.has_job)
    assert await where(site, alice) == ["sandbox"]
    await alice.stop()


@pytest.mark.parametrize("cluster", ["third", "../second", ["second"], {"second": 1}, "<b>", 7])
async def test_an_unknown_cluster_is_refused_with_what_there_is(site, person, cluster):
    alice = await person()
    answer = await request(alice, {"cluster": cluster})
    assert answer.status_code == 400
    assert "cluster: must be one of sandbox, second" in answer.json()["message"]
    assert values(await get(alice))["cluster"] == "sandbox"
    assert await where(site, alice) == []


async def test_an_option_of_the_other_cluster_is_refused(person):
    answer = await request(await person(), {"cluster": "sandbox", "memory": "1G"})
    assert answer.status_code == 400
    assert "memory: is not an option of this cluster" in answer.json()["message"]


# ---- links


async def test_a_link_to_a_cluster_chooses_what_that_cluster_lists(site, person):
    alice = await person()
    refused = await get(alice, "spawn?opt-cluster=sandbox&opt-time=15")
    assert any("can't be chosen by a link" in text for text in said(refused))
    assert await where(site, alice) == []
    await get(alice, "spawn?opt-cluster=second&opt-time=15")
    await eventually(alice.has_job)
    assert await where(site, alice) == ["second"]
    await alice.stop()


async def test_a_link_that_names_only_a_cluster_shows_the_form_with_it(site, person):
    bob = await person()
    answer = await get(bob, "spawn?opt-cluster=second")
    assert answer.status_code == 200
    assert values(answer)["cluster"] == "second"
    assert await where(site, bob) == []


# ---- a file that is broken when the hub starts


@pytest.mark.extra
async def test_a_cluster_whose_file_is_broken_is_left_out_and_comes_back_by_itself(site, person):
    alice = await person()
    path = site.systems["second"].cluster_file
    before = path.read_text()
    try:
        await site.hub.kill_hub()
        path.write_text(f"{before}\ncolour: blue\n")
        await site.hub.start_hub()
        answer = await get(alice)
        assert "second can&#39;t be offered just now." in answer.text
        assert values(answer)["cluster"] == "sandbox"
        assert "colour" not in answer.text
        refused = await request(alice, {"cluster": "second"})
        assert refused.status_code == 400
        assert "must be one of sandbox: second can't be offered just now" in refused.json()["message"]
        assert (await alice.start(cluster="sandbox", time=15))[-1].get("ready")
        await alice.stop()
    finally:
        path.write_text(before)

    async def is_offered():
        return "second.time" in values(await get(alice))

    await eventually(is_offered)
