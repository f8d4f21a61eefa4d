"""A hub that runs follows its cluster file and batch template, and tells admins what is wrong with them."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import httpx
import pytest
import yaml
from support import eventually

from launcher.clusters.template import template_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "launcher/clusters"


@pytest.fixture
def edit(site):
    """Change keys of the live cluster file, and wait until the hub has said what it makes of that."""
    before = site.cluster_file.read_text()

    async def write(text):
        said = len(site.hub.log.read_text())
        site.cluster_file.write_text(text)
        await eventually(lambda: hub_says(site, f"Cluster file {site.cluster_file}", said))
        return site.hub.log.read_text()[said:]

    async def change(**keys):
        return await write(yaml.safe_dump(yaml.safe_load(before) | keys, sort_keys=False))

    change.back = lambda: write(before)
    yield change
    site.cluster_file.write_text(before)


async def hub_says(site, words, since=0):
    return words in site.hub.log.read_text()[since:]


@contextlib.asynccontextmanager
async def waiting(site, someone):
    """A start whose job waits in the queue until the end of the block; yields the job's script."""
    slots, site.scheduler.slots = site.scheduler.slots, 0
    starting = asyncio.create_task(someone.start())
    try:
        await eventually(someone.has_job)
        (job_id,) = await site.live_jobs(someone.name)
        await someone.progress(until=f"Submitted as job {job_id}")
        yield (await site.scheduler.job(job_id)).script
    finally:
        site.scheduler.slots = slots
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


async def restart(site, admin):
    """Kill and start the hub; in between somebody gets the role of an admin."""
    await site.hub.kill_hub()
    with contextlib.closing(sqlite3.connect(site.state / "hub/jupyterhub.sqlite")) as database, database:
        database.execute("update users set admin = 1 where name = ?", (admin.name,))
        database.execute(
            "insert or ignore into user_role_map (user_id, role_id) "
            "select users.id, roles.id from users, roles where users.name = ? and roles.name = 'admin'",
            (admin.name,),
        )
    await site.hub.start_hub()


async def log_in_both(site, person):
    """Log in an admin and somebody else."""
    admin, other = await person(), await person()
    if (await admin.api("GET", PAGE)).status_code == 403:
        await restart(site, admin)
    return admin, other


async def is_pending(someone):
    return (await someone.server_model() or {}).get("pending")


async def form_of(someone):
    return (await someone.browser.call("GET", f"{someone.hub}spawn/{someone.name}")).text


async def test_the_file_that_is_in_use_is_named_in_the_log_before_anybody_comes(site):
    await eventually(lambda: hub_says(site, f"Cluster file {site.cluster_file} is in use, version "))


async def test_an_edit_shows_in_the_form(site, person, edit):
    alice = await person()
    assert "twelve_nodes" not in await form_of(alice)
    said = await edit(partitions=[{"name": name, "time_limit": 240} for name in ("normal", "twelve_nodes")])
    assert "is in use, version " in said
    assert "twelve_nodes" in await form_of(alice)
    await edit.back()


async def test_a_template_that_is_put_beside_the_file_makes_the_next_script(site, person):
    alice = await person()
    own = site.cluster_file.with_name("slurm.sh.j2")
    said = len(site.hub.log.read_text())
    base = (template_directory() / "slurm.sh.j2").read_text()
    own.write_text(base.replace("{% block setup %}", "{% block setup %}\n# of this site"))
    try:
        await eventually(lambda: hub_says(site, "is in use, version ", said))
        async with waiting(site, alice) as script:
            assert "# of this site" in script
            await alice.stop()
    finally:
        said = len(site.hub.log.read_text())
        own.unlink()
        await eventually(lambda: hub_says(site, "is in use, version ", said))


async def test_a_launch_under_way_keeps_its_version_also_through_a_restart_of_the_hub(site, person, edit):
    alice = await person()
    async with waiting(site, alice):
        await edit(node_addresses=["192.0.2.0/24"], ports=[1024, 1024])
        await restart(site, admin=alice)
        again = asyncio.create_task(alice.start())
        await eventually(lambda: is_pending(alice))
        await alice.progress(until="submitted before")
    assert (await again)[-1].get("ready")
    await edit.back()


async def test_a_broken_edit_is_told_to_admins_only_and_what_was_before_stays(site, person, edit):
    alice, bob = await log_in_both(site, person)
    said = await edit(home="<b>here</b>", claim_timeout="soon")
    for key in ("home", "claim_timeout"):
        line = next(line for line in said.splitlines() if f": {key}: " in line)
        path, row, column, _ = line.strip().split(":", 3)
        assert path == str(site.cluster_file)
        assert (int(row) > 1, int(column) > 1) == (True, True)
    assert "stays in use" in said

    page = await alice.browser.open(f"{alice.hub}{PAGE}")
    assert page.status == 200
    assert any(f"{site.cluster_file}:{row}:{column}: claim_timeout: " in alert for alert in page.alerts)
    html = (await alice.browser.call("GET", f"{alice.hub}{PAGE}")).text
    ours = html[html.index("<h1>Cluster files") :]
    assert "&lt;b&gt;here" in ours
    assert "<b>here" not in ours
    assert "style=" not in ours
    assert (await alice.api("GET", PAGE)).json()["clusters"][0]["problems"][-1] == line.strip()
    assert (await bob.browser.open(f"{bob.hub}{PAGE}")).status == 403
    assert (await bob.api("GET", PAGE)).status_code == 403
    assert "normal" in await form_of(bob)

    assert "is again as it is in use" in await edit.back()
    assert not (await alice.browser.open(f"{alice.hub}{PAGE}")).alerts


async def test_scripts_of_admins_read_the_same_with_a_token(site, person):
    alice, bob = await log_in_both(site, person)
    answers = {}
    for someone in (alice, bob):
        token = (await someone.api("POST", f"users/{someone.name}/tokens", {})).json()["token"]
        async with httpx.AsyncClient(trust_env=False) as client:
            answers[someone.name] = await client.get(
                f"{someone.hub}api/{PAGE}", headers={"Authorization": f"token {token}"}
            )
    assert answers[bob.name].status_code == 403
    (cluster,) = answers[alice.name].json()["clusters"]
    assert cluster["path"] == str(site.cluster_file)
    assert cluster["problems"] == []
    assert str(site.cluster_file) in cluster["in_use"]["files"]
    assert cluster["in_use"]["cluster"]["name"] == "sandbox"
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{alice.hub}api/{PAGE}")).status_code == 403


@pytest.mark.extra
async def test_a_hub_that_starts_with_a_broken_file_says_so_and_recovers_by_itself(site, person, edit):
    admin, bob = await log_in_both(site, person)
    await site.hub.kill_hub()
    site.cluster_file.write_text(f"{site.cluster_file.read_text()}\ncolour: blue\n")
    said = len(site.hub.log.read_text())
    await site.hub.start_hub()
    await eventually(lambda: hub_says(site, "nobody can start a server", said))
    assert ": colour: " in site.hub.log.read_text()[said:]
    failed = (await bob.start())[-1]["message"]
    assert "Tell the site's support" in failed
    assert "colour" not in failed
    shown = await admin.browser.open(f"{admin.hub}{PAGE}")
    assert shown.status == 200
    assert any(": colour: " in alert for alert in shown.alerts)
    page = await bob.browser.open(f"{bob.hub}spawn/{bob.name}")
    assert page.status < 500
    assert str(site.cluster_file) not in " ".join(page.alerts)
    await edit.back()
    assert "normal" in await form_of(bob)
