"""A cluster file as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.clusters.environment import ContainerEnvironment, Environment, UenvEnvironment
from launcher.clusters.fields import Field, duration, fields, roots_of
from launcher.clusters.model import Cluster
from launcher.clusters.script import log_path

_USER = "{user}"


@dataclass(frozen=True)
class Table:
    """Rows of text below a title.

    Attributes:
        title: What it is about.
        rows: The rows, all of one length.
        header: Names of the columns; empty where the first column names the second.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()


def overview(cluster: Cluster) -> list[Table]:
    """Return all that a cluster file says; tables without a row are left out."""
    tables = (
        Table("Cluster", tuple(_identity(cluster))),
        _table(
            "Partitions",
            list(_partitions(cluster)),
            ("NAME", "TIME", "NODES", "NODE-TIME", "GPUS", "QOS", "CONSTRAINT", "RESERVATION", "HINT"),
        ),
        _table(
            "Environments",
            [_environment(cluster, each) for each in cluster.environments],
            ("ID", "KIND", "TITLE", "IMAGE", "VIEW", "MOUNT", "LAUNCHER", "HINT"),
        ),
        _table(
            "What users choose",
            [_choice(cluster, each) for each in fields(cluster, _USER)],
            ("OPTION", "DEFAULT", "ALLOWED", "NOTES"),
        ),
        Table("Jobs", tuple(_jobs(cluster))),
        Table("Images", tuple(_images(cluster))),
        Table("Network", tuple(_network(cluster))),
        Table("Sessions", tuple(_sessions(cluster))),
        Table("Notices", tuple(_notices(cluster))),
    )
    return [table for table in tables if table.rows]


def _table(title: str, rows: list[tuple[str, ...]], header: tuple[str, ...]) -> Table:
    """Return a table without the columns that say nothing."""
    columns = [
        position for position in range(len(header)) if any(row[position] not in ("", "-") for row in rows)
    ]
    header, *told = (tuple(row[position] for position in columns) for row in (header, *rows))
    return Table(title, tuple(told), header)


def _identity(cluster: Cluster) -> Iterator[tuple[str, str]]:
    yield "name", cluster.name
    if cluster.title:
        yield "title", cluster.title
    if cluster.description:
        yield "description", cluster.description
    yield "FirecREST", str(cluster.firecrest.url)
    yield "system", cluster.firecrest.system
    yield "architecture", cluster.architecture
    yield "glibc", cluster.glibc or "not known"
    yield "home", cluster.home
    yield "scratch", cluster.scratch or "none"
    yield "job's log", log_path(cluster, _USER, "%j")


def _partitions(cluster: Cluster) -> Iterator[tuple[str, ...]]:
    for each in cluster.partitions:
        yield (
            each.name,
            duration(each.time_limit),
            _number(each.max_nodes),
            duration(each.max_node_minutes) if each.max_node_minutes else "-",
            _number(each.max_gpus),
            each.qos or "-",
            each.constraint or "-",
            each.reservation or "-",
            each.hint,
        )


def _environment(cluster: Cluster, environment: Environment) -> tuple[str, ...]:
    image = view = mount = "-"
    launcher = environment.launcher
    if isinstance(environment, ContainerEnvironment):
        image = environment.edf or "typed"
    else:
        launcher = launcher or (cluster.tools.program if cluster.tools else cluster.launcher)
    if isinstance(environment, UenvEnvironment):
        image = environment.image or "typed"
        view = "typed" if environment.typed or environment.typed_view else environment.view or "-"
        if environment.typed_view and environment.view:
            view = f"{environment.view}, or typed"
        mount = environment.mount or cluster.uenv.mount
    return (
        environment.id,
        environment.kind,
        environment.title,
        image,
        view,
        mount,
        launcher or "-",
        environment.hint,
    )


