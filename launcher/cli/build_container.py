"""`launcher build container`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

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
from launcher.cli.cluster_path import shown_path
from launcher.cli.extra import builds_images
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.builder.container.order import BuiltContainer, ContainerOrder


def complete_container(
    context: click.Context, parameter: click.Parameter, given: str
) -> list[CompletionItem]:
    """Complete the name of a container that comes with the launcher."""
    del context, parameter
    try:
        from launcher.builder.container.recipe import container_names  # noqa: PLC0415 - a base install may have no pydantic
    except ImportError:
        return []
    return [CompletionItem(name) for name in container_names() if name.startswith(given)]


@click.command()
@click.argument("containers", nargs=-1, metavar="[NAME]...", shell_complete=complete_container)
@click.option(
    "--engine",
    type=click.Choice(["buildah", "podman", "docker"]),
    help="What builds it; without it the first of these that is installed.",
)
@click.option("--base", help="The image to begin with; without it the one that the recipe pins.")
@click.option("--tag", help="The name that it gets; without it localhost/NAME:VERSION.")
@arch_option
@click.option("--push", is_flag=True, help="Copy it to the registry that --tag begins with.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["oci", "sqsh"]),
    default="oci",
    show_default=True,
    help="An image in the engine's storage; or besides a squashfs file, as engines on clusters take it.",
)
@code_server_option
@interpreter_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Directory of its SBOM, its provenance, and its squashfs file; without it this one.",
)
@cache_option
@check_option
@json_option
def container(*, containers: tuple[str, ...], check: bool, as_json: bool, **given: Any) -> None:
    """Build the image of a container.

    NAME is that of a recipe that comes with the launcher, or the path of a directory with a container.yaml;
    --check takes several, or none for all that come with the launcher.

    The launcher's tools are built for the base's C library, and laid beside what the base holds, which stays
    as it is. Then the image is compared with its base, and tried as anybody, without network, read-only; it
    gets its name only if it passes. Its SBOM and its provenance are written to --output.

    \b
    Examples:
      launcher build container pytorch
      launcher build container pytorch --base nvcr.io/nvidia/pytorch:25.04-py3
      launcher build container pytorch --format sqsh --output /capstor/images
      launcher build container hub --tag registry.example.org/jupyter/hub:1 --push
      launcher build container --check

    Exit code 0 when the image is there, 1 if it was interrupted, 2 for a wrong command line, 3 when a recipe
    has a mistake, 5 when something is not installed, 7 when the image did not pass, 10 when it could not be
    built or pushed.
    """  # noqa: D301 - click's mark is the character itself
    with builds_images():
        from launcher.builder.check import check_container  # noqa: PLC0415 - a base install may have no pydantic
        from launcher.builder.container.recipe import container_names, find_container  # noqa: PLC0415 - the same
    if check:
        refuse_with_check(given)
        directories = [find_container(each) for each in containers or container_names()]
        tell_mistakes(directories, check_container, as_json=as_json)
        return
    if len(containers) != 1:
        raise UsageError("Name one container.", todo="Try: launcher build container jupyterlab")
    with builds_images():
        from launcher.builder.container.build import build as make  # noqa: PLC0415 - as above
    carry_out(make, _order(find_container(containers[0]), given), _tell, as_json=as_json)


def _order(directory: Path, given: dict[str, Any]) -> ContainerOrder:
    from launcher.builder.container.engine import engine  # noqa: PLC0415 - as above
    from launcher.builder.container.order import ContainerOrder  # noqa: PLC0415 - as above
    from launcher.builder.container.recipe import ContainerRecipe, reference, tag  # noqa: PLC0415 - as above
    from launcher.builder.target import own_arch  # noqa: PLC0415 - as above

    recipe = ContainerRecipe.load(directory)
    if given["push"] and not given["tag"]:
        raise UsageError(
            "--push needs a name that begins with a registry.",
            todo="--tag registry.example.org/jupyter/hub:1",
        )
    return ContainerOrder(
        recipe,
        engine(given["engine"]),
        given["arch"] or own_arch(),
        reference(given["base"] or recipe.container.base),
        tag(given["tag"], pushed=given["push"]) if given["tag"] else None,
        given["push"],
        given["form"] == "sqsh",
        given["output"],
        given["code_server"],
        given["interpreter"],
        Path(given["cache"]) if given["cache"] else None,
    )


def _tell(built: BuiltContainer) -> None:
    click.echo(f"{built.image}{f'@{built.digest}' if built.digest else ''}  {built.id[:12]}")
    if built.sqsh:
        click.echo(f"{shown_path(built.sqsh)}  {built.sqsh.stat().st_size / 1e6:.1f} MB")
