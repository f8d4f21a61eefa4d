"""Faults that tests put into the answers of what the sandbox serves.

A fault stands around the handling of one call: it may let the call through or not, wait, and change what
comes back. Of the faults that match a call the one that was put in first acts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: HTTP status.
        body: Sent as JSON, or as it is if it is text; None sends no body.
        cut: Send only this share (0 to 1) of the body, having promised all of it, and hang up.
    """

    status: int
    body: Mapping[str, Any] | str | None = None
    cut: float | None = None


class Dropped(Exception):
    """The connection is closed without an answer."""


@dataclass(frozen=True)
class Asked:
    """One call, to be awaited as a function: that carries it out and gives the right answer.

    Attributes:
        method: HTTP method.
        template: The path, variable parts in braces; "" for a path that is not served.
        path: The path that was asked for.
        user: Whose call it is; "" if nobody could prove to be anybody.
        carry_out: Gives the right answer.
    """

    method: str
    template: str
    path: str
    user: str
    carry_out: Callable[[], Awaitable[Answer]]

    async def __call__(self) -> Answer:
        """Carry the call out."""
        return await self.carry_out()


Act = Callable[["Fault", Asked], Awaitable[Answer]]


class Fault:
    """One fault; as a context manager it is removed at the end.

    Attributes:
        hits: How many calls it acted on.
        acted: Set with the first.
        removed: Set once it acts no more.
    """

    def __init__(self, act: Act, method: str, path: str, user: str, times: int | None) -> None:
        self.hits = 0
        self.acted = asyncio.Event()
        self.removed = asyncio.Event()
        self._act = act
        self._method = method
        self._path = path
        self._user = user
        self._times = times

    def remove(self) -> None:
        """Let calls through from now on, and hang up on those that hang."""
        self.removed.set()

    def matches(self, call: Asked) -> bool:
        """Whether it acts on a call."""
        return (
            not self.removed.is_set()
            and (self._times is None or self.hits < self._times)
            and fnmatchcase(call.method, self._method)
            and fnmatchcase(call.user, self._user)
            and (call.template == self._path or fnmatchcase(call.path, self._path))
        )

    async def act(self, call: Asked) -> Answer:
        """Act on one call."""
        self.hits += 1
        self.acted.set()
        return await self._act(self, call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class Faults:
    """The faults of one server.

    Every method that adds one takes `method` (`*`, `GET`), `path` (a template such as
    `/compute/{system}/jobs/{job}`, or a glob over the path that was asked for), `user` (a glob over who asks)
    and `times` (how many calls, None until it is removed). With `after`, the call is carried out and only its
    answer is lost: a submit that fails this way has submitted.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    async def around(self, call: Asked) -> Answer:
        """Answer a call, with the fault that acts on it.

        Raises:
            Dropped: The connection is to be closed without an answer.
        """
        fault = next((fault for fault in self._faults if fault.matches(call)), None)
        return await (fault.act(call) if fault else call())

    def clear(self) -> None:
        """Remove all."""
        for fault in self._faults:
            fault.remove()
        self._faults.clear()

    def add(
        self, act: Act, *, method: str = "*", path: str = "*", user: str = "*", times: int | None = None
    ) -> Fault:
        """A fault of one's own: `act` gets it and the call, which carries itself out when it is awaited."""
        fault = Fault(act, method, path, user, times)
        self._faults.append(fault)
        return fault

    def hang(self, *, after: bool = False, **where: Any) -> Fault:
        """No answer; the connection is closed when the fault is removed."""

        async def act(fault: Fault, call: Asked) -> Answer:
            if after:
                await call()
            await fault.removed.wait()
            raise Dropped

        return self.add(act, **where)

    def drop(self, *, after: bool = False, **where: Any) -> Fault:
        """The connection closes without an answer."""

        async def act(_: Fault, call: Asked) -> Answer:
            if after:
                await call()
            raise Dropped

        return self.add(act, **where)

    def delay(self, seconds: float, *, after: bool = False, **where: Any) -> Fault:
        """The right answer, late; the call is carried out late as well, or with `after` at once."""

        async def act(_: Fault, call: Asked) -> Answer:
            answer = await call() if after else None
            await asyncio.sleep(seconds)
            return answer or await call()

        return self.add(act, **where)

    def answer(self, answer: Answer, *, after: bool = False, **where: Any) -> Fault:
        """Another answer: a proxy's HTML page, half a JSON document."""

        async def act(_: Fault, call: Asked) -> Answer:
            if after:
                await call()
            return answer

        return self.add(act, **where)

    def truncate(self, share: float = 0.5, **where: Any) -> Fault:
        """The connection closes after this share of the body."""

        async def act(_: Fault, call: Asked) -> Answer:
            return replace(await call(), cut=share)

        return self.add(act, **where)
