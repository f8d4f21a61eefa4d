"""What a user asked for, untrusted, becomes a launch request or a list of field errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from launcher.clusters.model import Cluster
from launcher.errors import InvalidOptions

_MINUTES = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class LaunchRequest:
    """A launch that a user may have: every value is one that the cluster file allows.

    Attributes:
        partition: Name of a partition of the cluster file.
        time: Session length in minutes.
    """

    partition: str
    time: int

    def as_options(self) -> dict[str, Any]:
        """Return the request as options that `parse_options` takes."""
        return asdict(self)


def parse_options(cluster: Cluster, options: Any) -> LaunchRequest:
    """Check options from a form, the REST API, a link or an earlier start.

    Args:
        cluster: The cluster that they are for.
        options: What came in; an absent field takes its default.

    Raises:
        InvalidOptions: With what is wrong, by field; unknown fields are named.
    """
    if not isinstance(options, Mapping):
        raise InvalidOptions({"": "options are an object of names and values"})
    errors = {
        _shown(name): "is not an option of this cluster"
        for name in options
        if name not in ("partition", "time")
    }
    partition = None
    wanted = options.get("partition", cluster.partitions[0].name)
    if isinstance(wanted, str):
        partition = cluster.partition(wanted)
    if partition is None:
        names = ", ".join(each.name for each in cluster.partitions)
        errors["partition"] = f"must be one of {names}"
    time = _minutes(options.get("time", _default_time(cluster, partition.time_limit if partition else None)))
    if time not in cluster.times:
        errors["time"] = f"must be one of {', '.join(str(each) for each in cluster.times)} (minutes)"
    elif partition and time > partition.time_limit:
        errors["time"] = f"must be at most {partition.time_limit} minutes in partition {partition.name}"
    if errors or partition is None or time is None:
        raise InvalidOptions(errors)
    return LaunchRequest(partition=partition.name, time=time)


def options_from_form(form: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Convert a submitted form, where each field is a list, to options.

    A field that came more than once stays a list, which `parse_options` refuses.
    """
    return {
        name: values[0] if len(values) == 1 else values for name, values in form.items() if name != "_xsrf"
    }


def _default_time(cluster: Cluster, limit: int | None) -> int:
    if limit is None or cluster.default_time <= limit:
        return cluster.default_time
    return max((time for time in cluster.times if time <= limit), default=cluster.default_time)


def _minutes(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and _MINUTES.fullmatch(value):
        return int(value)
    return None


def _shown(name: Any) -> str:
    """Return a field's name as it can be shown: it came from outside, too."""
    return "".join(each if each.isprintable() else "�" for each in str(name)[:40])