def _choice(cluster: Cluster, field: Field) -> tuple[str, ...]:
    if field.kind == "list":
        allowed = ", ".join(option.value for option in field.options)
    elif field.kind == "number":
        allowed = f"{field.minimum} to {field.maximum}"
    else:
        allowed = field.allowed
    notes = [
        "fixed" if field.fixed else "",
        "minutes" if field.name == "time" else "",
        f"{'needed' if field.needed else 'only'} with {', '.join(field.environments)}"
        if field.environments
        else "",
        "advanced" if field.advanced else "",
        "by links, too" if field.name in cluster.links else "",
    ]
    return field.name, field.default or "-", allowed, "; ".join(filter(None, notes))


def _jobs(cluster: Cluster) -> Iterator[tuple[str, str]]:
    accounts = cluster.accounts
    if accounts is None:
        yield "account", "the user's default in Slurm"
    elif accounts == "firecrest":
        yield "account", "the user's, from FirecREST"
    if cluster.reservation:
        yield "reservation", cluster.reservation
    if cluster.gpus:
        yield "GPUs as", f"--gres={cluster.gres}"
    for directive in cluster.directives:
        yield "sbatch option", directive
    yield "batch template", cluster.template
    for name, text in _prologues(cluster):
        for line in text.splitlines():
            yield name, line


def _prologues(cluster: Cluster) -> Iterator[tuple[str, str]]:
    yield "prologue", cluster.prologue
    for environment in cluster.environments:
        yield f"prologue of {environment.id}", environment.prologue
    yield "epilogue", cluster.epilogue


def _images(cluster: Cluster) -> Iterator[tuple[str, str]]:
    if cluster.launcher:
        yield "launcher on the nodes", cluster.launcher
    if cluster.tools:
        yield "tools image", cluster.tools.image
        yield "mounted at", cluster.tools.mount
        yield "launcher in it", cluster.tools.program
    if cluster.tools or any(isinstance(each, UenvEnvironment) for each in cluster.environments):
        yield "uenv attached by", cluster.uenv.attach
        yield "uenv mounted at", cluster.uenv.mount
        yield "uenv repository", cluster.uenv.repo or "the user's own"
        yield "missing images", "are pulled in the job" if cluster.uenv.pull else "are not pulled"
    for environment in cluster.environments:
        kinds = ["labels"] if isinstance(environment, UenvEnvironment) and _takes_labels(environment) else []
        if roots := roots_of(environment, _USER):
            kinds.append(f"files below {' or '.join(roots)}")
        if kinds:
            yield f"typed for {environment.id}", " or ".join(kinds)


def _network(cluster: Cluster) -> Iterator[tuple[str, str]]:
    addresses = cluster.node_addresses
    if addresses.networks:
        yield "node addresses", ", ".join(map(str, addresses.networks))
    if addresses.names:
        yield "node names", ", ".join(addresses.names)
    yield "interface", addresses.interface or "any"
    yield "ports", "{} to {}".format(*cluster.ports) if cluster.ports else "any free one"
    yield "hub reached within", f"{cluster.claim_timeout} s"


def _sessions(cluster: Cluster) -> Iterator[tuple[str, str]]:
    idle = cluster.idle
    yield "VS Code", "offered" if cluster.vscode else "not offered"
    yield "/proxy/<port>", "handed on" if cluster.proxy else "off"
    yield "idle server ends", f"after {duration(idle.server)}" if idle.server else "never"
    yield "idle kernel ends", f"after {duration(idle.kernel)}" if idle.kernel else "never"
    told = [duration(minutes) for minutes in cluster.warnings]
    yield "users warned", f"{', '.join(told)} before the end" if told else "never"
    yield "server ends", f"{cluster.end_warning} s before its job's time is over"


def _notices(cluster: Cluster) -> Iterator[tuple[str, str]]:
    for each in cluster.announcements:
        yield each.level, f"{each.text}{f' (until {each.until.isoformat()})' if each.until else ''}"
    for window in cluster.maintenance:
        text = f": {window.text}" if window.text else ""
        yield "maintenance", f"{window.start.isoformat()} to {window.end.isoformat()}{text}"


def _takes_labels(environment: UenvEnvironment) -> bool:
    return bool(environment.typed and environment.typed.labels)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
