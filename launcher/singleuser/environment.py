"""The two environments: the server's own, and the one of kernels, terminals and VS Code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from launcher.singleuser.image import Image, View, loaded_views
from launcher.singleuser.isolation import is_foreign
from launcher.view import Patch

_STEP = frozenset(
    # What srun says of the one task that this server is: srun(1), "Output environment variables".
    "SLURM_CPU_BIND SLURM_CPU_BIND_LIST SLURM_CPU_BIND_TYPE SLURM_CPU_BIND_VERBOSE SLURM_DISTRIBUTION "
    "SLURM_GTIDS SLURM_LAUNCH_NODE_IPADDR SLURM_LOCALID SLURM_MEM_BIND SLURM_MEM_BIND_LIST "
    "SLURM_MEM_BIND_PREFER SLURM_MEM_BIND_SORT SLURM_MEM_BIND_TYPE SLURM_MEM_BIND_VERBOSE SLURM_MPI_TYPE "
    "SLURM_NODEID SLURM_PMIXP_ABORT_AGENT_PORT SLURM_PMIX_MAPPING_SERV SLURM_PROCID SLURM_SRUN_COMM_HOST "
    "SLURM_SRUN_COMM_PORT SLURM_STEPID SLURM_STEPMGR SLURM_TASK_PID SLURM_UMASK SRUN_DEBUG "
    # What the batch script was submitted with, which an srun in a terminal would take for itself.
    "SLURM_EXPORT_ENV SLURM_NPROCS SLURM_NTASKS SLURM_NTASKS_PER_NODE "
    # What such a task is to MPI,
    "PMI_CONTROL_FD PMI_CONTROL_PORT PMI_FD PMI_ID PMI_JOBID PMI_LOCAL_RANK PMI_LOCAL_SIZE PMI_PORT PMI_RANK "
    "PMI_SHARED_SECRET PMI_SIZE PMI_UNIVERSE_SIZE PMIX_HOSTNAME PMIX_NAMESPACE PMIX_RANK PMIX_SECURITY_MODE "
    "OMPI_UNIVERSE_SIZE "
    # and to PyTorch: https://docs.pytorch.org/docs/stable/elastic/run.html, "Environment variables".
    "GROUP_RANK LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT RANK ROLE_NAME ROLE_RANK ROLE_WORLD_SIZE "
    "WORLD_SIZE".split()
)
_STEP_BEGINNINGS = ("SLURM_STEP_", "OMPI_COMM_WORLD_", "PMIX_SERVER_", "TORCHELASTIC_")


class Environments(NamedTuple):
    """What the server and its user's programs see.

    Attributes:
        server: The server's own: nothing of the user's Python or libraries.
        user: What kernels, terminals and VS Code have: the job's, with the views, without the job's step.
        bare: The same without any view: what another view is loaded into.
        images: The images of the session.
        views: The views that `user` has.
    """

    server: dict[str, str]
    user: dict[str, str]
    bare: dict[str, str]
    images: list[Image]
    views: list[View]

    @classmethod
    def of(cls, environment: Mapping[str, str], images: list[Image]) -> Environments:
        """Return the environments of a job.

        Args:
            environment: The job's environment.
            images: The images that it has.

        Raises:
            PreflightFailed: If an image has no view of the name that is wanted.
        """
        views = loaded_views(images, environment, sys.prefix)
        job = without_step(environment)
        # uenv itself may have loaded them, and lines of the batch script may have changed them since.
        loaded = [view for view in views if view.patch.is_loaded(job)]
        user = Patch.merged(view.patch for view in views if view not in loaded).applied(job)
        bare = job
        for view in reversed(loaded):
            bare = view.patch.undone(bare, view.mount)
        server = {name: value for name, value in bare.items() if not is_foreign(name)}
        server["PYTHONNOUSERSITE"] = "1"
        server["PATH"] = _first(f"{sys.prefix}/bin", server.get("PATH", os.defpath))
        return cls(server, user, bare, images, views)

    def with_view(self, view: View) -> dict[str, str]:
        """Return the user's environment with a view in the place of those of the same image."""
        others = [each.patch for each in self.views if each.mount != view.mount]
        return Patch.merged([*others, view.patch]).applied(self.bare)

    def add(self, variables: Mapping[str, str]) -> None:
        """Set variables in all of them."""
        for each in (self.server, self.user, self.bare):
            each.update(variables)


def added(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what JupyterLab has added to the server's environment to make that of a program."""
    return {name: value for name, value in environment.items() if os.environ.get(name) != value}


def without_step(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what makes `srun`, `mpirun` or `torchrun` take a program for a rank."""
    left = {
        name: value
        for name, value in environment.items()
        if name not in _STEP and not name.startswith(_STEP_BEGINNINGS)
    }
    if nodes := left.get("SLURM_JOB_NUM_NODES"):
        # In a step both are the step's. Open MPI's mpirun does not start in a job without the latter.
        left["SLURM_NNODES"] = nodes
        if "SLURM_STEP_ID" in environment:
            tasks = environment.get("SLURM_NTASKS_PER_NODE", "1")
            left["SLURM_TASKS_PER_NODE"] = tasks if nodes == "1" else f"{tasks}(x{nodes})"
    return left


def _first(field: str, fields: str) -> str:
    return ":".join([field, *(each for each in fields.split(":") if each and each != field)])
