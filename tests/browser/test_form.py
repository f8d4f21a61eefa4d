"""The options form in a browser: with and without scripts, by keyboard, in the dark, on a phone."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from pages import another, open_form
from playwright.async_api import Page, expect

_SOON = datetime.now(UTC) + timedelta(minutes=100)
CLUSTER = {
    "title": "Sandbox",
    "description": "A cluster of one machine, to try things out.",
    "partitions": [
        {"name": "normal", "time_limit": 1440, "max_nodes": 8, "hint": "For most work.", "max_gpus": 4},
        {
            "name": "debug",
            "time_limit": 60,
            "max_nodes": 2,
            "max_node_minutes": 60,
            "max_gpus": 1,
            "hint": "Starts first.",
        },
    ],
    "times": {"choices": [15, 30, 60, 240, 720], "default": 60},
    "max_nodes": 8,
    "gpus": {"choices": [0, 1, 2, 4], "default": 0},
    "memory": ["16G", "64G"],
    "own_reservation": True,
    "accounts": "firecrest",
    "environments": [
        {"id": "host", "title": "This machine", "kind": "host", "hint": "No image, just the node."},
        {
            "id": "own",
            "title": "A uenv of your own",
            "kind": "uenv",
            "hint": "Its Pythons appear as kernels.",
            "typed": {"roots": ["/scratch/{user}"]},
        },
    ],
    "announcements": [{"text": "The file system /scratch is cleaned on Mondays.", "level": "info"}],
    "maintenance": [
        {"start": _SOON, "end": _SOON + timedelta(hours=4), "text": "New disks."},
    ],
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def saved_options(site, name: str) -> dict[str, object]:
    """The options of somebody's last start, as the hub has saved them."""
    with contextlib.closing(sqlite3.connect(site.state / "hub/jupyterhub.sqlite")) as database:
        query = "select s.user_options from spawners s join users u on u.id = s.user_id where u.name = ?"
        return json.loads(database.execute(query, (name,)).fetchone()[0])


async def enabled(page: Page, label: str) -> list[str]:
    """The values of a list that can be chosen."""
    options = page.get_by_label(label, exact=True).locator("option:enabled")
    return [await option.get_attribute("value") for option in await options.all()]


def field(page: Page, label: str):
    return page.get_by_label(label, exact=True)


async def said(page: Page, label: str, name: str) -> str:
    """A text that belongs to a field."""
    identifier = await field(page, label).get_attribute("id")
    return await page.locator(f"#{identifier}-{name}").text_content() or ""


async def test_what_most_people_need_comes_first(site, page, screenshots, alice):
    await open_form(page, site, alice)
    await expect(page.get_by_text("/scratch is cleaned on Mondays")).to_be_visible()
    for label in ("Environment", "Partition", "Time", "GPUs on each node", "Start directory"):
        await expect(field(page, label)).to_be_visible()
    await expect(field(page, "Nodes")).to_be_hidden()
    await page.get_by_text("Advanced").click()
    for label in ("Nodes", "Memory on each node", "Reservation"):
        await expect(field(page, label)).to_be_visible()
    await field(page, "Partition").select_option("debug")
    await page.screenshot(path=screenshots / "form-advanced.png", full_page=True)


async def test_the_hint_is_that_of_the_choice(site, page, alice):
    await open_form(page, site, alice)
    await expect(page.get_by_text("For most work.")).to_be_visible()
    await expect(page.get_by_text("Starts first.")).to_be_hidden()
    await field(page, "Partition").select_option("debug")
    await expect(page.get_by_text("For most work.")).to_be_hidden()
    await expect(page.get_by_text("Starts first.")).to_be_visible()


async def test_limits_follow_the_partition(site, page, alice):
    await open_form(page, site, alice)
    time = field(page, "Time")
    await time.select_option("240")
    await field(page, "GPUs on each node").select_option("4")
    await field(page, "Partition").select_option("debug")
    assert await enabled(page, "Time") == ["15", "30", "60"]
    assert await time.input_value() == "60"
    assert await said(page, "Time", "note") == "At most 1 hour in partition debug, so not 4 hours."
    assert await field(page, "GPUs on each node").input_value() == "1"
    await field(page, "Partition").select_option("normal")
    assert await enabled(page, "Time") == ["15", "30", "60", "240", "720"]
    assert await time.input_value() == "240"
    assert await field(page, "GPUs on each node").input_value() == "4"


