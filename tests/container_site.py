"""A site whose Slurm has uenv, and a container engine that does what environment definition files say."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from images import CONTAINER, CONTAINER_PREFIX, Images
from slurm.uenv import build_plugins, build_programs
from support import localhost_names, slurm

from launcher.clusters import load_cluster
from launcher.clusters.environment import ContainerEnvironment
from launcher.export import edf
from launcher.sandbox.site import Site


@contextlib.asynccontextmanager
async def container_site(state: Path, **options: Any) -> AsyncIterator[Site]:
    """Run a site with a real Slurm; programs of uenv are in `state / "bin"`.

    Where a container of its cluster files has a definition, `launcher export edf` makes the EDF.

    Args:
        state: The run's own directory, which other accounts may enter.
        **options: What else a site can be told.
    """
    slurm()
    programs = state / "bin"
    programs.mkdir()
    build_programs(programs)
    site = Site(state, scheduler="slurm", **options)
    await site.start()
    try:
        (state / "slurm/etc/plugstack.conf").write_text(build_plugins(programs))
        for system in site.systems.values():
            write_edfs(system.cluster_file)
        with localhost_names():
            yield site
    finally:
        await site.stop()


def write_edfs(cluster_file: Path) -> None:
    """Write the EDFs that a cluster file has definitions of, where it says that they are."""
    for each in load_cluster(cluster_file).environments:
        if isinstance(each, ContainerEnvironment) and each.definition:
            file = Path(str(each.edf))
            file.parent.mkdir(exist_ok=True)
            file.write_text(edf(cluster_file, each.id).content)


def of_the_node(images: Images, state: Path) -> dict[str, Any]:
    """Return the definition of a container of the node's own system, with a JupyterLab and a Python besides.

    Args:
        images: What it is made of.
        state: The site's, with homes and Slurm.
    """
    interpreter = (images.opt / "launcher/bin/python").readlink()
    shared = dict.fromkeys([Path("/usr"), interpreter.parents[1], Path("/etc")])
    return {
        "image": str(images.container),
        "mounts": [
            *(f"{path}:{path}:ro" for path in shared),
            *(f"{images.opt / Path(path).name}:{path}:ro" for path in (CONTAINER, CONTAINER_PREFIX)),
            f"{state}:{state}",
        ],
        "workdir": "${HOME}",
    }
