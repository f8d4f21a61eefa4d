"""The configuration of the sandbox's own Slurm, and the host that its daemons believe to run on."""

import math
import os
import random
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import SandboxError
from launcher.sandbox.unix_users import caller, program

CLUSTER = "sandbox"
NODES = ("nid001", "nid002")
KILL_WAIT = 10
SLOTS = 8
"""Jobs that run at once, on all nodes, if nobody wants another number."""
_PORTS = (20000, 32000)
"""Below those that the kernel gives to connections."""
_CONFIGURATION = """\
ClusterName={cluster}
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
# Listen on what the host's name means, not on all addresses.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
# Several nodes on one host, with processors that it may not have, and no rights on cgroups.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# What has ended stays known for a day.
MinJobAge=86400
# Without cgroups, Slurm finds no process of a job that left its family.
Epilog={directory}/etc/epilog
# A job starts within a second if there is room.
SchedulerParameters=batch_sched_delay=0,bf_interval=1
KillWait={kill_wait}
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
"""
_WITHOUT_ACCOUNTING = "AccountingStorageType=accounting_storage/none\n"
_WITH_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={accounting_port}
# What authenticates to slurmdbd; AuthInfo is not used for it.
AccountingStoragePass={directory}/munge/socket
AccountingStorageEnforce=associations,limits,qos
PreemptType=preempt/qos
PreemptMode=CANCEL
"""
_ACCOUNTING = """\
DbdHost={host}
DbdAddr={address}
DbdPort={accounting_port}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
PidFile={directory}/slurmdbd.pid
# Listen on what the host's name means, not on all addresses.
CommunicationParameters=NoInAddrAny
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm
"""
_EPILOG = """\
#!/bin/sh
# Ends what is left of a job's processes: those that have its id, and this Slurm, in their environment.
# Begun anew without the two, this script does not find itself.
[ "$SLURM_JOB_ID" ] && exec env -i PATH=/usr/bin:/bin "$0" "$SLURM_JOB_ID"
found=$(grep -lszxF "SLURM_JOB_ID=$1" /proc/[0-9]*/environ)
grep -lszxF "SLURM_CONF={directory}/etc/slurm.conf" $found /dev/null | tr -dc '0-9\\n' | xargs -r kill -KILL
exit 0
"""


@dataclass(frozen=True)
class Host:
    """A host name of a loopback address.

    Attributes:
        name: As gethostname(2) gives it, up to its first dot.
        prefix: What a command must start with to be on that host.
    """

    name: str
    prefix: tuple[str, ...] = ()


def find_host() -> Host:
    """A host on which Slurm's daemons, which listen on the address of gethostname(2), listen to loopback.

    Where this machine's name has another address, root can have another name in a UTS namespace.

    Raises:
        SandboxError: There is none.
    """
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        address = "unknown"
    if address.startswith("127."):
        return Host(name.partition(".")[0])
    rename = (program("unshare"), "--uts", "--", "/bin/sh", "-c", 'hostname localhost && exec "$@"', "sh")
    if not subprocess.run([*rename, "true"], check=False, capture_output=True).returncode:
        return Host("localhost", rename)
    raise SandboxError(
        "Slurm's daemons would listen to the network here.",
        why=f"They listen on the address of this machine's name, {name}, which is {address}.",
        todo=f"Add `127.0.1.1 {name}` to /etc/hosts, or run jobs as plain processes.",
    )


def write_configuration(
    directory: Path, host: Host, partitions: Mapping[str, int], *, accounting: bool, slots: int = SLOTS
) -> None:
    """Write slurm.conf(5), with free ports, slurmdbd.conf(5), and the epilog.

    Args:
        directory: Where all that is Slurm's lies; the three are for its directory `etc`.
        host: Where the daemons run.
        partitions: Their names, the default one first, and the longest job of each in seconds.
        accounting: Whether slurmdbd runs.
        slots: How many jobs run at once, at least.
    """
    epilog = directory / "etc/epilog"
    epilog.write_text(_EPILOG.format(directory=directory), encoding="utf-8")
    epilog.chmod(0o755)
    address = socket.gethostbyname(host.name)
    port, accounting_port, *node_ports = _free_ports(address, 2 + len(NODES))
    values = {
        "cluster": CLUSTER,
        "host": host.name,
        "address": address,
        "port": port,
        "accounting_port": accounting_port,
        "user": caller().pw_name,
        "directory": directory,
        "kill_wait": KILL_WAIT,
    }
    text = _CONFIGURATION + (_WITH_ACCOUNTING if accounting else _WITHOUT_ACCOUNTING)
    lines = [*_nodes(host, address, node_ports, slots), *_partitions(partitions), ""]
    slurm = directory / "etc/slurm.conf"
    slurm.write_text(text.format_map(values) + "\n".join(lines), encoding="utf-8")
    if accounting:
        slurmdbd = directory / "etc/slurmdbd.conf"
        slurmdbd.touch(mode=0o600)
        slurmdbd.write_text(_ACCOUNTING.format_map(values), encoding="utf-8")


def _nodes(host: Host, address: str, ports: Sequence[int], slots: int) -> list[str]:
    cpus = math.ceil(slots / len(ports))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    node = f"NodeHostname={host.name} NodeAddr={address} CPUs={cpus} RealMemory={memory}"
    return [f"NodeName={name} Port={port} {node}" for name, port in zip(NODES, ports, strict=True)]


def _partitions(partitions: Mapping[str, int]) -> list[str]:
    lines = [
        f"PartitionName={name} Nodes=ALL MaxTime={limit // 60} State=UP" for name, limit in partitions.items()
    ]
    lines[0] += " Default=YES"
    return lines


def _free_ports(address: str, count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randrange(*_PORTS)  # noqa: S311 - it is no secret
        with socket.socket() as probe:
            if probe.connect_ex((address, port)):
                ports.add(port)
    return sorted(ports)
