"""`launcher demo`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.errors import MissingPart, UsageError


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The public port. Without it a free one is found."
)
@click.option(
    "--scheduler",
    type=click.Choice(["auto", "slurm", "process"]),
    default="auto",
    show_default=True,
    help="What runs the jobs: a private Slurm, plain processes, or Slurm where it is installed.",
)
@click.option(
    "--cluster",
    "cluster_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Try this cluster file, with its batch template, instead of the sandbox's own.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="An empty or new directory for everything the site writes; it is kept. Without it a temporary one "
    "is used, and removed at the end.",
)
@click.option(
    "--check", is_flag=True, help="Log in, start, run a cell and stop, without a browser; then end."
)
@click.option("--json", "as_json", is_flag=True, help="With --check: print the result as a JSON object.")
def demo(
    port: int | None,
    scheduler: str,
    cluster_file: Path | None,
    state: Path | None,
    *,
    check: bool,
    as_json: bool,
) -> None:
    """Run a whole site on this machine.

    JupyterHub and its proxy, an OpenID Connect provider, a FirecREST-compatible gateway and a scheduler,
    with two accounts, all on 127.0.0.1. Ctrl-C ends it and leaves nothing behind.

    \b
    Examples:
      launcher demo
      launcher demo --port 8000 --scheduler slurm
      launcher demo --cluster mycluster.yaml
      launcher demo --check --json

    Exit code 0 when all held, 2 for a wrong command line, 3 for a cluster file with mistakes, 5 when a
    program is missing, 6 when a part of the site did not start or ended, 7 when a step of the check did not
    hold.
    """  # noqa: D301 - click's mark is the character itself
    if as_json and not check:
        raise UsageError("--json goes with --check.")
    try:
        from launcher.sandbox import demo as sandbox  # noqa: PLC0415 - the base install has no sandbox
    except ImportError as error:
        raise MissingPart(
            "The sandbox is not installed.",
            why=f"{error}.",
            todo="Install it: pip install 'firecrest-launcher[sandbox]'",
        ) from None
    import asyncio  # noqa: PLC0415 - no help and no other command needs it

    run = (
        sandbox.check(scheduler, port, cluster_file, state, as_json=as_json)
        if check
        else sandbox.run(scheduler, port, cluster_file, state)
    )
    asyncio.run(run)
