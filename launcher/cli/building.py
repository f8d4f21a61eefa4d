"""What the commands that build images have in common: options, and how they are carried out."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click
from click.core import ParameterSource

from launcher.cli.cluster_path import shown_path
from launcher.cli.progress import ShownProgress
from launcher.errors import InvalidFile, UsageError

if TYPE_CHECKING:
    from launcher.builder.progress import Progress
    from launcher.builder.provenance import Verified

arch_option = click.option(
    "--arch", type=click.Choice(["x86_64", "aarch64"]), help="Processors; without it this machine's."
)
code_server_option = click.option(
    "--code-server",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The pinned release of code-server: VS Code in JupyterLab.",
)
interpreter_option = click.option(
    "--interpreter",
    type=click.Path(path_type=Path, exists=True),
    help="A standalone Python that the recipe pins: its archive, or a directory of its files.",
)
cache_option = click.option(
    "--cache",
    type=click.Path(file_okay=False),
    envvar="LAUNCHER_CACHE",
    show_envvar=True,
    help="What builds keep for the next ones; without it ~/.cache/firecrest-launcher.",
)
check_option = click.option(
    "--check", is_flag=True, help="Build nothing: look for mistakes in the recipes, without network."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON object about the image.")


class Outcome(Protocol):
    """What a build of any kind returns."""

    @property
    def unchanged(self) -> bool:
        """Whether it was there already, made from the same."""

    @property
    def seconds(self) -> float:
        """How long it took."""

    @property
    def verified(self) -> Verified:
        """What `verify` saw."""

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""


Ordered = TypeVar("Ordered")
Made = TypeVar("Made", bound=Outcome)


def carry_out(
    make: Callable[[Ordered, Progress], Made], order: Ordered, tell: Callable[[Made], None], *, as_json: bool
) -> None:
    """Build something, and tell of it.

    Args:
        make: What builds.
        order: What is built.
        tell: What tells people what is there then.
        as_json: Whether a program is told.
    """
    with _ended_as_by_ctrl_c(), ShownProgress() as progress:
        built = make(order, progress)
    if as_json:
        click.echo(json.dumps(built.plain(), indent=2))
        return
    tell(built)
    done = "Nothing has changed" if built.unchanged else f"Built in {built.seconds:.0f} s"
    click.echo(f"{done}; {built.verified.checks} checks hold.")
    if not built.verified.ran:
        click.secho("Its programs were not run: this machine can't.", fg="yellow")


def refuse_with_check(given: Iterable[str]) -> None:
    """Refuse the options of a build where nothing is built.

    Raises:
        UsageError: If one of these is on the command line.
    """
    context = click.get_current_context()
    options = {each.name: each.opts[0] for each in context.command.params}
    for name in given:
        if name != "directory" and context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise UsageError(f"--check builds nothing: {options[name]} has no meaning with it.")


@contextlib.contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Have other signals, too, end what was started, with what it has mounted."""
    signals = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) == signal.SIG_DFL]
    for each in signals:
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)


def tell_mistakes(directories: list[Path], check: Callable[[Path], None], *, as_json: bool) -> None:
    """Tell the mistakes of some recipes.

    Raises:
        InvalidFile: With all mistakes of all of them.
    """
    problems: list[str] = []
    for directory in directories:
        try:
            check(directory)
        except InvalidFile as error:
            problems += error.problems
    if problems:
        raise InvalidFile(problems)
    if as_json:
        click.echo(json.dumps({"recipes": list(map(str, directories)), "problems": []}, indent=2))
    else:
        for directory in directories:
            click.echo(f"{shown_path(directory)}: ok")
