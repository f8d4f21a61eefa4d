"""How a check's outcome is shown."""

from __future__ import annotations

import json

from launcher.check import Report, Step

REPORT = Report(
    ok=False,
    steps=[
        Step("log in", 0.41234, ok=True, detail="as alice"),
        Step("start", 12.5, ok=False, detail="job 7 ended\n0.1 s  submitted as job 7"),
        Step("stop", 100.0, ok=True),
    ],
)


def test_the_table_has_a_line_for_each_thing_seen() -> None:
    assert REPORT.table().splitlines() == [
        "step    seconds",
        "log in     0.41  ok      as alice",
        "start     12.50  FAILED  job 7 ended",
        "                         0.1 s  submitted as job 7",
        "stop     100.00  ok",
    ]


def test_a_table_can_not_drive_the_terminal() -> None:
    assert "\x1b" not in Report(ok=True, steps=[Step("start", 0.0, ok=True, detail="\x1b[2J")]).table()


def test_a_report_without_steps_has_a_table() -> None:
    assert Report(ok=False, steps=[]).table().split() == ["step", "seconds"]


def test_the_json_holds_every_step() -> None:
    report = json.loads(REPORT.to_json())
    assert list(report) == ["ok", "steps"]
    assert report["ok"] is False
    assert report["steps"][0] == {"name": "log in", "seconds": 0.412, "ok": True, "detail": "as alice"}
    assert [step["ok"] for step in report["steps"]] == [True, False, True]
