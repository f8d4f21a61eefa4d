"""What stands above the form: announcements and maintenance, as long as they matter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from launcher.clusters import Cluster
from launcher.words.ended import Ended


@dataclass(frozen=True)
class Notice:
    """A message above the form.

    Attributes:
        text: What it says.
        level: How it looks.
        start: Beginning of a maintenance that is still to come, in seconds since 1970; else None.
        begins: The same in words.
        log: The end of a job's log, folded away below it; lines of any characters.
    """

    text: str
    level: Literal["info", "warning", "danger"] = "info"
    start: int | None = None
    begins: str = ""
    log: str = ""


def notices(cluster: Cluster, now: datetime) -> tuple[Notice, ...]:
    """Return what users are told of a cluster at a time; what is over is left out.

    Args:
        cluster: The cluster file.
        now: The time, with a zone.
    """
    found = [
        Notice(each.text, each.level)
        for each in cluster.announcements
        if each.until is None or each.until > now
    ]
    longest = timedelta(minutes=_longest_session(cluster))
    for each in sorted(cluster.maintenance, key=lambda each: each.start):
        if each.end <= now:
            continue
        text = f" {_sentence(each.text)}" if each.text else ""
        if each.start <= now:
            until = _moment(each.end)
            said = f"Maintenance until {until}.{text} No job runs now: a session begins when it is over."
            found.append(Notice(said, "warning"))
            continue
        said = f"Maintenance from {_span(each.start, each.end)}.{text}"
        near = each.start - now < longest
        if near:
            said += " A session that would not end before it begins waits in the queue until it is over."
        start = int(each.start.timestamp())
        found.append(Notice(said, "warning" if near else "info", start, _moment(each.start)))
    return tuple(found)


def last_session(ended: Ended, now: datetime) -> Notice:
    """Return what a user is told whose last session ended by itself."""
    return Notice(ended.words(now.timestamp()), log="\n".join(ended.log))


def accounts_unknown(problem: str) -> Notice:
    """Return what a user is told whose accounts are not known.

    Args:
        problem: Why they are not.
    """
    advice = "You can name one under “Advanced”; otherwise your default account is used."
    return Notice(f"{problem} {advice}", "warning")


def withheld_cluster(name: str, *, admin: bool) -> Notice:
    """Return what a user is told of a cluster that can't be chosen now.

    Args:
        name: The cluster's name.
        admin: Whether the user may see why.
    """
    where = " Its file can't be used: the page launcher/clusters of the hub tells why." if admin else ""
    return Notice(f"{name} can't be offered just now.{where}", "warning")


def _longest_session(cluster: Cluster) -> int:
    asked = cluster.times.maximum or max(cluster.times.choices)
    return min(asked, max(partition.longest(1) for partition in cluster.partitions))


def _span(start: datetime, end: datetime) -> str:
    end = end.astimezone(start.tzinfo)
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{_day(end)}, {end:%H:%M}"
    return f"{_day(start)}, {start:%H:%M} to {until} ({_zone(start)})"


def _moment(time: datetime) -> str:
    return f"{_day(time)}, {time:%H:%M} ({_zone(time)})"


def _day(time: datetime) -> str:
    return f"{time.day} {time:%B %Y}"


def _zone(time: datetime) -> str:
    offset = time.isoformat()[-6:]
    return "UTC" if offset == "+00:00" else f"UTC{offset}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