async def test_a_strict_content_security_policy_stops_nothing_of_it(site, page, alice):
    async def strict(route):
        answer = await route.fetch()
        policy = {"content-security-policy": "script-src 'self'; style-src 'self'"}
        await route.fulfill(response=answer, headers=answer.headers | policy)

    await open_form(page, site, alice)
    await page.route("**/hub/spawn", strict)
    await page.goto(f"{site.url}hub/spawn")
    await field(page, "Partition").select_option("debug")
    assert await said(page, "Time", "note") == "At most 1 hour in partition debug."
    weight = "text => getComputedStyle(text).fontWeight"
    assert await page.get_by_text("Partition", exact=True).evaluate(weight) == "600"


async def test_time_follows_the_number_of_nodes(site, page, alice):
    await open_form(page, site, alice)
    await field(page, "Partition").select_option("debug")
    await page.get_by_text("Advanced").click()
    await field(page, "Nodes").fill("2")
    assert await enabled(page, "Time") == ["15", "30"]
    assert await said(page, "Time", "note") == (
        "At most 30 minutes in partition debug on 2 nodes, so not 1 hour."
    )


async def test_a_number_above_the_limit_is_told_beside_its_field(site, page, alice):
    await open_form(page, site, alice)
    await field(page, "Partition").select_option("debug")
    await page.get_by_text("Advanced").click()
    await field(page, "Nodes").fill("5")
    await page.get_by_text("Advanced").click()
    await page.get_by_role("button", name="Start").click()
    await expect(field(page, "Nodes")).to_be_focused()
    assert await said(page, "Nodes", "problem") == "must be a whole number from 1 to 2"
    await field(page, "Nodes").fill("2")
    assert await said(page, "Nodes", "problem") == ""
    assert await field(page, "Nodes").get_attribute("aria-invalid") is None


async def test_a_number_is_lowered_when_another_choice_forbids_it(site, page, alice):
    await open_form(page, site, alice)
    await page.get_by_text("Advanced").click()
    await field(page, "Nodes").fill("5")
    await field(page, "Partition").select_option("debug")
    assert await field(page, "Nodes").input_value() == "2"
    assert await said(page, "Nodes", "note") == "At most 2 in partition debug, so not 5."


async def test_what_goes_with_another_environment_is_neither_shown_nor_sent(site, page, alice):
    await open_form(page, site, alice)
    await expect(field(page, "uenv")).to_be_hidden()
    await expect(field(page, "uenv")).to_be_disabled()
    await field(page, "Environment").select_option("own")
    await expect(field(page, "uenv")).to_be_visible()
    await field(page, "uenv").fill("not a label")
    await page.get_by_role("button", name="Start").click()
    await expect(field(page, "uenv")).to_be_focused()
    assert (await said(page, "uenv", "problem")).startswith("must be a label, name/version:tag")
    await field(page, "uenv").fill("")
    await page.get_by_role("button", name="Start").click()
    assert (await said(page, "uenv", "problem")).startswith("is needed: a label, name/version:tag")
    await field(page, "uenv").fill("prgenv-gnu/24.11:v1")
    assert await field(page, "uenv").evaluate("field => field.checkValidity()")


async def test_a_time_that_runs_into_a_maintenance_is_told(site, page, alice):
    await open_form(page, site, alice)
    await field(page, "Time").select_option("60")
    assert await said(page, "Time", "note") == ""
    await field(page, "Time").select_option("240")
    assert "This runs into the maintenance of" in await said(page, "Time", "note")


