"""What stands above the form, and for how long."""

from datetime import UTC, datetime

import pytest

from launcher.clusters import Cluster
from launcher.form.notices import last_session, notices
from launcher.words.ended import Ended

FACTS = {
    "name": "tiny",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [{"name": "normal", "time_limit": 240}],
    "node_addresses": ["10.0.0.0/8"],
    "times": [60, 240],
}


def at(time, **facts):
    return notices(Cluster.model_validate(FACTS | facts), datetime.fromisoformat(time).replace(tzinfo=UTC))


def window(start, end, text=""):
    return {"maintenance": [{"start": start, "end": end, "text": text}]}


def test_an_announcement_is_shown_until_it_ends():
    announcements = [{"text": "Now", "until": "2026-12-01T12:00Z"}, {"text": "Always", "level": "danger"}]
    before, after = (
        at(time, announcements=announcements) for time in ("2026-12-01T11:59", "2026-12-01T12:00")
    )
    assert [(each.text, each.level) for each in before] == [("Now", "info"), ("Always", "danger")]
    assert [each.text for each in after] == ["Always"]


def test_maintenance_is_announced_in_the_zone_of_the_file():
    (notice,) = at("2026-11-01T00:00", **window("2026-12-01T06:00+01:00", "2026-12-01T14:00+01:00"))
    assert notice.text == "Maintenance from 1 December 2026, 06:00 to 14:00 (UTC+01:00)."
    assert notice.level == "info"
    assert notice.begins == "1 December 2026, 06:00 (UTC+01:00)"
    assert notice.start == 1796101200


def test_one_over_several_days_names_both():
    (notice,) = at("2026-11-01T00:00", **window("2026-12-01T06:00Z", "2026-12-02T14:00Z", "New disks"))
    assert notice.text == (
        "Maintenance from 1 December 2026, 06:00 to 2 December 2026, 14:00 (UTC). New disks."
    )


@pytest.mark.parametrize(("time", "near"), [("2026-12-01T02:00", False), ("2026-12-01T02:01", True)])
def test_what_it_means_is_said_once_the_longest_session_would_run_into_it(time, near):
    (notice,) = at(time, **window("2026-12-01T06:00Z", "2026-12-01T14:00Z"))
    assert ("waits in the queue until it is over" in notice.text) is near
    assert notice.level == ("warning" if near else "info")


def test_while_it_lasts_nothing_else_matters():
    (notice,) = at("2026-12-01T06:00", **window("2026-12-01T06:00Z", "2026-12-01T14:00Z", "New disks!"))
    assert notice.text == (
        "Maintenance until 1 December 2026, 14:00 (UTC). New disks! "
        "No job runs now: a session begins when it is over."
    )
    assert notice.start is None


def test_afterwards_it_is_gone():
    assert at("2026-12-01T14:00", **window("2026-12-01T06:00Z", "2026-12-01T14:00Z")) == ()


def test_the_next_one_comes_first():
    later, sooner = ({"start": f"2026-12-0{day}T06:00Z", "end": f"2026-12-0{day}T07:00Z"} for day in (2, 1))
    shown = at("2026-11-01T00:00", maintenance=[later, sooner])
    assert [each.begins[:1] for each in shown] == ["1", "2"]


def test_how_a_last_session_ended_is_an_information_with_the_end_of_its_log():
    ended = Ended("12", "nid001", at=0.0, exit_code=1)
    ended.read(["first", "last\x1b[0m words"])
    notice = last_session(ended, datetime.fromtimestamp(60, UTC))
    assert notice.text == (
        "Your last session (job 12 on nid001) ended at 00:00 UTC: JupyterLab broke down (exit code 1)."
    )
    assert notice.log == "first\nlast words"
    assert (notice.level, notice.start) == ("info", None)
