"""`launcher build`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from launcher.cli.build_container import container
from launcher.cli.building import (
    arch_option,
    cache_option,
    carry_out,
    check_option,
    code_server_option,
    interpreter_option,
    json_option,
    refuse_with_check,
    tell_mistakes,
)
from launcher.cli.cluster_path import cluster_path, clusters_option, complete_cluster, shown_path
from launcher.cli.extra import builds_images, reads_cluster_files
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.builder.order import Built, Order


@click.group()
def build() -> None:
    """Build images.

    \b
    Examples:
      launcher build uenv jupyterlab
      launcher build container pytorch
      launcher build uenv --check

    Exit code: that of the command.
    """  # noqa: D301 - click's mark is the character itself


build.add_command(container)


def complete_recipe(context: click.Context, parameter: click.Parameter, given: str) -> list[CompletionItem]:
    """Complete the name of a recipe that comes with the launcher."""
    del context, parameter
    try:
        from launcher.builder.recipe import recipe_names  # noqa: PLC0415 - a base install may have no pydantic
    except ImportError:
        return []
    return [CompletionItem(name) for name in recipe_names() if name.startswith(given)]


@dataclass(frozen=True)
class _Machines:
    """What is said of the machines that an image is for."""

    arch: str
    glibc: tuple[int, int]
    gpu: bool


@build.command()
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...", shell_complete=complete_recipe)
@click.option(
    "--cluster",
    shell_complete=complete_cluster,
    help="Build for this cluster: its cluster file names processors, glibc and whether there are GPUs.",
)
@arch_option
@click.option("--glibc", help="C library of the nodes, such as 2.31; without it this machine's.")
@click.option(
    "--gpu/--no-gpu",
    default=None,
    help="Whether to add what only nodes with GPUs need; without it what the cluster file says, else no.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The image's file (*.squashfs), or the directory for it; without it this directory.",
)
@click.option(
    "--backend",
    type=click.Choice(["wheels", "stackinator"]),
    default="wheels",
    show_default=True,
    help="Build from wheels, or with an installed Stackinator from source.",
)
@code_server_option
@interpreter_option
@click.option("--uarch", help="Stackinator: the cluster's kind of nodes, such as gh200 or zen2.")
@click.option(
    "--recipe-version",
    type=click.Choice(["2", "3"]),
    help="Stackinator: the version of its recipes; 2 is for Stackinator 6, 3 for 7. Without it 2.",
)
@click.option(
    "--system",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Stackinator: the cluster's configuration.",
)
@click.option(
    "--build-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Stackinator: where Spack works; not below /tmp or your home.",
)
@cache_option
@check_option
@clusters_option
@json_option
def uenv(*, recipes: tuple[str, ...], check: bool, as_json: bool, **given: Any) -> None:
    """Build a uenv image.

    RECIPE is the name of a recipe that comes with the launcher, or the path of a directory with an
    image.yaml; --check takes several, or none for all that come with the launcher.

    The image is put together from the recipe's lock, a Python that it pins, and wheels. Then it is mounted,
    looked at, and run by the recipe's `verify`, and it gets its name only if it passes. Beside it lie its
    SBOM and its provenance. The same lock and Python give the same bytes. What was built already is kept, and
    what was interrupted goes on with the last step that it had not finished.

    \b
    Examples:
      launcher build uenv jupyterlab
      launcher build uenv jupyterlab --cluster daint --output /images
      launcher build uenv jupyterlab --code-server code-server-4.139.1-linux-amd64.tar.gz
      launcher build uenv ./my-recipe --arch aarch64 --glibc 2.31
      launcher build uenv --check

    Exit code 0 when the image is there, 1 if it was interrupted, 2 for a wrong command line, 3 when a recipe
    has a mistake, 5 when something is not installed, 7 when the image did not pass, 10 when it could not be
    built.
    """  # noqa: D301 - click's mark is the character itself
    with builds_images():
        from launcher.builder.recipe import find_recipe  # noqa: PLC0415 - a base install may have no pydantic
    if check:
        refuse_with_check(given)
        with builds_images():
            from launcher.builder.check import check as look  # noqa: PLC0415 - as above
            from launcher.builder.recipe import recipe_names  # noqa: PLC0415 - as above
        tell_mistakes([find_recipe(each) for each in recipes or recipe_names()], look, as_json=as_json)
        return
    if len(recipes) != 1:
        raise UsageError("Name one recipe.", todo="Try: launcher build uenv jupyterlab")
    with builds_images():
        from launcher.builder.build import build as make  # noqa: PLC0415 - as above
    carry_out(make, _order(find_recipe(recipes[0]), given), _tell, as_json=as_json)


def _order(directory: Path, given: dict[str, Any]) -> Order:
    from launcher.builder.order import Order, Spack  # noqa: PLC0415 - as above
    from launcher.builder.recipe import Recipe  # noqa: PLC0415 - as above
    from launcher.builder.stackinator import uarch_named  # noqa: PLC0415 - as above

    machines = _machines(given)
    order = Order(
        Recipe.load(directory),
        machines.arch,
        machines.glibc,
        machines.gpu,
        given["output"],
        given["interpreter"],
        given["code_server"],
        Path(given["cache"]) if given["cache"] else None,
    )
    own = ("uarch", "system", "build_dir")
    if given["backend"] == "wheels":
        for option in (*own, "recipe_version"):
            if given[option]:
                raise UsageError(f"--{option.replace('_', '-')} goes with --backend stackinator.")
        return order
    for option in own:
        if not given[option]:
            raise UsageError(f"--backend stackinator needs --{option.replace('_', '-')}.")
    if given["interpreter"] or given["arch"]:
        raise UsageError("With Stackinator, --uarch names the processors, and Spack makes the Python.")
    uarch = uarch_named(directory, given["uarch"])
    return order._replace(
        arch=uarch.arch,
        gpu=uarch.gpu if given["gpu"] is None else given["gpu"],
        spack=Spack(uarch.name, int(given["recipe_version"] or 2), given["system"], given["build_dir"]),
    )


def _machines(given: dict[str, Any]) -> _Machines:
    """Return what is said of the machines: by options, the cluster file, or this machine itself."""
    from launcher.builder.target import glibc_version, own_arch, own_glibc  # noqa: PLC0415 - as above

    arch, glibc, gpu = given["arch"], given["glibc"], given["gpu"]
    if given["cluster"]:
        path = cluster_path(given["cluster"], given["directory"])
        with reads_cluster_files():
            from launcher.clusters import load_cluster  # noqa: PLC0415 - a base install may have no pydantic
        cluster = load_cluster(path)
        arch, glibc = arch or cluster.architecture, glibc or cluster.glibc
        gpu = gpu if gpu is not None else bool(cluster.gpus and any(cluster.gpus.choices))
    arch = arch or own_arch()
    return _Machines(arch, glibc_version(glibc) if glibc else own_glibc(), bool(gpu))


def _tell(built: Built) -> None:
    click.echo(f"{shown_path(built.image)}  {built.size / 1e6:.1f} MB  sha256:{built.sha256}")
