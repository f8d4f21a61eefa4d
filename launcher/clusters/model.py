"""The model of a cluster file: everything that the hub needs to know of a cluster, as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, HttpUrl, model_validator

from launcher.clusters.choice import Choice
from launcher.clusters.environment import (
    ContainerEnvironment,
    Environment,
    HostEnvironment,
    Tools,
    Uenv,
    UenvEnvironment,
    image_name,
)
from launcher.clusters.node import NodeAddresses
from launcher.clusters.notice import Announcement, Maintenance
from launcher.clusters.partition import Partition, Times, usual_times
from launcher.clusters.values import (
    Constraint,
    Count,
    CountOrNone,
    Directive,
    GlibcVersion,
    Gres,
    HomePath,
    Line,
    Memory,
    Minutes,
    NodePath,
    Port,
    Seconds,
    Shell,
    Switch,
    UserPath,
    Word,
)
from launcher.yaml_file import Part, Place

OptionName = Literal[
    "environment",
    "uenv",
    "edf",
    "view",
    "partition",
    "time",
    "account",
    "gpus",
    "start_directory",
    "nodes",
    "cpus",
    "memory",
    "constraint",
    "qos",
    "reservation",
]
"""What users may ask for, where the cluster file leaves them a choice."""

_OURS = {
    "--job-name": "the launcher",
    "--output": "the launcher",
    "--error": "the launcher",
    "--no-requeue": "the launcher",
    "--requeue": "the launcher",
    "--export": "the launcher",
    "--export-file": "the launcher",
    "--get-user-env": "the launcher, which needs no log-in shell",
    "--chdir": "the launcher",
    "--array": "the launcher",
    "--wrap": "the launcher",
    "--wait": "the launcher",
    "--parsable": "the launcher",
    "--ntasks": "the launcher",
    "--ntasks-per-node": "the launcher",
    "--tasks-per-node": "the launcher",
    "--test-only": "nobody, as no job would run",
    "--hold": "nobody, as no job would run",
    "--help": "nobody, as no job would run",
    "--usage": "nobody, as no job would run",
    "--version": "nobody, as no job would run",
    "--clusters": "firecrest.system",
    "--signal": "end_warning",
    "--partition": "partitions",
    "--time": "times",
    "--nodes": "max_nodes",
    "--account": "accounts",
    "--constraint": "constraint",
    "--qos": "qos",
    "--reservation": "reservation",
    "--cpus-per-task": "cpus",
    "--mem": "memory",
    "--uenv": "environments",
    "--view": "environments",
    "--repo": "uenv.repo",
    "--environment": "environments",
}
"""Option of sbatch → what sets it: a second one would win, or lose, without a word."""


class Firecrest(Part):
    """Where the cluster's FirecREST is."""

    url: HttpUrl
    """Base URL of FirecREST v2."""
    system: Word
    """Name of the cluster there."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that the URL, which people read, holds no secret."""
        if self.url.username or self.url.password:
            yield ("url",), "no name and no password goes here: each user's own token is used"
        if self.url.query or self.url.fragment:
            yield ("url",), "a base URL ends with its path"


class Words(Choice[Word]):
    """One name or several."""


class Constraints(Choice[Constraint]):
    """One constraint or several."""


class Counts(Choice[Count]):
    """One number or several."""


class Gpus(Choice[CountOrNone]):
    """One number of GPUs or several; 0 asks for none."""


class Memories(Choice[Memory]):
    """One amount of memory or several."""


class StartDirectory(Choice[Literal["home", "scratch"]]):
    """Directories that JupyterLab may open in."""

    choices: tuple[Literal["home", "scratch"], ...] = Field(default=("home",), min_length=1)
    """What users may choose from."""
    roots: tuple[UserPath, ...] = ()
    """Directories below which users may name another; `{user}` stands for the user's name."""


class Idle(Part):
    """When a server and its kernels end by themselves; without a number never."""

    server: Minutes | None = None
    """A server that nobody uses ends after so many minutes; its user is warned before."""
    kernel: Minutes | None = None
    """A kernel that nobody is connected to and that runs nothing ends after so many minutes."""


