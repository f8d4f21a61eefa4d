"""The model of a cluster file: everything that the hub needs to know of a cluster, as data."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    StringConstraints,
    model_validator,
)

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
"""A name that Slurm or FirecREST knows something by."""

NodePath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_.-]+)+$")]
"""An absolute path on the compute nodes; nothing in it needs quoting."""

HomePath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_.-]+)*/\{user\}$")]
"""Where home directories lie: an absolute path that ends in `/{user}`."""

Port = Annotated[int, Field(ge=1024, le=65535)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(ip_network)]
Minutes = Annotated[int, Field(ge=1, le=60 * 24 * 365)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Firecrest(_Model):
    """Where the cluster's FirecREST is.

    Attributes:
        url: Base URL of FirecREST v2.
        system: Name of the cluster there.
    """

    url: HttpUrl
    system: Word


class Partition(_Model):
    """A Slurm partition that users may choose.

    Attributes:
        name: Its name in Slurm.
        time_limit: Longest session in minutes.
        hint: One line for users.
    """

    name: Word
    time_limit: Minutes
    hint: Annotated[str, StringConstraints(max_length=200)] = ""


class Cluster(_Model):
    """One cluster file.

    Attributes:
        name: Short name, the same as the file's.
        title: Name for people.
        firecrest: Where jobs are submitted.
        home: Where home directories lie on the cluster; `{user}` stands for the user's name.
        launcher: The `launcher-singleuser` program on the compute nodes.
        partitions: What users may choose from; the first is the default.
        times: Session lengths in minutes to choose from.
        default_time: The one that is chosen at first.
        node_addresses: Networks of the compute nodes; a server may listen, and is sought, only there.
        ports: First and last port for servers; without it any free one.
        claim_timeout: Seconds that a running job may take until it claims its launch.
        template: Batch template, in the directory of the batch templates.
    """

    name: Word
    title: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    firecrest: Firecrest
    home: HomePath
    launcher: NodePath
    partitions: Annotated[tuple[Partition, ...], Field(min_length=1)]
    times: Annotated[tuple[Minutes, ...], Field(min_length=1)] = (60, 120, 240, 480)
    default_time: Minutes = 60
    node_addresses: Annotated[tuple[Network, ...], Field(min_length=1)]
    ports: tuple[Port, Port] | None = None
    claim_timeout: Annotated[int, Field(ge=10, le=3600)] = 120
    template: Word = "slurm.sh.j2"

    @model_validator(mode="after")
    def _relations(self) -> Self:
        names = [partition.name for partition in self.partitions]
        if len(set(names)) < len(names):
            raise ValueError("partitions: two have the same name")
        if self.default_time not in self.times:
            raise ValueError(f"default_time: {self.default_time} is not one of times")
        if min(self.times) > max(partition.time_limit for partition in self.partitions):
            raise ValueError("times: every one is above the time limit of every partition")
        if self.ports and self.ports[0] > self.ports[1]:
            raise ValueError("ports: the first is above the last")
        return self

    def partition(self, name: str) -> Partition | None:
        """Return the partition of that name, or None."""
        return next((partition for partition in self.partitions if partition.name == name), None)

    def home_of(self, user: str) -> str:
        """Return a user's home directory on the cluster."""
        return self.home.replace("{user}", user)
