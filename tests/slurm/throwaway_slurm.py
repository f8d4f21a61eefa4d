"""A Slurm controller with the partitions, nodes and names of a cluster file, to ask what it would take.

It runs no job: its nodes are of a cloud that is never switched on, which `sbatch --test-only` plans with.
A name of an account or a QoS means nothing to a Slurm without accounting, so its job submit plugin knows
those of the cluster file.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.clusters import Cluster
from launcher.sandbox.scheduler import slurm_daemons
from launcher.sandbox.scheduler.slurm_conf import Host
from launcher.sandbox.scheduler.slurm_daemons import SlurmDaemons
from launcher.sandbox.unix_users import caller, program

RESERVATION = "workshop"
"""A reservation that is there where users may name their own."""
ACCOUNTS = ("proj1", "proj2")
"""A user's accounts where they come from FirecREST."""
_MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_CONFIGURATION = """\
ClusterName={name}
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
StateSaveLocation={directory}/state
SlurmctldPidFile={directory}/slurmctld.pid
CommunicationParameters=NoCtldInAddrAny
AccountingStorageType=accounting_storage/none
JobSubmitPlugins=lua
PlugStackConfig={directory}/etc/plugstack.conf
EnforcePartLimits=ALL
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
MpiDefault=none
MailProg=/bin/true
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=1
"""
_JOB_SUBMIT = """\
local accounts = {{ {accounts} }}
local qualities = {{ {qualities} }}
function slurm_job_submit(job, partitions, user)
    if job.account and not accounts[job.account] then return 2045 end -- ESLURM_INVALID_ACCOUNT
    if job.qos and not qualities[job.qos] then return 2066 end -- ESLURM_INVALID_QOS
    return slurm.SUCCESS
end
function slurm_job_modify() return slurm.SUCCESS end
return slurm.SUCCESS
"""


@dataclass(frozen=True)
class Answer:
    """What sbatch said to a script.

    Attributes:
        accepted: Whether the job would run.
        words: Its words.
    """

    accepted: bool
    words: str


class ThrowawaySlurm:
    """A controller for one cluster file.

    Args:
        directory: Where all that is its own goes; a short path.
        cluster: What it is like.
        plugin: SPANK plugin that sbatch loads.
    """

    def __init__(self, directory: Path, cluster: Cluster, plugin: Path) -> None:
        self._cluster = cluster
        self._plugin = plugin
        self._daemons = SlurmDaemons(directory)

    async def start(self) -> None:
        """Start the controller, with all reservations."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(slurm_daemons, "write_configuration", self._write)
            patch.setattr(slurm_daemons, "NODES", ())
            await self._daemons.start(open_books=self._answers, ready=self._answers)
        for name, nodes in reservations(self._cluster).items():
            status, words = await self._run(
                *(
                    "scontrol",
                    "create",
                    "reservation",
                    f"ReservationName={name}",
                    f"Users={caller().pw_name}",
                ),
                *("StartTime=now", "Duration=infinite", f"Nodes={','.join(nodes)}"),
            )
            assert not status, words

    async def stop(self) -> None:
        """End the controller."""
        await self._daemons.stop()

    async def ask(self, script: str) -> Answer:
        """Have a script checked by `sbatch --test-only`."""
        status, words = await self._run("sbatch", "--test-only", text=script)
        return Answer(status == 0, words)

    async def _answers(self) -> bool:
        status, _ = await self._run("scontrol", "ping")
        return status == 0

    def _write(self, directory: Path, host: Host, *_: object, **__: object) -> None:
        address = socket.gethostbyname(host.name)
        with socket.create_server((address, 0)) as probe:
            port = probe.getsockname()[1]
        text = _CONFIGURATION.format(
            name=self._cluster.name,
            host=host.name,
            address=address,
            port=port,
            directory=directory,
            user=caller().pw_name,
        )
        known = {"accounts": accounts(self._cluster), "qualities": _qualities(self._cluster)}
        lua = {key: ", ".join(f'["{name}"] = true' for name in names) for key, names in known.items()}
        for name, content in {
            "slurm.conf": text + "\n".join([*_nodes(self._cluster), ""]),
            "job_submit.lua": _JOB_SUBMIT.format(**lua),
            "plugstack.conf": f"required {self._plugin}\n",
        }.items():
            (directory / "etc" / name).write_text(content)

    async def _run(self, *command: str, text: str = "") -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(program(command[0]), *command[1:]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", **self._daemons.environment},
            cwd="/",
        )
        output, _ = await process.communicate(text.encode())
        return process.returncode or 0, output.decode(errors="replace")


def accounts(cluster: Cluster) -> tuple[str, ...]:
    """Return the accounts of a cluster: those of its file, or a user's as FirecREST would tell them."""
    return ACCOUNTS if cluster.accounts in (None, "firecrest") else cluster.accounts.choices


def reservations(cluster: Cluster) -> dict[str, list[str]]:
    """Return the reservations of a cluster, each with the nodes that are for nobody else."""
    names = {cluster.reservation, *(each.reservation for each in cluster.partitions)} - {None}
    if cluster.own_reservation:
        names.add(RESERVATION)
    slices = enumerate(sorted(str(name) for name in names), 1)
    return {
        name: [_names(cluster, number, position) for number in range(len(cluster.partitions))]
        for position, name in slices
    }


def _qualities(cluster: Cluster) -> tuple[str, ...]:
    chosen = cluster.qos.choices if cluster.qos else ()
    return (*chosen, *(each.qos for each in cluster.partitions if each.qos))


def _names(cluster: Cluster, number: int, slice_: int) -> str:
    """Return the nodes of a partition that are for no reservation (0) or for one."""
    size = cluster.partitions[number].max_nodes or cluster.max_nodes
    return f"p{number}s{slice_}-[1-{size}]"


def _nodes(cluster: Cluster) -> Iterator[str]:
    """Yield the lines of nodes and partitions; nodes have what users may ask for there, and no more."""
    cpus = max(cluster.cpus.choices) if cluster.cpus else 128
    memory = max(map(_megabytes, cluster.memory.choices)) if cluster.memory else 512 * 1024
    gpus = max(cluster.gpus.choices) if cluster.gpus else 4
    chosen = cluster.constraint.choices if cluster.constraint else ()
    for number, partition in enumerate(cluster.partitions):
        expressions = (partition.constraint,) if partition.constraint else chosen
        features = dict.fromkeys(word for text in expressions for word in re.findall(r"[\w.-]+", text))
        count = gpus if partition.max_gpus is None else partition.max_gpus
        node = f"State=CLOUD CPUs={cpus} RealMemory={memory}"
        node += f" Feature={','.join(features)}" if features else ""
        node += f" Gres={cluster.gres}:{count}" if count else ""
        slices = [_names(cluster, number, each) for each in range(1 + len(reservations(cluster)))]
        for names in slices:
            yield f"NodeName={names} {node}"
        line = f"PartitionName={partition.name} Nodes={','.join(slices)} MaxTime={partition.time_limit}"
        yield f"{line} MaxNodes={partition.max_nodes or 'UNLIMITED'} State=UP"


def _megabytes(memory: str) -> int:
    return max(1, round(int(memory[:-1]) * _MEGABYTES[memory[-1]]))
