"""Compiles Python's source files: run as a program by the Python that is to read the result.

Standard library only. Paths come on standard input, each ended by a NUL; on standard output comes a line for
each of them, in their order: empty, or why it could not be compiled.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from collections.abc import Iterable
from types import CodeType

_UNCHECKED_HASH = 0b01
"""Python takes such byte code without a look at the source: https://peps.python.org/pep-0552/."""


def compiled(source: bytes, path: str) -> bytes:
    """Return a source file's byte code as it is kept, the same bytes whatever was compiled before.

    Args:
        source: What the file holds.
        path: Its path, as tracebacks show it.

    Raises:
        SyntaxError: If it is not Python.
        ValueError: As well.
    """
    code = compile(source, path, "exec", dont_inherit=True)
    # What nothing else refers to is marked so when it is written, and names are shared by all of a process:
    # with a reference to each of them here they are alike, whatever else it holds.
    held = list(_texts([code]))
    flags = _UNCHECKED_HASH.to_bytes(4, "little")
    data = importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)
    held.clear()
    return data


def _texts(objects: Iterable[object]) -> Iterable[str]:
    """Yield all texts in constants and code."""
    for each in objects:
        if isinstance(each, str):
            yield each
        elif isinstance(each, tuple | frozenset):
            yield from _texts(each)
        elif isinstance(each, CodeType):
            yield from (each.co_filename, each.co_name, each.co_qualname)
            yield from _texts([each.co_names, each.co_varnames, each.co_freevars, each.co_cellvars])
            yield from _texts(each.co_consts)


def _compile(path: str) -> str:
    """Compile a file; return what is wrong with it."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - as few imports as can be
            source = stream.read()
        data = compiled(source, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    target = importlib.util.cache_from_source(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120 - as few imports as can be
    with open(target, "wb") as stream:  # noqa: PTH123
        stream.write(data)
    return ""


def _main() -> None:
    os.umask(0o022)
    for path in sys.stdin.buffer.read().split(b"\0")[:-1]:
        try:
            told = _compile(os.fsdecode(path))
        except OSError as error:
            sys.exit(f"{error.strerror}: {error.filename or os.fsdecode(path)}")
        sys.stdout.write(f"{ascii(told)[1:-1]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
