"""Partitions, and how long sessions in them may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from launcher.clusters.choice import Choice
from launcher.clusters.values import Constraint, Count, CountOrNone, Line, Minutes, NodeMinutes, Word
from launcher.yaml_file import Part, Place


class Partition(Part):
    """A Slurm partition that users may choose."""

    name: Word
    """Its name in Slurm."""
    time_limit: Minutes
    """Longest session, in minutes."""
    hint: Line = ""
    """One line for people."""
    max_nodes: Count | None = None
    """Most nodes of a session; without it `max_nodes` of the cluster."""
    max_node_minutes: NodeMinutes | None = None
    """Most nodes times minutes of a session: 90 allows 90 minutes on one node or 45 on two."""
    max_gpus: CountOrNone | None = None
    """Most GPUs on a node; 0 where there are none."""
    qos: Word | None = None
    """The QoS of sessions in this partition, instead of the cluster's."""
    constraint: Constraint | None = None
    """The constraint of sessions in this partition, instead of the cluster's."""
    reservation: Word | None = None
    """The reservation of sessions in this partition, instead of the cluster's."""

    def longest(self, nodes: int) -> int:
        """Return the longest session on so many nodes, in minutes."""
        if self.max_node_minutes is None:
            return self.time_limit
        return min(self.time_limit, self.max_node_minutes // nodes)


_HOURS = (60, 120, 240, 480)


class Times(Choice[Minutes]):
    """Lengths of sessions, in minutes."""

    choices: tuple[Minutes, ...] = Field(default=_HOURS, min_length=1)
    """What users may choose from; without it 1, 2, 4 and 8 hours, as far as partitions allow, and the
    limit of each partition of less than an hour."""
    maximum: Minutes | None = None
    """Users may also type a number of minutes up to this one."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check the maximum, too."""
        yield from super().relations()
        if self.maximum and self.maximum < max(self.choices):
            yield ("maximum",), f"{self.maximum} is below a choice"


def fitting(choice: Choice[int], limit: int) -> int | None:
    """Return the first choice if it is within a limit, else the greatest that is; None if none is."""
    if choice.first <= limit:
        return choice.first
    return max((value for value in choice.choices if value <= limit), default=None)


def usual_times(limits: Sequence[int]) -> dict[str, Any]:
    """Return choices and default of `Times` for partitions with these limits, in minutes."""
    longest = max(limits)
    choices = sorted({*(hour for hour in _HOURS if hour <= longest), *(each for each in limits if each < 60)})
    return {"choices": choices, "default": max((each for each in choices if each <= 60), default=choices[0])}
