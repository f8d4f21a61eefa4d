"""Jobs, nodes and partitions in the JSON of FirecREST v2."""

from typing import Any

from launcher.sandbox.scheduler import Job, JobState, Node, Partition

_NEVER_RAN = ("", "None assigned")


def has_ended(job: Job) -> bool:
    """Whether the job will never run again; a state that is not Slurm's is not an end."""
    word = job.state.partition(" ")[0]
    return word in JobState.__members__ and JobState(word).ended


def job_status(job: Job, cluster: str) -> dict[str, Any]:
    """A member of `jobs` in the answer of `…/jobs` and `…/jobs/{job}`."""
    pending = job.state == JobState.PENDING
    ended = has_ended(job)
    return {
        "jobId": job.id,
        "name": job.name,
        "status": {
            "state": job.state,
            "stateReason": job.reason,
            "exitCode": job.exit_code,
            "interruptSignal": job.signal,
        },
        "tasks": [] if pending or job.nodes in _NEVER_RAN else [_batch_step(job, ended=ended)],
        "time": {
            "elapsed": job.elapsed,
            "start": job.start,
            "end": job.end if pending or ended else None,
            "suspended": None if pending else 0,
            "limit": job.limit,
        },
        "account": job.project,
        "allocationNodes": job.allocation_nodes,
        "cluster": cluster,
        "group": job.group,
        "nodes": job.nodes,
        "partition": job.partition,
        "killRequestUser": None,
        "user": job.account_name or job.unix_user,
        "workingDirectory": job.working_directory,
        "priority": job.priority,
    }


def _batch_step(job: Job, *, ended: bool) -> dict[str, Any]:
    # Whatever kills the script, its step is only said to be cancelled.
    killed = ended and (bool(job.signal) or job.state not in (JobState.COMPLETED, JobState.FAILED))
    return {
        "id": f"{job.id}.batch",
        "name": "batch",
        "status": {
            "state": JobState.CANCELLED if killed else job.state,
            "stateReason": None,
            "exitCode": job.exit_code,
            "interruptSignal": job.signal,
        },
        "time": {
            "elapsed": job.elapsed,
            "start": job.start,
            "end": job.end if ended else None,
            "suspended": 0,
            "limit": None,
        },
    }


def job_metadata(job: Job, *, own: bool) -> dict[str, Any]:
    """A member of `jobs` in the answer of `…/jobs/{job}/metadata`; the script is its owner's only."""
    return {
        "jobId": job.id,
        "script": job.script if own else "",
        "standardInput": job.standard_input,
        "standardOutput": job.standard_output,
        "standardError": job.standard_error,
    }


def node_status(node: Node) -> dict[str, Any]:
    """A member of `nodes`."""
    return {
        "sockets": node.sockets,
        "cores": node.cores,
        "threads": node.threads,
        "cpus": node.cpus,
        "cpuLoad": node.cpu_load,
        "freeMemory": node.free_memory,
        "features": node.features,
        "name": node.name,
        "address": node.address,
        "hostname": node.hostname,
        "state": list(node.state),
        "partitions": list(node.partitions),
        "weight": node.weight,
        "allocMemory": node.allocated_memory,
        "allocCpus": node.allocated_cpus,
        "idleCpus": node.cpus - node.allocated_cpus,
    }


def partition_status(partition: Partition) -> dict[str, Any]:
    """A member of `partitions`."""
    return {
        "name": partition.name,
        "cpus": partition.cpus,
        "totalNodes": partition.nodes,
        "partition": partition.state,
    }
