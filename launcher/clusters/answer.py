"""The answer to a claim: what a job learns of its launch."""

from __future__ import annotations

import jupyterhub

from launcher.clusters import Cluster, LaunchRequest
from launcher.clusters.model import Idle
from launcher.clusters.script import mounts
from launcher.protocol import ClaimAnswer, Tls

_CULL_INTERVAL = 60
"""Seconds between two looks at the kernels: one ends at most so much later than the cluster file says."""


def claim_answer(
    cluster: Cluster,
    request: LaunchRequest,
    *,
    launch_id: str,
    launch_key: str,
    environment: dict[str, str],
    arguments: list[str],
    log: str = "",
    tls: Tls | None = None,
) -> ClaimAnswer:
    """Return what the job of a launch needs.

    Args:
        cluster: The cluster file that the launch began with.
        request: What the user asked for.
        launch_id: 32 hexadecimal digits.
        launch_key: 64 hexadecimal digits.
        environment: Variables of the single-user server.
        arguments: The admin's arguments of the single-user server; they win over the cluster file.
        log: Path of the job's log.
        tls: The server's certificate, with `internal_ssl`.
    """
    where, picked = cluster.node_addresses, cluster.environment(request.environment)
    return ClaimAnswer(
        launch_id=launch_id,
        launch_key=launch_key,
        environment=environment,
        arguments=[*_idle_arguments(cluster.idle, arguments), *arguments],
        networks=[str(network) for network in where.networks],
        names=list(where.names),
        interface=where.interface or "",
        ports=cluster.ports,
        start_directory=request.start_directory,
        vscode=cluster.vscode,
        jupyterhub_version=jupyterhub.__version__,
        tls=tls,
        cluster=cluster.title or cluster.name,
        title=picked.name if picked else "",
        kind=picked.kind if picked else "",
        images={mount.path: mount.image for mount in mounts(cluster, request)},
        cluster_name=cluster.name,
        log=log,
        proxy=cluster.proxy,
        warnings=list(cluster.warnings),
        end_warning=cluster.end_warning,
    )


def _idle_arguments(idle: Idle, given: list[str]) -> list[str]:
    """Return what ends unused sessions, but for what the admin gives: traitlets takes no value twice."""
    settings: dict[str, object] = {}
    if idle.server:
        settings["ServerApp.shutdown_no_activity_timeout"] = 60 * idle.server
    if idle.kernel:
        settings["MappingKernelManager.cull_idle_timeout"] = 60 * idle.kernel
        settings["MappingKernelManager.cull_interval"] = _CULL_INTERVAL
        settings["MappingKernelManager.cull_connected"] = False
        settings["MappingKernelManager.cull_busy"] = False
    names = {argument.lstrip("-").split("=")[0] for argument in given}
    return [f"--{name}={value}" for name, value in settings.items() if name not in names]
