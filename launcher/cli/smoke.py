"""`launcher smoke`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import click

from launcher.cli.cluster_path import complete_cluster
from launcher.cli.user_options import CompletingCommand, user_options
from launcher.errors import MissingPart, UsageError

_VARIABLE = "JUPYTERHUB_API_TOKEN"
# What may stand in a header.
_TOKEN = re.compile(r"[!-~]+")


@click.command(cls=CompletingCommand)
@click.argument("hub_url")
@click.argument("cluster", required=False, shell_complete=complete_cluster)
@user_options(
    "An option of the server, as key=value; once for each key. Without it the hub's default counts."
)
@click.option("--user", default="", metavar="NAME", help="Whose server to start, if not the token's owner's.")
@click.option(
    "--server",
    default="",
    metavar="NAME",
    help="A named server to start, instead of the default one. If it is new, it is removed again.",
)
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long the start may take, the queue included.",
)
@click.option(
    "--allow-http",
    is_flag=True,
    help="Let the token travel over http to another machine, where others may read it on its way.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
def smoke(
    hub_url: str,
    cluster: str | None,
    *,
    options: Mapping[str, str],
    user: str,
    server: str,
    timeout: int,
    allow_http: bool,
    as_json: bool,
) -> None:
    """Try a hub that is running: start a server, use it, stop it.

    HUB_URL is the hub's public address. CLUSTER, where a hub has several, is one of them. The hub's API
    token comes from the variable JUPYTERHUB_API_TOKEN. It may be a user's, or a service's with --user.

    A server is started by the hub's REST API and its progress followed, JupyterLab is opened, a kernel
    computes something, and the server is stopped, also after Ctrl-C. One that ran before is left alone.

    \b
    Examples:
      export JUPYTERHUB_API_TOKEN=$(cat /etc/jupyterhub/smoke.token)
      launcher smoke https://hub.example.org --user smoke
      launcher smoke https://hub.example.org daint -o partition=debug -o time=30
      launcher smoke https://hub.example.org eiger --server smoke --json

    Exit code 0 when all held, 2 for a wrong command line or without a token, 5 when what it needs is not
    installed, 7 when a step did not hold.
    """  # noqa: D301 - click's mark is the character itself
    token = os.environ.get(_VARIABLE, "").strip()
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"{_VARIABLE} holds no token." if token else f"{_VARIABLE} is not set.",
            why="It holds signs that no token has." if token else "",
            todo="Make a token on the hub's page /hub/token, or configure a service, and put it there.",
        )
    if cluster and "cluster" in options:
        raise UsageError("The cluster was given twice.", todo="Give it as CLUSTER, without -o cluster=…")
    try:
        from launcher.check.smoke import run  # noqa: PLC0415 - the base install may have no httpx
    except ImportError as error:
        raise MissingPart(
            "What speaks to a hub is not installed.",
            why=f"{error}.",
            todo="Install it: pip install 'firecrest-launcher[hub]'",
        ) from None
    import asyncio  # noqa: PLC0415 - no help and no other command needs it

    asyncio.run(
        run(
            hub_url,
            token=token,
            user=user,
            server=server,
            options={**({"cluster": cluster} if cluster else {}), **options},
            start_timeout=timeout,
            allow_http=allow_http,
            as_json=as_json,
        )
    )
