"""A launch that a user may have."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LaunchRequest:
    """A launch that a user may have: every value is one that the cluster file allows.

    Attributes:
        environment: Id of an environment of the cluster file.
        partition: Name of a partition of the cluster file.
        time: Session length in minutes.
        nodes: Number of nodes.
        start_directory: Absolute path where JupyterLab opens.
        image: The uenv image, a label or a path; None where the environment is no uenv.
        view: The image's view; None for its default view.
        edf: The container's environment definition file; None where the environment is no container.
        account: Slurm account; None for the user's default.
        reservation: Slurm reservation, or None.
        constraint: Features of the nodes, or None.
        qos: QoS, or None.
        gpus: GPUs on each node; None for whatever the partition gives.
        cpus: CPUs on each node; None for whatever the partition gives.
        memory: Memory on each node, such as `64G`; None for whatever the partition gives.
        options: The options that led here, as `parse_options` takes them again.
    """

    environment: str
    partition: str
    time: int
    nodes: int
    start_directory: str
    image: str | None = None
    view: str | None = None
    edf: str | None = None
    account: str | None = None
    reservation: str | None = None
    constraint: str | None = None
    qos: str | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory: str | None = None
    options: dict[str, str | int] = field(default_factory=dict, compare=False)