async def test_the_keyboard_is_enough(site, page, person, alice):
    await open_form(page, site, alice)
    await person(alice)
    await field(page, "Environment").focus()
    await page.keyboard.press("Tab")
    await expect(field(page, "Partition")).to_be_focused()
    await page.keyboard.type("debug")
    await page.keyboard.press("Tab")
    await page.keyboard.type("30")
    await page.keyboard.press("Tab")
    await expect(field(page, "Account")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(field(page, "Start directory")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(field(page, "Nodes")).to_be_focused()
    for _ in range(3):
        await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Start")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(r"/spawn-pending/|/lab"))


async def test_without_scripts_a_server_starts_with_what_was_chosen(site, chromium, person, alice):
    async with another(chromium, java_script_enabled=False) as page:
        await open_form(page, site, alice)
        await person(alice)
        await expect(page.get_by_text("Only with environment “A uenv of your own”.").first).to_be_visible()
        await field(page, "Partition").select_option("debug")
        await field(page, "Time").select_option("15")
        await page.get_by_text("Advanced").click()
        await field(page, "Nodes").fill("1")
        await field(page, "Memory on each node").select_option("64G")
        await page.get_by_role("button", name="Start").click()
        await page.wait_for_url(re.compile(r"/spawn-pending/|/lab"))
    assert saved_options(site, alice) == {
        "cluster": "sandbox",
        "environment": "host",
        "partition": "debug",
        "time": 15,
        "account": "sandbox",
        "gpus": 0,
        "nodes": 1,
        "memory": "64G",
        "start_directory": "home",
    }


async def test_the_last_choices_come_back(site, page, alice):
    await open_form(page, site, alice)
    assert await field(page, "Partition").input_value() == "debug"
    assert await field(page, "Time").input_value() == "15"
    # What is not as it is at first must be seen.
    await expect(field(page, "Memory on each node")).to_be_visible()
    assert await field(page, "Memory on each node").input_value() == "64G"


async def test_what_is_refused_stands_beside_its_field_with_the_input_kept(site, chromium, screenshots, bob):
    async with another(chromium, java_script_enabled=False) as page:
        await open_form(page, site, bob)
        await field(page, "Partition").select_option("debug")
        await field(page, "Time").select_option("240")
        await field(page, "Start directory").fill("/etc")
        await page.get_by_role("button", name="Start").click()
        await expect(page.locator("#launcher-time-problem")).to_have_text(
            "must be at most 60 minutes (1 hour) in partition debug"
        )
        await expect(page.locator("#launcher-start-directory-problem")).to_contain_text(
            "must be home, scratch"
        )
        await expect(field(page, "Time")).to_be_focused()
        assert await field(page, "Time").get_attribute("aria-invalid") == "true"
        assert await field(page, "Partition").input_value() == "debug"
        assert await field(page, "Time").input_value() == "240"
        assert await field(page, "Start directory").input_value() == "/etc"
        assert await page.get_by_role("alert").get_by_role("link").all_inner_texts() == [
            "Time",
            "Start directory",
        ]
        await page.get_by_role("alert").get_by_role("link", name="Start directory").click()
        await expect(page.locator("#launcher-start-directory:target")).to_be_visible()
        await expect(page.get_by_text("Error:")).to_have_count(0)
        await page.screenshot(path=screenshots / "form-errors.png", full_page=True)
    assert not await site.live_jobs(bob)


async def test_it_follows_the_dark_theme(site, chromium, screenshots, bob):
    async with another(chromium, color_scheme="dark") as page:
        await open_form(page, site, bob)
        colour = "field => getComputedStyle(field).backgroundColor.match(/[0-9]+/g).slice(0, 3)"
        assert max(int(part) for part in await field(page, "Time").evaluate(colour)) < 80
        await page.screenshot(path=screenshots / "form-dark.png", full_page=True)


async def test_it_fits_a_phone(site, chromium, screenshots, bob):
    async with another(chromium, viewport={"width": 360, "height": 740}, is_mobile=True) as page:
        await open_form(page, site, bob)
        await field(page, "Environment").select_option("own")
        await page.get_by_text("Advanced").click()
        await field(page, "uenv").fill("x" * 300 + " ")
        await page.get_by_role("button", name="Start").click()
        wide, seen = await page.evaluate("[document.body.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen
        await page.screenshot(path=screenshots / "form-phone.png", full_page=True)
