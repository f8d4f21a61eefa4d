"""The tools image as `launcher build` makes it, and the directory that it holds."""

from __future__ import annotations

from pathlib import Path

from benchmarks.images import building
from benchmarks.node.places import Place
from benchmarks.node.work import unpacked
from launcher.builder.cache import cache_directory, made, remove


def keep() -> Path:
    """Return the usual directory for what benchmarks make and use again, in the builder's cache."""
    directory = cache_directory() / "benchmarks"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def tools(below: Path) -> tuple[Place, Place]:
    """Return the directory and the image, made unless they are there.

    Args:
        below: Where they are kept.
    """
    told, _ = building.build(below, cache_directory())
    image = Path(told["image"])
    tree = below / f"tools-{told['sha256'][:16]}"
    for earlier in below.glob("tools-*"):
        if earlier != tree:
            remove(earlier)
    if not tree.is_dir():
        with made(tree) as aside:
            unpacked(image, aside)
    mount = building.recipe().image.mount
    return Place(tree, mount), Place(image, mount)
