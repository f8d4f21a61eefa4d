"""What a user asked for, untrusted, becomes a launch request or a list of field errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from launcher.clusters.environment import ContainerEnvironment, Environment, UenvEnvironment, image_name
from launcher.clusters.fields import (
    MAX_TYPED,
    Field,
    UserAccounts,
    duration,
    fields,
    is_below,
    matches,
    roots_of,
)
from launcher.clusters.model import Cluster, path_of
from launcher.clusters.partition import Partition, fitting
from launcher.clusters.request import LaunchRequest
from launcher.errors import InvalidOptions

_DIGITS = re.compile(r"[0-9]{1,6}")
_NUMBERS = ("time", "nodes", "gpus", "cpus")
_MAX_UNKNOWN = 20
"""No more unknown options are named."""


def parse_options(
    cluster: Cluster,
    options: Any,
    *,
    user: str,
    accounts: UserAccounts | None = None,
    from_link: bool = False,
) -> LaunchRequest:
    """Check options from a form, the REST API, a link or an earlier start.

    Args:
        cluster: The cluster that they are for.
        options: What came in; an absent or empty field takes its default.
        user: The user's name on the cluster.
        accounts: The user's accounts, if they are known.
        from_link: Whether they come from a link, which may choose only what the cluster file lists.

    Raises:
        InvalidOptions: With what is wrong, by field; unknown fields are named.
    """
    if not isinstance(options, Mapping):
        raise InvalidOptions({"": "options are an object of names and values"})
    offered = {field.name: field for field in fields(cluster, user, accounts)}
    unknown = islice((name for name in options if name not in offered), _MAX_UNKNOWN)
    errors = {_shown(name): "is not an option of this cluster" for name in unknown}
    if from_link:
        unsafe = [name for name in options if name in offered and name not in cluster.links]
        errors |= dict.fromkeys(unsafe, "can't be chosen by a link; use the form")
    values: dict[str, str] = {}
    for name, field in offered.items():
        given = _text(options.get(name))
        if given is None:
            errors[name] = f"must be {_allowed(field)}"
        elif problem := _problem(field, given or field.default):
            errors[name] = problem
        else:
            values[name] = given or ("" if field.implied else field.default)
    environment = cluster.environment(values.get("environment", ""))
    partition = cluster.partition(values.get("partition", ""))
    if environment:
        errors |= _misplaced(cluster, offered, values, environment, user)
    if partition:
        given_names = {name for name in values if _text(options.get(name))}
        values |= _fitting_defaults(cluster, partition, given_names, values)
    if partition:
        errors |= {
            name: text for name, text in _excesses(partition, cluster.shortest, values) if name not in errors
        }
    if errors or environment is None or partition is None:
        raise InvalidOptions(errors)
    chosen: dict[str, str | int] = {
        name: int(text) if name in _NUMBERS else text
        for name, text in values.items()
        if text and (offered[name].implied or not offered[name].fixed)
    }
    return replace(_request(cluster, environment, partition, values, user), options=chosen)


def options_from_form(form: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Convert a submitted form, where each field is a list, to options.

    A field that came more than once stays a list, which `parse_options` refuses.
    """
    return {
        name: values[0] if len(values) == 1 else values for name, values in form.items() if name != "_xsrf"
    }


def _text(value: Any) -> str | None:
    """Return an option as a text, empty if it was not given, or None if it can't be one."""
    if value is None:
        return ""
    if type(value) is int and 0 <= value < 10**6:
        return str(value)
    return value if isinstance(value, str) and len(value) <= MAX_TYPED else None


def _problem(field: Field, text: str) -> str:
    """Return what is wrong with a value by itself, or nothing."""
    if not text or any(text == option.value for option in field.options):
        return ""
    if field.kind == "list":
        return f"must be {_allowed(field)}"
    if field.kind == "number":
        number = int(text) if _DIGITS.fullmatch(text) else -1
        low, high = field.minimum or 0, field.maximum or 0
        return "" if low <= number <= high else f"must be {_allowed(field)}"
    if not matches(field.pattern, text):
        return f"must be {_allowed(field)}"
    return field.accepts(text)


def _allowed(field: Field) -> str:
    if field.kind == "number":
        return f"a whole number from {field.minimum} to {field.maximum}"
    if field.kind == "text":
        return field.allowed
    values = ", ".join(option.value for option in field.options)
    return (
        f"one of {values}{' (minutes)' if field.name == 'time' else ''}"
        if not field.fixed
        else f"{values} here"
    )


