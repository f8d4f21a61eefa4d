"""What JupyterLab's start does without, since few sessions use it, or none.

Each trick reaches into private parts of a package; where a version of that has other parts, it does nothing.
A module that is put off is imported when something of it is used. Once the server listens, all imports are
the usual ones. For admins: docs/admin/start-up.md.
"""

from __future__ import annotations

import gc
import re
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import reduce
from types import ModuleType, new_class
from typing import Any, NamedTuple


class _Later(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":
            # Looked for by whoever takes names from a module: a package would have it.
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _Name(type):
    """Stands for a class or a function of a module that is put off."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        """Return what stands for it; or, for who derives a class from that, one derived from the real one."""
        if not any(isinstance(base, _Name) for base in bases):
            return super().__new__(cls, name, bases, namespace)
        real = tuple(base.real() if isinstance(base, _Name) else base for base in bases)
        return new_class(name, real, exec_body=lambda body: body.update(namespace))

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        """Call the real one."""
        return cls.real()(*arguments, **named)

    def real(cls) -> Any:
        """Return the real one."""
        return getattr(_real(cls.__module__), cls.__name__)


def _real(module: str) -> ModuleType:
    if isinstance(sys.modules.get(module), _Later):
        del sys.modules[module]
    __import__(module)
    return sys.modules[module]


@contextmanager
def _put_off(module: str, names: Mapping[str, Any]) -> Iterator[None]:
    """Have something stand for a module, unless that is imported already, or not there at all."""
    if module in sys.modules or not _is_there(module):
        yield
        return
    later = sys.modules[module] = _Later(module)
    for name, value in names.items():
        # Of all that a name may stand for, only exceptions have to be of a kind.
        setattr(later, name, value or _Name(name, (Exception,), {"__module__": module}))
    try:
        yield
    finally:
        if sys.modules.get(module) is later:
            del sys.modules[module]


def _is_there(module: str) -> bool:
    from importlib.util import find_spec  # noqa: PLC0415 - what comes before JupyterLab does without

    package = module.partition(".")[0]
    return package in sys.modules or find_spec(package) is not None


@contextmanager
def _replaced(place: str, value: Any) -> Iterator[None]:
    """Have something in the place of `module:attribute`, if there is such."""
    module, _, attribute = place.partition(":")
    *owners, last = attribute.split(".")
    try:
        __import__(module)
        owner = reduce(getattr, owners, sys.modules[module])
        usual = getattr(owner, last)
    except (ImportError, AttributeError):
        yield
        return
    setattr(owner, last, value.of(usual) if isinstance(value, _Around) else value)
    try:
        yield
    finally:
        setattr(owner, last, usual)


class _Around(NamedTuple):
    """Something that calls what it replaces."""

    of: Callable[[Any], Any]


def _read_once(entry_points: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[str, ...], Any] = {}

    def from_what_was_read(**wanted: Any) -> Any:
        # Whoever took the name keeps it.
        if not START.has("plugins"):
            return entry_points(**wanted)
        path = tuple(sys.path)
        if path not in known:
            known[path] = entry_points()
        return known[path].select(**wanted)

    return from_what_was_read


def _first_reading(name: str) -> Any:
    def method(context: ssl.SSLContext, *arguments: Any, **named: Any) -> Any:
        context.__class__ = ssl.SSLContext
        _read(context)
        return getattr(context, name)(*arguments, **named)

    return method


class _Late(ssl.SSLContext):
    """A context that reads the certificates to trust when it is used."""

    wrap_socket = _first_reading("wrap_socket")
    wrap_bio = _first_reading("wrap_bio")
    get_ca_certs = _first_reading("get_ca_certs")
    cert_store_stats = _first_reading("cert_store_stats")


def _read_late(context: ssl.SSLContext) -> None:
    if type(context) is ssl.SSLContext:
        context.__class__ = _Late
    else:
        _read(context)


def _read(context: ssl.SSLContext) -> None:
    # What stands in the method's place may still be there: threads have contexts, too.
    super(ssl.SSLContext, context).set_default_verify_paths()


def _no_yarn(_logger: object) -> dict[str, Any]:
    """Return what JupyterLab takes for Yarn's configuration where there is no node."""
    return {"yarn config": {}, "npm config": {}}


async def _not_again(_server: object) -> None:
    """Ask the hub nothing."""


def _ipython_dir() -> str:
    if not isinstance(sys.modules.get("IPython.paths"), _Later):
        # IPython itself took this name as it was imported: it is to be its own.
        return str(_real("IPython.paths").get_ipython_dir())
    from jupyter_core.migrate import get_ipython_dir  # noqa: PLC0415 - as all of Jupyter, it comes late

    return str(get_ipython_dir())


class Trick(NamedTuple):
    """Something that a start does without.

    Attributes:
        name: Its name for `LAUNCHER_STOCK`.
        reason: What is left out, and why it is not missed.
        link: Where that can be read.
        imports: Modules that are imported while it is in force; if none, it is until the server listens.
        later: Module that is put off → name that others take from it as they are imported → what stands for
            that; None if it is used later, and the real one is then imported.
        instead: `module:attribute` → what stands in its place, or what is put around it.
    """

    name: str
    reason: str
    link: str
    imports: tuple[str, ...] = ()
    later: Mapping[str, Mapping[str, Any]] = {}
    instead: Mapping[str, Any] = {}

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Leave it out."""
        with ExitStack() as stack:
            for name, names in self.later.items():
                stack.enter_context(_put_off(name, names))
            for path, value in self.instead.items():
                stack.enter_context(_replaced(path, value))
            yield


TRICKS = (
    Trick(
        "plugins",
        "Seven times a start asks which plugins there are of one kind, and each time Python reads a file of "
        "every package that is installed.",
        "https://github.com/python/cpython/blob/v3.11.2/Lib/importlib/metadata/__init__.py",
        instead={"importlib.metadata:entry_points": _Around(_read_once)},
    ),
    Trick(
        "formats",
        "rfc3987-syntax makes 35 parsers as it is imported. By them jsonschema checks addresses with letters "
        "of all languages, which no schema of Jupyter's has.",
        "https://github.com/python-jsonschema/jsonschema/issues/1428",
        imports=("jsonschema",),
        later={"rfc3987_syntax": {"is_valid_syntax": None}},
    ),
    Trick(
        "certificates",
        "aiohttp reads all certificates to trust, twice, as it is imported; they are needed for https alone.",
        "https://github.com/aio-libs/aiohttp/blob/v3.14.1/aiohttp/connector.py",
        imports=("aiohttp",),
        instead={"ssl:SSLContext.set_default_verify_paths": _read_late},
    ),
    Trick(
        "database",
        "JupyterHub's single-user server imports the hub's database and pages, with SQLAlchemy and Alembic, "
        "and has neither.",
        "https://github.com/jupyterhub/jupyterhub/blob/6.1.1/jupyterhub/log.py",
        imports=("jupyterhub.log", "jupyterhub.services.auth"),
        later={
            "jupyterhub.handlers.pages": {"HealthCheckHandler": None},
            "jupyterhub.orm": {},
            "jupyterhub.roles": {},
            "sqlalchemy": {},
            "sqlalchemy.exc": {"SQLAlchemyError": None},
        },
    ),
    Trick(
        "requests",
        "jupyterlab-server imports requests, to read lists of extensions that an admin may have on the web.",
        "https://github.com/jupyterlab/jupyterlab_server/blob/v2.28.1/jupyterlab_server/listings_handler.py",
        imports=("jupyterlab_server",),
        later={"requests": {}},
    ),
    Trick(
        "pypi",
        "JupyterLab imports what installs extensions from PyPI, even where none can be installed.",
        "https://github.com/jupyterlab/jupyterlab/blob/v4.6.6/jupyterlab/extensions/__init__.py",
        imports=("jupyterlab.extensions",),
        later={"jupyterlab.extensions.pypi": {"PyPIExtensionManager": None}},
    ),
    Trick(
        "node",
        "JupyterLab runs `node yarn config` as it is imported; only builds of JupyterLab need the answer.",
        "https://github.com/jupyterlab/jupyterlab/blob/v4.6.6/jupyterlab/commands.py",
        imports=("jupyterlab.labapp",),
        instead={"jupyterlab.commands:_yarn_config": _no_yarn},
    ),
    Trick(
        "version",
        "JupyterHub's single-user server asks for the hub's version before it listens. By then the hub has "
        "told it, and preflight has compared it.",
        "https://github.com/jupyterhub/jupyterhub/blob/6.1.1/jupyterhub/singleuser/extension.py",
        instead={"jupyterhub.singleuser.extension:JupyterHubSingleUser.check_hub_version": _not_again},
    ),
    Trick(
        "ipython",
        "notebook-shim imports all of IPython to learn the path of one directory.",
        "https://github.com/jupyter/notebook_shim/blob/v0.2.4/notebook_shim/traits.py",
        later={"IPython.paths": {"get_ipython_dir": _ipython_dir}},
    ),
    Trick(
        "garbage",
        "What is imported stays: until the server listens there is hardly any garbage for Python to find.",
        "https://docs.python.org/3/library/gc.html#gc.freeze",
    ),
)
"""In the order in which they are in force: what one imports may be what another is about."""


class Start:
    """A start, with the tricks that `begin` leaves on; before that, with none."""

    def __init__(self) -> None:
        self._tricks: list[Trick] = []
        self._until_it_listens = ExitStack()

    def begin(self, stock: str) -> None:
        """Begin.

        Args:
            stock: Names of tricks to leave off, or `all`, with spaces or commas between them.
        """
        off, known = set(re.split(r"[\s,]+", stock)) - {""}, [trick.name for trick in TRICKS]
        for name in sorted(off.difference(known, ["all"])):
            told = f"LAUNCHER_STOCK has {name!r}, which is none of: all, {', '.join(known)}"
            print(f"launcher-singleuser: {told}", file=sys.stderr, flush=True)
        self._tricks = [trick for trick in TRICKS if not off & {trick.name, "all"}]
        if self.has("garbage"):
            gc.disable()

    def has(self, name: str) -> bool:
        """Tell whether a trick is on."""
        return any(trick.name == name for trick in self._tricks)

    def take(self, module: str) -> None:
        """Import a module, without what tricks leave out of it."""
        with ExitStack() as stack:
            for trick in self._tricks:
                if module in trick.imports:
                    stack.enter_context(trick.in_force())
            __import__(module)

    def jupyterlab(self) -> None:
        """Import what tricks are about; what can't be imported is left to those who need it."""
        for trick in self._tricks:
            if not trick.imports:
                self._until_it_listens.enter_context(trick.in_force())
            for module in trick.imports:
                with suppress(Exception):
                    self.take(module)

    def over(self) -> None:
        """Let all be as ever: the server listens, or never will."""
        self._until_it_listens.close()
        if self.has("garbage"):
            gc.freeze()
            gc.enable()
        self._tricks = []


START = Start()
"""The start of this process."""
