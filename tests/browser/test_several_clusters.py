"""The form of two clusters in a browser: with and without scripts, by keyboard, in the dark, on a phone."""

from __future__ import annotations

import re

import pytest
from pages import another, open_form
from playwright.async_api import Page, expect
from support import eventually

from launcher.sandbox.scheduler import JobState

CLUSTER = {
    "title": "Daint",
    "description": "For work on many nodes.",
    "partitions": [
        {"name": "normal", "time_limit": 1440, "max_nodes": 8},
        {"name": "debug", "time_limit": 60, "max_nodes": 2},
    ],
    "times": {"choices": [15, 60, 240], "default": 60},
    "max_nodes": 8,
}
SECOND = {
    "title": "Eiger",
    "description": "For work on one node.",
    "partitions": [{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 30}],
    "times": {"choices": [15, 30, 120, 240], "default": 30},
    "max_nodes": 1,
    "memory": ["16G", "64G"],
    "environments": [
        {
            "id": "own",
            "title": "A uenv of your own",
            "kind": "uenv",
            "typed": {"roots": ["/scratch/{user}"]},
        },
        {"id": "host", "title": "This machine", "kind": "host"},
    ],
    "announcements": [{"text": "Eiger gets new disks on Monday."}],
}
SITE = {"more_clusters": {"eiger": SECOND}}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def choice(page: Page, cluster: str):
    return page.get_by_role("radio", name=cluster)


def field(page: Page, cluster: str, name: str):
    """A field of a cluster, by the names by which it is sent."""
    return page.locator(f'[name="{cluster}.{name}"]')


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
async def test_only_the_fields_of_the_chosen_cluster_show(site, chromium, bob, scripts):
    async with another(chromium, java_script_enabled=scripts) as page:
        await open_form(page, site, bob)
        await expect(choice(page, "Daint")).to_be_checked()
        await expect(field(page, "sandbox", "time")).to_be_visible()
        await expect(field(page, "eiger", "time")).to_be_hidden()
        await expect(page.get_by_text("Eiger gets new disks")).to_be_hidden()
        await choice(page, "Eiger").check()
        await expect(field(page, "sandbox", "time")).to_be_hidden()
        await expect(field(page, "eiger", "time")).to_be_visible()
        await expect(page.get_by_text("Eiger gets new disks")).to_be_visible()


async def test_limits_follow_the_choices_of_the_same_cluster(site, page, bob):
    await open_form(page, site, bob)
    await choice(page, "Eiger").check()
    await field(page, "eiger", "partition").select_option("debug")
    assert await field(page, "eiger", "time").locator("option:enabled").count() == 2
    await choice(page, "Daint").check()
    assert await field(page, "sandbox", "time").locator("option:enabled").count() == 3
    await expect(page.get_by_text("Only with environment").first).to_be_hidden()


async def test_what_is_needed_at_another_cluster_stops_nobody(site, page, person, alice):
    """Eiger's first environment needs a uenv, which nobody who chooses Daint has typed."""
    await open_form(page, site, alice)
    await person(alice)
    await expect(field(page, "eiger", "uenv")).to_be_disabled()
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_url(re.compile(r"/spawn-pending/|/lab"))


async def test_with_scripts_the_second_cluster_checks_its_fields_and_starts(site, page, person, bob):
    await open_form(page, site, bob)
    await person(bob)
    await choice(page, "Eiger").check()
    await page.get_by_role("button", name="Start").click()
    await expect(field(page, "eiger", "uenv")).to_be_focused()
    await field(page, "eiger", "environment").select_option("host")
    await field(page, "eiger", "time").select_option("15")
    await page.get_by_role("button", name="Start").click()
    await page.wait_for_url(re.compile(r"/spawn-pending/|/lab"))
    await on_second(site, bob)


