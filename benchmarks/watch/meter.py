"""Loaded into a hub that is measured: what the launcher's own code costs it, in seconds of a processor.

Counted is the thread's time while a coroutine of the launcher takes a step, with all that it calls, be that
JupyterHub's, SQLAlchemy's or httpx's: methods of the spawner from where JupyterHub calls them, handlers of
jobs' messages, its tasks, and its commits. What the event loop and Tornado's parser do before and after
is not.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from time import thread_time
from typing import Any, TypeVar

from jupyterhub.user import UserDict
from traitlets.config import Application

import launcher

_Result = TypeVar("_Result")

_OURS = f"{Path(launcher.__file__).parent}/"
_SHARED = frozenset({"Watcher._watch", "Strays.watch", "LiveClusterFile.watch"})
"""Tasks that work for all launches, whichever began them."""

_ASKED = ("start", "stop", "poll", "get_url", "get_options_form", "create_certs")
_CALLED = ("load_state", "get_state", "clear_state", "choose", "checked", "delete_forever")


class Meter:
    """Counts, by the name of the user whom a step is for; under "" what is for nobody or everybody.

    Attributes:
        own: Name → seconds.
        steps: How many steps were counted.
    """

    def __init__(self) -> None:
        self.own: defaultdict[str, float] = defaultdict(float)
        self.steps = 0
        self._inside = False
        self._whose = ""

    @property
    def whose(self) -> str:
        """For whom the step under way is."""
        return self._whose

    def take(self) -> dict[str, float]:
        """Return what was counted, and count from zero again."""
        taken, self.own = dict(self.own), defaultdict(float)
        return taken

    def counted(self, whose: Callable[[], str], step: Callable[..., _Result], *arguments: Any) -> _Result:
        """Take a step; one within another is part of that."""
        if self._inside:
            return step(*arguments)
        self._inside, self._whose = True, whose()
        began = thread_time()
        try:
            return step(*arguments)
        finally:
            self.own[whose()] += thread_time() - began
            self._inside, self._whose = False, ""
            self.steps += 1

    async def driven(self, coroutine: Any, whose: Callable[[], str]) -> Any:
        """Run a coroutine, and count its steps."""
        return await _Driven(self, coroutine, whose)


class _Driven(Awaitable[Any]):
    """A coroutine whose steps are counted."""

    def __init__(self, meter: Meter, coroutine: Any, whose: Callable[[], str]) -> None:
        self._meter = meter
        self._coroutine = coroutine
        self._whose = whose

    def __await__(self) -> Generator[Any, Any, Any]:
        step, given = self._coroutine.send, None
        while True:
            try:
                wanted = self._meter.counted(self._whose, step, given)
            except StopIteration as end:
                return end.value
            try:
                step, given = self._coroutine.send, (yield wanted)
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                step, given = self._coroutine.throw, error


def install(meter: Meter, loop: asyncio.AbstractEventLoop) -> None:
    """Count from now on what the launcher does in this hub."""
    from launcher.database.commits import Commits  # noqa: PLC0415 - only where it is the spawner
    from launcher.spawner.handlers import _NodeHandler  # noqa: PLC0415
    from launcher.spawner.spawner import LauncherSpawner  # noqa: PLC0415

    for name in _ASKED:
        setattr(LauncherSpawner, name, _asked(meter, getattr(LauncherSpawner, name)))
    for name in _CALLED:
        setattr(LauncherSpawner, name, _called(meter, getattr(LauncherSpawner, name)))
    LauncherSpawner.progress = _progress(meter, LauncherSpawner.progress)  # type: ignore[method-assign]
    _handled(meter, _NodeHandler)
    Commits._commit_all = _nobodys(meter, Commits._commit_all)  # type: ignore[method-assign]  # noqa: SLF001
    hub: Any = Application.instance()
    # What keeps the routes and the count of servers has begun before this; nobody else looks at either.
    hub.proxy.check_routes = _shared(meter, hub.proxy.check_routes)
    UserDict.count_active_users = _nobodys(meter, UserDict.count_active_users)
    loop.set_task_factory(_factory(meter))


def _asked(meter: Meter, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def wrapper(spawner: Any, *arguments: Any, **named: Any) -> Any:
        return await _Driven(meter, method(spawner, *arguments, **named), lambda: spawner.user.name)

    return wrapper


def _called(meter: Meter, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(spawner: Any, *arguments: Any, **named: Any) -> Any:
        call = functools.partial(method, spawner, *arguments, **named)
        return meter.counted(lambda: spawner.user.name, call)

    return wrapper


def _nobodys(meter: Meter, function: Callable[..., _Result]) -> Any:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> _Result:
        return meter.counted(lambda: "", function, *arguments)

    return wrapper


def _shared(meter: Meter, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*arguments: Any) -> Any:
        return await _Driven(meter, function(*arguments), lambda: "")

    return wrapper


def _progress(meter: Meter, method: Callable[..., Any]) -> Callable[..., AsyncIterator[Any]]:
    @functools.wraps(method)
    async def wrapper(spawner: Any) -> AsyncIterator[Any]:
        events = method(spawner)
        try:
            while True:
                try:
                    event = await _Driven(meter, events.__anext__(), lambda: spawner.user.name)
                except StopAsyncIteration:
                    return
                yield event
        finally:
            await events.aclose()

    return wrapper


def _handled(meter: Meter, handler: Any) -> None:
    """Count what a handler does; for whom is known once it has found the launch."""
    execute, launch_key = handler._execute, handler.launch_key  # noqa: SLF001 - there is no other way in

    def key(self: Any, launch: Any) -> Any:
        self.whose = launch.user
        return launch_key(self, launch)

    def executed(self: Any, *arguments: Any, **named: Any) -> Coroutine[Any, Any, Any]:
        return meter.driven(execute(self, *arguments, **named), lambda: getattr(self, "whose", ""))

    handler.launch_key, handler._execute = key, executed  # noqa: SLF001


def _factory(meter: Meter) -> Any:
    def task(loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
        code = getattr(coroutine, "cr_code", None)
        if code is not None and code.co_filename.startswith(_OURS):
            whose = "" if code.co_qualname in _SHARED else meter.whose
            coroutine = meter.driven(coroutine, lambda: whose)
        return asyncio.Task(coroutine, loop=loop, **named)

    return task
