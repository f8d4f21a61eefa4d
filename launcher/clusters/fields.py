"""What a cluster file lets its users choose: one description for form, REST API and command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from launcher.clusters.choice import Choice
from launcher.clusters.environment import ContainerEnvironment, Environment, UenvEnvironment
from launcher.clusters.model import Cluster, path_of
from launcher.clusters.partition import fitting
from launcher.clusters.values import LABEL, PATH, VIEW, WORD

MAX_TYPED = 500
"""No typed value is longer."""

_MAX_LISTED = 500


@dataclass(frozen=True)
class Option:
    """One value of a field that is chosen from a list.

    Attributes:
        value: As it stands in options.
        title: For people.
        hint: One more line for people.
        limits: Name → number that other fields must not exceed with it.
    """

    value: str
    title: str
    hint: str = ""
    limits: tuple[tuple[str, int], ...] = ()


def _any(text: str) -> str:
    del text
    return ""


@dataclass(frozen=True)
class Field:
    """One thing that a user may choose.

    Attributes:
        name: As it stands in options.
        label: For people.
        kind: `list` for one of `options`, `number`, or `text` of a pattern.
        default: The value chosen at first; empty for none.
        hint: One line for people.
        options: The values of a list; what is suggested for a number or a text.
        minimum: Smallest number.
        maximum: Largest number.
        pattern: Regular expression that a text matches as a whole.
        allowed: What the pattern allows, in words.
        advanced: Whether most people leave it as it is.
        environments: Ids of the environments that it belongs to; empty for all.
        needed: Whether it must be given in those environments.
        implied: Whether Slurm itself takes the default where nothing is given.
        accepts: Tells what is wrong with a text of the right form, or nothing.
    """

    name: str
    label: str
    kind: Literal["list", "number", "text"] = "list"
    default: str = ""
    hint: str = ""
    options: tuple[Option, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    pattern: str = ""
    allowed: str = ""
    advanced: bool = False
    environments: tuple[str, ...] = ()
    needed: bool = False
    implied: bool = False
    accepts: Callable[[str], str] = _any

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.kind == "list" and len(self.options) == 1


@dataclass(frozen=True)
class UserAccounts:
    """The Slurm accounts of one user, as FirecREST's `userinfo` tells them.

    Attributes:
        names: The accounts.
        default: The one that Slurm takes if none is named.
    """

    names: tuple[str, ...]
    default: str | None = None


def duration(minutes: int) -> str:
    """Return minutes in words: `45 minutes`, `1 hour`, `1 h 30 min`."""
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} minute{'s' if rest != 1 else ''}"
    if not rest:
        return f"{hours} hour{'s' if hours != 1 else ''}"
    return f"{hours} h {rest} min"


def fields(cluster: Cluster, user: str, accounts: UserAccounts | None = None) -> tuple[Field, ...]:
    """Return what a user may choose on a cluster, in the order of the form.

    Args:
        cluster: The cluster file.
        user: The user's name on the cluster.
        accounts: The user's accounts, where the cluster file takes them from FirecREST; None if they are
            not known, and then any name of the right form is taken: Slurm has the last word.
    """
    return (
        *_environment(cluster, user),
        _partition(cluster),
        _time(cluster),
        *_account(cluster, accounts),
        *_chosen(cluster.gpus, Field("gpus", "GPUs on each node")),
        _start_directory(cluster, user),
        _nodes(cluster),
        *_chosen(cluster.cpus, Field("cpus", "CPUs on each node", advanced=True)),
        *_chosen(cluster.memory, Field("memory", "Memory on each node", advanced=True)),
        *_chosen(cluster.constraint, Field("constraint", "Nodes with", advanced=True)),
        *_chosen(cluster.qos, Field("qos", "Quality of service", advanced=True)),
        *_reservation(cluster),
    )


def _environment(cluster: Cluster, user: str) -> Iterator[Field]:
    options = tuple(Option(each.id, each.name, each.hint) for each in cluster.environments)
    yield Field("environment", "Environment", default=options[0].value, options=options)
    typed = [each for each in cluster.environments if isinstance(each, UenvEnvironment) and each.typed]
    if typed:
        labels = any(each.typed.labels for each in typed if each.typed)
        files = any(each.typed.roots for each in typed if each.typed)
        yield Field(
            "uenv",
            "uenv",
            kind="text",
            pattern="|".join([LABEL] * labels + [PATH] * files),
            allowed=" or ".join(
                ["a label, name/version:tag"] * labels + ["the absolute path of a squashfs file"] * files
            ),
            hint=_hint(
                " or ".join(["a label such as prgenv-gnu/24.11:v1"] * labels + ["a squashfs file"] * files),
                typed,
                user,
            ),
            environments=tuple(each.id for each in typed),
            needed=True,
        )
    containers = [
        each for each in cluster.environments if isinstance(each, ContainerEnvironment) and each.typed
    ]
    if containers:
        yield Field(
            "edf",
            "Environment definition file",
            kind="text",
            pattern=rf"{PATH}\.toml",
            allowed="the absolute path of a .toml file",
            hint=_hint("The path of a TOML file", containers, user),
            environments=tuple(each.id for each in containers),
            needed=True,
        )
    viewed = [
        each
        for each in cluster.environments
        if isinstance(each, UenvEnvironment) and (each.typed or each.typed_view)
    ]
    if viewed:
        yield Field(
            "view",
            "View",
            kind="text",
            pattern=VIEW,
            allowed="a view, or uenv:view",
            hint="Empty for the view that comes with the uenv.",
            environments=tuple(each.id for each in viewed),
        )


def _hint(what: str, environments: list[UenvEnvironment] | list[ContainerEnvironment], user: str) -> str:
    below = [root for each in environments for root in roots_of(each, user)]
    return f"{what[0].upper()}{what[1:]}{' below ' if below else ''}{' or '.join(dict.fromkeys(below))}."


def roots_of(environment: Environment, user: str) -> tuple[str, ...]:
    """Return the directories below which a user may name a file for an environment."""
    typed = getattr(environment, "typed", None)
    return tuple(path_of(root, user) for root in typed.roots) if typed else ()


def is_below(path: str, roots: tuple[str, ...]) -> bool:
    """Tell whether a path without `..` is one of the roots or lies below one."""
    return any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots)


def _partition(cluster: Cluster) -> Field:
    options = []
    for each in cluster.partitions:
        limits = {
            "time": each.time_limit,
            "nodes": each.max_nodes,
            "node_minutes": each.max_node_minutes,
            "gpus": each.max_gpus,
        }
        known = tuple((name, value) for name, value in limits.items() if value is not None)
        title = f"{each.name} (up to {duration(each.longest(1))})"
        options.append(Option(each.name, title, each.hint, known))
    return Field("partition", "Partition", default=options[0].value, options=tuple(options))


def _time(cluster: Cluster) -> Field:
    times = cluster.times
    limit = cluster.partitions[0].longest(1)
    field = Field(
        "time",
        "Time",
        default=str(fitting(times, limit) or limit),
        options=tuple(Option(str(minutes), duration(minutes)) for minutes in times.choices),
    )
    if times.maximum:
        hint = f"Minutes, up to {times.maximum} ({duration(times.maximum)})."
        return replace(field, kind="number", minimum=cluster.shortest, maximum=times.maximum, hint=hint)
    return field


def _account(cluster: Cluster, accounts: UserAccounts | None) -> Iterator[Field]:
    field = Field("account", "Account", hint="The Slurm account that pays for the session.")
    if cluster.accounts is None:
        return
    if cluster.accounts != "firecrest":
        yield from _chosen(cluster.accounts, field)
    elif names := _listed(accounts):
        default = accounts.default if accounts and accounts.default in names else names[0]
        options = tuple(Option(name, name) for name in names)
        # What a user gets must not depend on whether FirecREST could be asked just before.
        yield replace(field, default=default or "", options=options, implied=True)
    else:
        yield replace(
            field,
            kind="text",
            pattern=WORD,
            allowed="the name of a Slurm account",
            hint="Empty for your default account.",
            advanced=True,
        )


def _listed(accounts: UserAccounts | None) -> list[str]:
    """Return the accounts for a list; none if there are more than anybody would look through."""
    names = accounts.names if accounts and len(accounts.names) <= _MAX_LISTED else ()
    return [name for name in names if matches(WORD, name)]


def _chosen(choice: Choice[int] | Choice[str] | None, field: Field) -> Iterator[Field]:
    if choice is not None:
        options = tuple(Option(str(value), str(value)) for value in choice.choices)
        yield replace(field, default=str(choice.first), options=options)


def _start_directory(cluster: Cluster, user: str) -> Field:
    directory = cluster.start_directory
    titles = {"home": f"Home ({cluster.home_of(user)})"}
    if cluster.scratch:
        titles["scratch"] = f"Scratch ({path_of(cluster.scratch, user)})"
    field = Field(
        "start_directory",
        "Start directory",
        default=directory.first,
        options=tuple(Option(each, titles[each]) for each in directory.choices),
    )
    roots = tuple(path_of(root, user) for root in directory.roots)
    if not roots:
        return field
    allowed = f"{', '.join(directory.choices)}, or an absolute path below {' or '.join(roots)}"
    return replace(
        field,
        kind="text",
        pattern=rf"{'|'.join(directory.choices)}|{PATH}",
        allowed=allowed,
        hint=f"Choose {allowed}.",
        accepts=lambda path: (
            "" if not path.startswith("/") or is_below(path, roots) else f"must be {allowed}"
        ),
    )


def _nodes(cluster: Cluster) -> Field:
    field = Field("nodes", "Nodes", default="1", advanced=True, hint="JupyterLab runs on the first of them.")
    if cluster.max_nodes == 1:
        return replace(field, options=(Option("1", "1"),))
    most = max(partition.max_nodes or cluster.max_nodes for partition in cluster.partitions)
    return replace(field, kind="number", minimum=1, maximum=min(most, cluster.max_nodes))


def _reservation(cluster: Cluster) -> Iterator[Field]:
    if cluster.own_reservation:
        yield Field(
            "reservation",
            "Reservation",
            kind="text",
            pattern=WORD,
            allowed="the name of a reservation",
            hint="Empty for none.",
            advanced=True,
        )


def matches(pattern: str, text: str) -> bool:
    """Tell whether a text is, as a whole, of a pattern."""
    return re.fullmatch(pattern, text) is not None
