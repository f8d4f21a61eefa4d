"""`launcher-singleuser` as it stands, which notes when it comes to a step: jobs run a copy of this file.

Each note is a line, a name and the seconds since the epoch, in a file beside this one with the job's id for
its name.
With `BENCH_SMALL` in its environment, it is the small program in JupyterLab's place, without notes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from launcher.singleuser.isolation import isolate

_BEGAN = time.time()


def _note(name: str, moment: float | None = None) -> None:
    path = f"{os.path.dirname(os.path.abspath(__file__))}/{os.environ['SLURM_JOB_ID']}"  # noqa: PTH100, PTH120 - pathlib takes long
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - as above
        file.write(f"{name} {moment or time.time()}\n")


def _watched(
    owner: Any,
    function: str,
    *,
    before: Callable[..., str] = lambda *_, **__: "",
    after: str = "",
) -> None:
    """Have a call of a function noted, before it is made or after it has returned."""
    usual = getattr(owner, function)

    def call(*arguments: Any, **options: Any) -> Any:
        if name := before(*arguments, **options):
            _note(name)
        result = usual(*arguments, **options)
        if after:
            _note(after)
        return result

    setattr(owner, function, call)


def main() -> int:
    """Run the entry point; return its exit code."""
    arguments = sys.argv[1:]
    isolate(arguments)
    if os.environ.pop("BENCH_SMALL", ""):
        from launcher.sandbox import stand_in  # noqa: PLC0415 - not where JupyterLab runs

        return stand_in.main()
    _note("python", _BEGAN)
    from launcher.singleuser import entry, hub, reporter, vscode  # noqa: PLC0415 - after `isolate`, as in `launcher.singleuser`

    _watched(hub.Hub, "claim", before=lambda *_: "asked", after="claimed")
    _watched(reporter.Reporter, "send", before=lambda _, kind, **__: str(kind))
    # The first that is called once JupyterLab's modules are there.
    _watched(vscode, "use", before=lambda _: "imported")
    return entry.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