class Cluster(Part):
    """A cluster file: what the hub knows of one cluster."""

    name: Word
    """Short name, the same as the file's."""
    title: Line = ""
    """Name for people; without it the short name."""
    description: Line = ""
    """One line for people, above the form."""
    firecrest: Firecrest
    """Where jobs are submitted."""
    architecture: Literal["x86_64", "aarch64"] = "x86_64"
    """The nodes' processors."""
    glibc: GlibcVersion | None = None
    """The nodes' C library: images that bring programs for the host are built for it."""
    home: HomePath
    """Where home directories lie; jobs are submitted, and write their log, there."""
    scratch: UserPath | None = None
    """Where scratch directories lie; `{user}` stands for the user's name."""
    start_directory: StartDirectory = StartDirectory()
    """Where JupyterLab opens."""

    partitions: tuple[Partition, ...] = Field(min_length=1)
    """What users may choose from; the first is chosen at first."""
    times: Times = Times()
    """How long sessions may be, in minutes."""
    max_nodes: Count = 1
    """Most nodes of a session; above 1 users choose. The server runs on the first of them."""
    accounts: Literal["firecrest"] | Words | None = None
    """Slurm accounts: `firecrest` offers each user's own; without it Slurm takes the user's default."""
    constraint: Constraints | None = None
    """Features that nodes must have."""
    reservation: Word | None = None
    """The reservation that sessions run in."""
    own_reservation: Switch = False
    """Whether users may name a reservation of theirs."""
    qos: Words | None = None
    """The QoS of sessions."""
    gres: Gres = "gpu"
    """The generic resource that `gpus` counts: `gpu`, or `gpu:type`."""
    gpus: Gpus | None = None
    """GPUs on each node; without it whatever the partition gives."""
    cpus: Counts | None = None
    """CPUs on each node; without it whatever the partition gives."""
    memory: Memories | None = None
    """Memory on each node; without it whatever the partition gives."""
    directives: tuple[Directive, ...] = ()
    """More options of sbatch, for all sessions."""

    launcher: NodePath | None = None
    """`launcher-singleuser` on the nodes; needed where no tools image brings it."""
    tools: Tools | None = None
    """The uenv that holds JupyterLab, mounted beside the environment."""
    uenv: Uenv = Uenv()
    """How uenv images are attached."""
    environments: tuple[Environment, ...] = Field(
        default=(HostEnvironment(id="host", title="Host", kind="host"),), min_length=1
    )
    """What users may choose from; the first is chosen at first."""
    prologue: Shell = ""
    """Lines of Bash before the server starts."""
    epilogue: Shell = ""
    """Lines of Bash after the server has ended, however it ended."""
    template: Word = "slurm.sh.j2"
    """The batch template: beside the cluster file, one directory above it, or this project's own."""

    node_addresses: NodeAddresses
    """Where servers are: they listen, and the proxy is led, nowhere else."""
    ports: tuple[Port, Port] | None = None
    """First and last port for servers, for a firewall; without it any free one."""
    hub_ca: NodePath | None = None
    """Certificates (PEM) that nodes trust at the hub's public URL; without it those of the system."""
    claim_timeout: Seconds = 120
    """Seconds that a running job may take to reach the hub."""

    vscode: Switch = True
    """Whether JupyterLab offers VS Code, where the environment has it."""
    proxy: Switch = False
    """Whether `/proxy/<port>` of a server hands on to ports that its user's programs listen on."""
    idle: Idle = Idle()
    """What happens to sessions that nobody uses."""
    warnings: tuple[Minutes, ...] = (30, 10, 2)
    """Minutes before a session ends at which its user is told, in JupyterLab; `[]` for never."""
    end_warning: Seconds = 60
    """Seconds before the end of a session's time at which its server is told to save and end."""
    links: tuple[OptionName, ...] = ()
    """Options that a link may choose; a link may come from anybody."""
    announcements: tuple[Announcement, ...] = ()
    """Messages that users see above the form."""
    maintenance: tuple[Maintenance, ...] = ()
    """Times in which no job runs."""

    @model_validator(mode="before")
    @classmethod
    def _usual_times_fit(cls, given: Any) -> Any:
        """Let the times that nobody named be such as the partitions allow."""
        if not isinstance(given, dict) or "times" in given or not isinstance(given.get("partitions"), list):
            return given
        limits = []
        for partition in given["partitions"]:
            values = partition if isinstance(partition, dict) else {}
            known = [values.get(key) for key in ("time_limit", "max_node_minutes")]
            limits += (
                [min(number for number in known if type(number) is int)] if type(known[0]) is int else []
            )
        return {**given, "times": usual_times(limits)} if limits and min(limits) > 0 else given

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check what several keys say together."""
        yield from _repeated("partitions", "name", [each.name for each in self.partitions])
        yield from _repeated("environments", "id", [each.id for each in self.environments])
        yield from self._times()
        yield from self._resources()
        yield from self._places()
        for position, environment in enumerate(self.environments):
            for place, message in self._attached(environment):
                yield ("environments", position, *place), message
        for position, directive in enumerate(self.directives):
            name = directive.split("=")[0]
            if key := self._set_by(name):
                yield ("directives", position), f"{name} is set by {key}"

    def _set_by(self, directive: str) -> str:
        """Return what sets an option of sbatch here, or nothing."""
        if self.gpus and directive in ("--gres", "--gpus", "--gpus-per-node"):
            return "gpus"
        if self.memory and directive in ("--mem-per-cpu", "--mem-per-gpu"):
            return "memory"
        # sbatch takes the beginning of a name for the name.
        ours = directive if directive in _OURS else next((e for e in _OURS if e.startswith(directive)), "")
        return _OURS.get(ours, "")

    def _times(self) -> Iterator[tuple[Place, str]]:
        longest = max(partition.longest(1) for partition in self.partitions)
        above = f"is above the longest time limit of a partition, {longest}"
        for position, minutes in enumerate(self.times.choices):
            if minutes > longest:
                yield ("times", "choices", position), f"{minutes} {above}"
        if self.times.maximum and self.times.maximum > longest:
            yield ("times", "maximum"), f"{self.times.maximum} {above}"
        shortest = min(self.times.choices)
        least = self.shortest if self.times.maximum else shortest
        for position, partition in enumerate(self.partitions):
            limit = partition.longest(1)
            if limit < least:
                yield (
                    ("partitions", position, "time_limit"),
                    f"{limit} is below the shortest session, {least}",
                )
        if self.end_warning >= 60 * shortest:
            yield ("end_warning",), f"is as long as the shortest session, {shortest} minutes"
        for position, minutes in enumerate(self.warnings):
            if minutes in self.warnings[:position]:
                yield ("warnings", position), f"{minutes} stands here a second time"

    def _resources(self) -> Iterator[tuple[Place, str]]:
        if isinstance(self.accounts, Words) and "firecrest" in map(str.lower, self.accounts.choices):
            yield ("accounts",), "for the accounts that FirecREST tells, write just: firecrest"
        for position, partition in enumerate(self.partitions):
            if self.gpus is None:
                if partition.max_gpus is not None:
                    yield ("partitions", position, "max_gpus"), "no gpus are asked for"
            elif partition.max_gpus is not None and min(self.gpus.choices) > partition.max_gpus:
                zero = "; add 0 to gpus" if partition.max_gpus == 0 else ""
                yield ("partitions", position, "max_gpus"), f"is below every choice of gpus{zero}"
            for key in ("constraint", "qos"):
                choice = getattr(self, key)
                if getattr(partition, key) and choice and len(choice.choices) > 1:
                    yield ("partitions", position, key), f"users choose the {key} of this cluster"
            if partition.reservation and self.own_reservation:
                yield ("partitions", position, "reservation"), "users may name one of their own"
        if self.reservation and self.own_reservation:
            yield ("own_reservation",), "sessions run in the reservation that this file names"

    def _places(self) -> Iterator[tuple[Place, str]]:
        if "scratch" in self.start_directory.choices and not self.scratch:
            yield ("start_directory",), "scratch is a choice, but this file does not say where it is"
        if self.ports and self.ports[0] > self.ports[1]:
            yield ("ports",), "the first is above the last"
        if self.tools and self.uenv.attach == "squashfs-mount" and not self.tools.image.startswith("/"):
            yield ("tools", "image"), "squashfs-mount needs the path of a file, not a label"

    def _attached(self, environment: Environment) -> Iterator[tuple[Place, str]]:
        if isinstance(environment, ContainerEnvironment):
            return
        if not (environment.launcher or self.tools or self.launcher):
            yield (), "nothing brings launcher-singleuser: launcher, tools or an own launcher is needed"
        if not isinstance(environment, UenvEnvironment):
            return
        if self.tools and (environment.mount or self.uenv.mount) == self.tools.mount:
            yield ("mount",), f"{self.tools.mount} is where the tools image is mounted"
        if self.tools and not environment.launcher and environment.image:
            name = image_name(environment.image)
            if name and name == image_name(self.tools.image):
                yield ("image",), f"{name} is the name of the tools image: uenv would mount one of them only"
        if self.uenv.attach == "squashfs-mount":
            if environment.image and not environment.image.startswith("/"):
                yield ("image",), "squashfs-mount needs the path of a file, not a label"
            if environment.typed and environment.typed.labels:
                yield ("typed", "labels"), "squashfs-mount knows files only"

    @property
    def shortest(self) -> int:
        """The shortest session, in minutes, that is not told to end as it begins."""
        return self.end_warning // 60 + 1

    @property
    def label(self) -> str:
        """The name for people."""
        return self.title or self.name

    def partition(self, name: str) -> Partition | None:
        """Return the partition of that name, or None."""
        return next((partition for partition in self.partitions if partition.name == name), None)

    def environment(self, name: str) -> Environment | None:
        """Return the environment of that id, or None."""
        return next((environment for environment in self.environments if environment.id == name), None)

    def home_of(self, user: str) -> str:
        """Return a user's home directory on the cluster."""
        return path_of(self.home, user)


def path_of(path: str, user: str) -> str:
    """Return a path with the user's name in its place."""
    return path.replace("{user}", user)


def _repeated(key: str, inner: str, names: list[str]) -> Iterator[tuple[Place, str]]:
    for position, name in enumerate(names):
        if name in names[:position]:
            yield (key, position, inner), f"{name} stands here a second time"
