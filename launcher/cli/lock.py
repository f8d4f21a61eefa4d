"""`launcher lock`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.cluster_path import shown_path
from launcher.cli.extra import builds_images
from launcher.cli.progress import ShownProgress
from launcher.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from launcher.builder.lock.jobs import Job
    from launcher.builder.lock.refresh import Result

_Set = tuple[Path, "list[Job]", tuple[str, ...]]
_EVERYTHING = ""


@click.command()
@click.option(
    "--upgrade",
    "upgrades",
    metavar="[PKG]",
    multiple=True,
    is_flag=False,
    flag_value=_EVERYTHING,
    help="Take the newest version of this package, or of all. It can be given several times.",
)
@click.option(
    "--recipe",
    "recipes",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Only the lock of this recipe, which is your own. It can be given several times.",
)
@click.option(
    "--code-server",
    "archives",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Pin this file of a release of code-server, and refresh nothing else. Once for each architecture.",
)
@click.option(
    "--interpreter",
    "python",
    metavar="FILE|debian",
    help="Pin this archive of a standalone Python, or Debian's newest packages, and refresh nothing else.",
)
@click.option("--check", "only_check", is_flag=True, help="Change nothing; tell what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
def lock(
    upgrades: tuple[str, ...],
    recipes: tuple[Path, ...],
    archives: tuple[Path, ...],
    python: str | None,
    *,
    only_check: bool,
    as_json: bool,
) -> None:
    """Refresh the locks, from which images, containers and this project's development are made.

    In a checkout, all of them: of the recipes, of the development, of the proxy and of the session panel. A
    version stays as long as it fits. Nothing is changed unless all locks could be made, agree with each other
    and hold no version with a known hole.

    \b
    Examples:
      launcher lock                        after requirements.in or pyproject.toml changed
      launcher lock --upgrade              the newest versions of everything
      launcher lock --upgrade jupyterlab   of one package
      launcher lock --check                whether anything would change
      launcher lock --recipe ./myrecipe
      launcher lock --code-server code-server-4.139.1-linux-amd64.tar.gz \\
                    --code-server code-server-4.139.1-linux-arm64.tar.gz
      launcher lock --interpreter cpython-3.13.9-x86_64-unknown-linux-gnu-install_only.tar.gz

    Exit code 0 when all is done, or nothing would change, 2 for a wrong command line, 3 when a file has a
    mistake or locks disagree, 5 when uv or npm is not installed, 7 when something would change or nobody can
    tell, 10 when a lock could not be made.
    """  # noqa: D301 - click's mark is the character itself
    if len([each for each in (archives, python, upgrades) if each]) > 1:
        raise UsageError(
            "--code-server, --interpreter and --upgrade do not go together.", todo="Run them one by one."
        )
    with builds_images():
        from launcher.builder.lock import refresh  # noqa: PLC0415 - a base install may have no packaging
    if archives:
        results = _code_server(recipes, archives)
    elif python:
        results = _interpreters(recipes, python)
    else:
        results = _locks(recipes, upgrades, only_check=only_check)
    if not only_check:
        refresh.put(results)
    _print(results, only_check=only_check, as_json=as_json)
    if only_check and any(each.changes for each in results):
        click.get_current_context().exit(CheckFailed.exit_code)


def _sets(recipes: Sequence[Path]) -> list[_Set]:
    """Return the locks that are made together: their directory, how, and the directories of npm's."""
    from launcher.builder.lock import jobs  # noqa: PLC0415 - as above

    if recipes:
        return [(each, [jobs.job_of_recipe(each)], ()) for each in recipes]
    checkout = Path(shown_path(jobs.find_checkout()))
    return [(checkout, jobs.jobs_of_checkout(checkout), jobs.NPM_PACKAGES)]


def _locks(recipes: Sequence[Path], upgrades: Sequence[str], *, only_check: bool) -> list[Result]:
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - as above

    from launcher.builder.lock import refresh  # noqa: PLC0415 - as above
    from launcher.builder.lock.resolve import RegistryUnreachable, Upgrade  # noqa: PLC0415 - as above

    names = tuple(canonicalize_name(each) for each in upgrades if each != _EVERYTHING)
    upgrade = Upgrade(everything=_EVERYTHING in upgrades, packages=names)
    results: list[Result] = []
    with ShownProgress() as progress:
        sets = _sets(recipes)
        if only_check:
            progress.step("Checking the locks as they are")
            for root, jobs, npm in sets:
                refresh.check(root, jobs, npm)
        try:
            for root, jobs, npm in sets:
                results += refresh.make(root, jobs, npm, upgrade, progress)
        except RegistryUnreachable as error:
            if not only_check:
                raise
            raise CheckFailed(
                "Whether the locks are up to date can't be told: no registry answered.",
                why="What needs none holds: all that is wanted is pinned, with hashes; the locks agree, name "
                f"no host, and hold no version with a known hole.\n{error.why}",
                todo=error.todo,
            ) from None
    return results


def _code_server(recipes: Sequence[Path], archives: Sequence[Path]) -> list[Result]:
    from launcher.builder.code_server import pinned  # noqa: PLC0415 - as above
    from launcher.builder.lock.refresh import Result  # noqa: PLC0415 - as above

    results = []
    for file in _files(recipes, "code-server.yaml"):
        before, text = file.read_text(encoding="utf-8"), pinned(file, archives)
        results.append(Result(file, text, () if text == before else ("code-server's pins",)))
    return results


def _interpreters(recipes: Sequence[Path], named: str) -> list[Result]:
    from launcher.builder.interpreter import pinned  # noqa: PLC0415 - as above
    from launcher.builder.lock.refresh import Result  # noqa: PLC0415 - as above

    python = None if named == "debian" else Path(named)
    results: list[Result] = []
    made: dict[str, str] = {}
    with ShownProgress() as progress:
        for file in _files(recipes, "interpreters.yaml"):
            before = file.read_text(encoding="utf-8")
            # The recipes that come with the launcher agree: what is made for one serves the others.
            if before not in made:
                made[before] = pinned(file, progress, python=python)
            text = made[before]
            results.append(Result(file, text, () if text == before else ("the pinned Pythons",)))
    return results


def _files(recipes: Sequence[Path], name: str) -> list[Path]:
    """Return the files of that name in the recipes, or in all of the checkout's."""
    from launcher.builder.lock.jobs import find_checkout, recipe_directories  # noqa: PLC0415 - as above

    directories = recipes or recipe_directories(Path(shown_path(find_checkout())))
    files = [file for each in directories if (file := each / name).is_file()]
    if not files:
        raise UsageError(f"There is no {name} to pin them in.")
    return files


def _print(results: Sequence[Result], *, only_check: bool, as_json: bool) -> None:
    if as_json:
        files = [{"path": shown_path(each.path), "changes": list(each.changes)} for each in results]
        click.echo(json.dumps({"written": not only_check, "files": files}, indent=2, ensure_ascii=False))
        return
    for each in results:
        if not each.changes:
            state = click.style("up to date", fg="green")
        else:
            state = click.style("would change" if only_check else "changed", fg="yellow")
        click.echo(f"{shown_path(each.path)}: {state}")
        for change in each.changes:
            click.echo(f"  {change}")