def _misplaced(
    cluster: Cluster,
    offered: Mapping[str, Field],
    values: Mapping[str, str],
    environment: Environment,
    user: str,
) -> dict[str, str]:
    """Return what is wrong with values that belong to certain environments only."""
    errors = {}
    for name, field in offered.items():
        if not field.environments:
            continue
        if environment.id not in field.environments:
            if values.get(name):
                errors[name] = f"does not go with environment {environment.id}"
        elif field.needed and values.get(name) == "":
            errors[name] = f"is needed: {field.allowed}"
    for name in ("uenv", "edf"):
        if name not in errors and values.get(name) and environment.id in offered[name].environments:
            problem = _untyped(cluster, environment, values[name], user)
            if problem:
                errors[name] = problem
    return errors


def _untyped(cluster: Cluster, environment: Environment, text: str, user: str) -> str:
    """Return why a user may not name this image or file, or nothing."""
    roots = roots_of(environment, user)
    name = image_name(text)
    if name and cluster.tools and not environment.launcher and name == image_name(cluster.tools.image):
        return f"must not be called {name}: that is the image that holds JupyterLab"
    if isinstance(environment, UenvEnvironment) and environment.typed and not text.startswith("/"):
        return "" if environment.typed.labels else f"must be a file below {' or '.join(roots)}"
    if not roots:
        return "must be a label, name/version:tag"
    return "" if is_below(text, roots) else f"must be a file below {' or '.join(roots)}"


def _fitting_defaults(
    cluster: Cluster, partition: Partition, given: set[str], values: Mapping[str, str]
) -> dict[str, str]:
    """Return the defaults that a partition's limits leave, for what was not given."""
    found: dict[str, str] = {}
    if "time" not in given:
        limit = partition.longest(int(values.get("nodes") or 1))
        times = cluster.times
        fallback = limit if times.maximum and limit else times.first
        found["time"] = str(fitting(times, limit) or fallback)
    if "gpus" not in given and cluster.gpus and partition.max_gpus is not None:
        found["gpus"] = str(fitting(cluster.gpus, partition.max_gpus) or 0)
    return found


def _excesses(partition: Partition, shortest: int, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the fields that are above a limit of the partition."""
    found = []
    where = f"in partition {partition.name}"
    nodes, time, gpus = (int(values.get(name) or 0) for name in ("nodes", "time", "gpus"))
    if partition.max_nodes and nodes > partition.max_nodes:
        found.append(("nodes", f"must be at most {partition.max_nodes} {where}"))
    elif partition.longest(max(nodes, 1)) < shortest:
        found.append(("nodes", f"must be fewer: they leave less than {shortest} minutes {where}"))
    elif time > partition.longest(max(nodes, 1)):
        longest = partition.longest(max(nodes, 1))
        on = f" on {nodes} nodes" if nodes > 1 else ""
        words = f" ({duration(longest)})" if longest >= 60 else ""
        found.append(("time", f"must be at most {longest} minutes{words} {where}{on}"))
    if partition.max_gpus is not None and gpus > partition.max_gpus:
        found.append(("gpus", f"must be at most {partition.max_gpus} {where}"))
    return found


def _request(
    cluster: Cluster,
    environment: Environment,
    partition: Partition,
    values: Mapping[str, str],
    user: str,
) -> LaunchRequest:
    directory = values["start_directory"]
    image = view = edf = None
    if isinstance(environment, UenvEnvironment):
        image = environment.image or values["uenv"]
        view = values.get("view") or environment.view
    elif isinstance(environment, ContainerEnvironment):
        edf = environment.edf or values["edf"]
    return LaunchRequest(
        environment=environment.id,
        partition=partition.name,
        time=int(values["time"]),
        nodes=int(values["nodes"]),
        start_directory=path_of(
            {"home": cluster.home, "scratch": cluster.scratch or ""}.get(directory, directory), user
        ),
        image=image,
        view=view,
        edf=edf,
        account=values.get("account") or None,
        reservation=values.get("reservation") or partition.reservation or cluster.reservation,
        constraint=partition.constraint or values.get("constraint") or None,
        qos=partition.qos or values.get("qos") or None,
        gpus=int(values["gpus"]) if "gpus" in values else None,
        cpus=int(values["cpus"]) if "cpus" in values else None,
        memory=values.get("memory"),
    )


def _shown(name: Any) -> str:
    """Return a field's name as it can be shown: it came from outside, too."""
    text = name if isinstance(name, str) else type(name).__name__
    return "".join(each if each.isprintable() else "�" for each in text[:40]) or "(no name)"