async def test_without_scripts_the_second_cluster_starts_whatever_stands_at_the_first(
    site, chromium, person, alice
):
    async with another(chromium, java_script_enabled=False) as page:
        await open_form(page, site, alice)
        await person(alice)
        await page.locator(".launcher-cluster summary").first.click()
        await field(page, "sandbox", "nodes").fill("99")
        await choice(page, "Eiger").check()
        await field(page, "eiger", "environment").select_option("host")
        # A browser would not send it, so it stays in sight.
        await expect(field(page, "sandbox", "nodes")).to_be_visible()
        await field(page, "sandbox", "nodes").fill("1")
        await expect(field(page, "sandbox", "nodes")).to_be_hidden()
        await page.get_by_role("button", name="Start").click()
        await page.wait_for_url(re.compile(r"/spawn-pending/|/lab"))
    await on_second(site, alice)


async def test_the_cluster_of_the_last_start_is_chosen(site, page, alice):
    await open_form(page, site, alice)
    await expect(choice(page, "Eiger")).to_be_checked()
    assert await field(page, "eiger", "environment").input_value() == "host"


async def test_what_is_refused_comes_back_at_its_cluster(site, chromium, bob):
    async with another(chromium, java_script_enabled=False) as page:
        await open_form(page, site, bob)
        await choice(page, "Eiger").check()
        await field(page, "eiger", "environment").select_option("host")
        await field(page, "eiger", "partition").select_option("debug")
        await field(page, "eiger", "time").select_option("240")
        await page.get_by_role("button", name="Start").click()
        await expect(choice(page, "Eiger")).to_be_checked()
        await expect(field(page, "eiger", "time")).to_be_focused()
        await expect(page.get_by_text("must be at most 30 minutes in partition debug").last).to_be_visible()
        await expect(field(page, "sandbox", "time")).to_be_hidden()
    assert not await site.live_jobs(bob)


async def test_the_keyboard_is_enough(site, page, bob):
    await open_form(page, site, bob)
    await choice(page, "Daint").check()
    await choice(page, "Daint").focus()
    await page.keyboard.press("ArrowRight")
    await expect(choice(page, "Eiger")).to_be_checked()
    await page.keyboard.press("Tab")
    await expect(field(page, "eiger", "environment")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(choice(page, "Eiger")).to_be_focused()


async def test_going_back_in_the_history_keeps_choice_and_fields_together(site, page, bob):
    await open_form(page, site, bob)
    await choice(page, "Eiger").check()
    await page.goto(f"{site.url}hub/token")
    await page.go_back()
    chosen = "eiger" if await choice(page, "Eiger").is_checked() else "sandbox"
    await expect(field(page, chosen, "time")).to_be_enabled()
    await expect(field(page, "sandbox" if chosen == "eiger" else "eiger", "time")).to_be_disabled()


async def test_it_follows_the_dark_theme(site, chromium, bob):
    async with another(chromium, color_scheme="dark") as page:
        await open_form(page, site, bob)
        colour = "(text) => getComputedStyle(text).color.match(/[0-9]+/g).slice(0, 3)"
        label = page.get_by_text("Eiger", exact=True)
        assert min(int(part) for part in await label.evaluate(colour)) > 150


async def test_it_fits_a_phone(site, chromium, bob):
    async with another(chromium, viewport={"width": 360, "height": 740}, is_mobile=True) as page:
        await open_form(page, site, bob)
        await choice(page, "Eiger").check()
        wide, seen = await page.evaluate("[document.body.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen


async def test_it_shows_what_is_said_of_the_chosen_cluster(site, page, screenshots, bob):
    await open_form(page, site, bob)
    await choice(page, "Eiger").check()
    await expect(page.get_by_text("Eiger gets new disks")).to_be_visible()
    await page.screenshot(path=screenshots / "form-clusters.png", full_page=True)


async def on_second(site, name: str) -> None:
    """Wait until somebody has a job on the second cluster."""

    async def has_job() -> bool:
        jobs = await site.systems["eiger"].scheduler.jobs()
        return any(job.account_name == name and not JobState(job.state.split()[0]).ended for job in jobs)

    await eventually(has_job)
