"""What a start does without: each trick by itself, against the locked versions, in a real server."""

import gc
import json
import re
import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from certipy import Certipy

from benchmarks.node.hub import hub
from benchmarks.node.starts import PATH, Given, Node
from launcher.singleuser import shortcuts
from launcher.singleuser.shortcuts import TRICKS, Start, Trick

ROOT = Path(__file__).parents[2]
NAMES = [trick.name for trick in TRICKS]

# A node's program. As its server listens, it tells what has happened of all that tricks leave out, and then
# what comes of using it.
SERVER = """
import collections, gc, json, os, ssl, sys
from launcher.protocol import EventKind
from launcher.singleuser import main
from launcher.singleuser.reporter import Reporter
from launcher.singleuser.shortcuts import _Later

collected, read, begun = [], collections.Counter(), False

def happened():
    import aiohttp.connector
    contexts = aiohttp.connector._SSL_CONTEXT_VERIFIED, aiohttp.connector._SSL_CONTEXT_UNVERIFIED
    imported = {name for name, module in sys.modules.items() if not isinstance(module, _Later)}
    yarn = os.path.exists("node.log") and "yarn" in open("node.log").read()
    seen = {
        "plugins": max(read.values()) > 1,
        "formats": "rfc3987_syntax" in imported,
        "certificates": {type(each) for each in contexts} == {ssl.SSLContext},
        "database": {"sqlalchemy", "alembic", "jupyterhub.orm", "jupyterhub.handlers"} <= imported,
        "requests": "requests" in imported,
        "pypi": {"jupyterlab.extensions.pypi", "httpx"} <= imported,
        "node": yarn,
        "ipython": {"IPython", "IPython.paths"} <= imported,
        "garbage": bool(collected) and not gc.get_freeze_count(),
    }
    part = {"sqlalchemy", "alembic", "jupyterhub.orm", "rfc3987_syntax", "requests", "httpx", "IPython"}
    left = [name for name, module in sys.modules.items() if isinstance(module, _Later)]
    return {
        "stock": [name for name, it_did in seen.items() if it_did],
        "imported": sorted(part & imported),
        "stand-ins": left,
        "collects": gc.isenabled(),
    }

def send(reporter, kind, *, send=Reporter.send, **facts):
    global begun
    begun = begun or kind is EventKind.STARTING
    if kind is EventKind.READY:
        print("It says", json.dumps(happened()), flush=True)
        exec(os.environ.pop("THEN"), {"tell": lambda what: print("It says", json.dumps(what), flush=True)})
    send(reporter, kind, **facts)

def heard(event, arguments):
    if event == "open" and str(arguments[0]).endswith("/entry_points.txt"):
        read[str(arguments[0])] += 1

sys.addaudithook(heard)
gc.callbacks.append(lambda phase, info: collected.append(phase) if begun else None)
Reporter.send = send
# As root anything can be written.
writable, may = int(os.environ.pop("WRITABLE")), os.access
os.access = lambda path, mode, **more: may(path, mode, **more) and (
    mode != os.W_OK or writable or not str(path).endswith("site-packages")
)
sys.exit(main())
"""

# What puts off is only worth something if all of it is there for whoever needs it.
USE = """
import os, ssl, sys

from jsonschema import Draft202012Validator
address = Draft202012Validator({"format": "iri"}, format_checker=Draft202012Validator.FORMAT_CHECKER)
tell([address.is_valid("https://example.org/\\u00e9"), address.is_valid("no address")])

import aiohttp.connector
context = aiohttp.connector._SSL_CONTEXT_VERIFIED
tell(context.cert_store_stats() == ssl.create_default_context().cert_store_stats())

import jupyterhub.log, jupyterhub.scopes, jupyterhub.utils
from jupyterhub import orm, roles
database = orm.new_session_factory("sqlite:///:memory:")()
database.add(user := orm.User(name="alice"))
database.commit()
roles.create_role(database, {"name": "user", "scopes": ["self"]})
roles.grant_role(database, user, "user")
tell("read:users:name!user=alice" in jupyterhub.scopes.get_scopes_for(user))
from jupyterhub.handlers.pages import HealthCheckHandler
tell(issubclass(type("Derived", (jupyterhub.log.HealthCheckHandler,), {}), HealthCheckHandler))

import requests
from jupyterlab_server import listings_handler
tell(listings_handler.requests.get is requests.get)

import jupyterlab.extensions
from jupyterlab.extensions.pypi import PyPIExtensionManager
tell(type(jupyterlab.extensions.get_pypi_manager()) is PyPIExtensionManager)

from jupyterlab.commands import _yarn_config
tell(_yarn_config.__module__)

from jupyterhub.singleuser.extension import JupyterHubSingleUser
tell(JupyterHubSingleUser.check_hub_version.__module__)

from IPython.paths import get_ipython_dir
tell([get_ipython_dir.__module__, get_ipython_dir() == os.path.expanduser("~/.ipython")])
"""


# One of the cells is Python only to IPython.
EXPORT = """
import hashlib, nbformat.v4 as v4
from nbconvert.exporters import get_exporter
cells = [v4.new_markdown_cell("# A *report*", id="a"), v4.new_code_cell("%cd ..\\n!ls\\nlist?", id="b")]
language = {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"}
notebook = v4.new_notebook(cells=cells, metadata={"language_info": language})
def exported(name):
    try:
        return get_exporter(name)().from_notebook_node(notebook)[0]
    except Exception as error:  # as of stock, where this Python can't
        return repr(error)
made = {name: exported(name) for name in ("html", "markdown", "notebook", "python", "script", "slides")}
tell({name: hashlib.sha256(text.encode()).hexdigest() for name, text in made.items()})
tell("run_line_magic('cd', '..')" in made["python"] and "*report*" in made["markdown"])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return the home of who starts servers."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def started(home):
    """Return a function that starts a server, and returns what it says of that."""
    programs = home / "programs"
    programs.mkdir()
    (programs / "node").write_text(f'#!/bin/sh\necho "$@" >> {home}/node.log\n')
    (programs / "node").chmod(0o755)
    program = home / "program.py"
    program.write_text(SERVER)

    def start(stock, then="", *, writable=False, given=Given.TICKET):
        (home / "node.log").unlink(missing_ok=True)
        told = ["--allow-root"]
        with hub(str(home)) as there:
            asked = questions(there)
            there.answer = there.answer._replace(arguments=told)
            variables = [f"LAUNCHER_STOCK={stock}", f"THEN={then}", f"WRITABLE={int(writable)}"]
            command = ["env", *variables, sys.executable, "-I", str(program)]
            command += [] if given is Given.TICKET else ["jupyterhub-singleuser", *told]
            with Node(home, there).running(command, given, f"{programs}:{PATH}") as server:
                said = re.findall("^It says (.*)", server.log, re.MULTILINE)
        said = [json.loads(line) for line in said]
        # Without a ticket the launcher's own question comes first.
        said[0]["stock"] += ["version"] * (len(asked) > (given is not Given.TICKET))
        return said

    return start


def questions(hub):
    """Return a list of what a hub is asked for; it grows."""
    asked = []
    handler = hub.server.RequestHandlerClass
    answer = handler.do_GET

    def heard(self):
        asked.append(self.path)
        answer(self)

    handler.do_GET = heard
    return asked


def test_a_start_does_without_all_of_it_and_leaves_nothing_in_its_place(started):
    said, variable = started("", "import os; tell(os.environ.get('LAUNCHER_STOCK'))")
    assert variable is None
    assert said == {"stock": [], "imported": [], "stand-ins": [], "collects": True}


@pytest.mark.parametrize("name", NAMES)
def test_a_trick_that_is_left_off_is_the_only_one(started, name):
    (said,) = started(name)
    assert said["stock"] == [name]
    assert said["collects"]


def test_what_was_put_off_is_there_when_it_is_used(started):
    _, *said = started("", USE)
    assert said == [
        [True, False],
        True,
        True,
        True,
        True,
        True,
        "jupyterlab.commands",
        "jupyterhub.singleuser.extension",
        ["IPython.paths", True],
    ]


def test_a_notebook_is_exported_byte_for_byte_as_by_one_that_leaves_all_of_them_off(started):
    _, by_short, right = started("", EXPORT)
    said, by_stock, _ = started("all", EXPORT)
    assert sorted(said["stock"]) == sorted(NAMES)
    assert right
    assert by_short == by_stock


def test_an_extension_that_imports_ipython_at_the_start_has_all_of_it(started, home):
    config = home / ".jupyter/jupyter_server_config.py"
    config.parent.mkdir(exist_ok=True)
    config.write_text("import IPython.core.application")
    # Where IPython looks and Jupyter does not.
    own = home / "own/.config/ipython"
    own.mkdir(parents=True)
    asked = f"""
import os
from IPython.core import application
os.environ["HOME"] = "{own.parents[1]}"
tell(application.get_ipython_dir())
"""
    _, told = started("", asked)
    config.unlink()
    assert told == str(own)


def test_where_extensions_can_be_installed_what_does_it_is_imported_and_works(started):
    said, manager = started(
        "", "import jupyterlab.extensions as it; tell(it.PyPIExtensionManager.__name__)", writable=True
    )
    assert said["stock"] == ["pypi"]
    assert manager == "PyPIExtensionManager"


@pytest.mark.parametrize("file", ["jupyter_lab_config.py", "jupyter_server_config.py"])
def test_who_wants_to_see_what_pypi_has_does(started, home, file):
    config = home / ".jupyter" / file
    config.parent.mkdir(exist_ok=True)
    config.write_text('c.LabApp.extension_manager = "pypi"')
    (said,) = started("")
    config.unlink()
    assert said["stock"] == ["pypi"]


@pytest.mark.parametrize("given", [Given.ALL, Given.NO_PORT])
def test_a_server_of_another_spawner_does_without_the_same(started, given):
    (said,) = started("database", given=given)
    assert said["stock"] == ["database"]


@pytest.fixture
def begun(monkeypatch):
    """Return a function that begins a start with tricks of a test."""
    starts = []

    def begin(*tricks, stock=""):
        monkeypatch.setattr(shortcuts, "TRICKS", tricks)
        start = Start()
        starts.append(start)
        start.begin(stock)
        return start

    yield begin
    for start in starts:
        start.over()


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Return a function that writes modules, which are forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(texts=(), **others):
        for name, text in {**dict(texts), **others}.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def trick(**facts):
    return Trick("it", "A reason.", "https://example.org", **facts)


class TestWhatIsPutOff:
    def test_it_is_imported_by_its_first_use_and_stays(self, begun, modules):
        modules(later_="import sys\nsys.counted = getattr(sys, 'counted', 0) + 1", user_="import later_")
        start = begun(trick(imports=("user_",), later={"later_": {}}))
        start.take("user_")
        assert "later_" not in sys.modules
        user = sys.modules["user_"]
        assert user.later_.sys.counted == 1
        import later_  # noqa: PLC0415

        assert user.later_.sys is later_.sys
        assert sys.counted == 1
        del sys.counted

    def test_a_name_may_be_called_derived_from_caught_and_asked_after(self, begun, modules):
        modules(
            later_="class It(Exception):\n    size = 3\nmade = It",
            user_="from later_ import It\ndef of(x):\n    return isinstance(x, int | It)",
        )
        start = begun(trick(imports=("user_",), later={"later_": {"It": None}}))
        start.take("user_")
        user = sys.modules["user_"]
        assert not user.of("text")
        try:
            assert user.of(3)
        except user.It:
            pytest.fail("nothing was raised")
        assert "later_" not in sys.modules
        import later_  # noqa: PLC0415

        assert type(user.It("because")) is later_.It

        class Own(user.It):
            """One of somebody's own."""

        assert Own.__mro__[1] is later_.It
        assert Own.size == 3

    def test_who_takes_another_name_from_it_gets_the_real_module(self, begun, modules):
        modules(later_="here = there = 1", user_="from later_ import here, there")
        start = begun(trick(imports=("user_",), later={"later_": {"here": None}}))
        start.take("user_")
        assert sys.modules["later_"].there == sys.modules["user_"].there == 1

    def test_a_module_of_a_package_is_put_off_without_its_package(self, begun, modules):
        modules({"package_/__init__": ""}, user_="from package_.later import it")
        modules({"package_/later": "it = 1"})
        start = begun(trick(imports=("user_",), later={"package_.later": {"it": None}}))
        start.take("user_")
        assert "package_" not in sys.modules

    def test_what_is_not_installed_is_missing_as_ever(self, begun, modules):
        modules(user_="try:\n    import no_such_\nexcept ImportError:\n    no_such_ = None")
        start = begun(trick(imports=("user_",), later={"no_such_": {}}))
        start.take("user_")
        assert sys.modules["user_"].no_such_ is None

    def test_what_is_imported_already_is_not(self, begun, modules):
        modules(user_="import json")
        start = begun(trick(imports=("user_",), later={"json": {}}))
        start.take("user_")
        assert sys.modules["user_"].json is json


class TestWhatDoesNotFit:
    def test_a_module_that_needs_more_of_what_is_put_off_is_imported_without_the_trick(self, begun, modules):
        modules({"package_/__init__": ""}, user_="import package_.part\nit = package_.part.it")
        modules({"package_/part": "it = 1"})
        start = begun(trick(imports=("user_",), later={"package_": {}}))
        start.jupyterlab()
        assert "user_" not in sys.modules
        import user_  # noqa: PLC0415

        assert user_.it == 1

    @pytest.mark.parametrize("place", ["no_such_:it", "json:no_such.it", "json:decoder.no_such"])
    def test_what_a_version_does_not_have_is_not_replaced(self, begun, modules, place):
        modules(user_="it = 1")
        start = begun(trick(imports=("user_",), instead={place: 2}))
        start.take("user_")
        assert sys.modules["user_"].it == 1

    def test_a_module_that_a_version_does_not_have_is_left_to_who_needs_it(self, begun):
        start = begun(trick(imports=("no_such_",)), trick(imports=("json",)))
        start.jupyterlab()
        with pytest.raises(ModuleNotFoundError):
            start.take("no_such_")


class TestWhatIsReplaced:
    def test_it_is_while_something_is_imported(self, begun, modules):
        modules(owner_="def it():\n    return 1", user_="import owner_\nseen = owner_.it()")
        start = begun(trick(imports=("user_",), instead={"owner_:it": lambda: 2}))
        start.take("user_")
        assert sys.modules["user_"].seen == 2
        assert sys.modules["owner_"].it() == 1

    def test_without_imports_it_is_until_the_server_listens(self, begun, modules):
        modules(owner_="def it():\n    return 1")
        start = begun(trick(instead={"owner_:it": lambda: 2}))
        start.jupyterlab()
        assert sys.modules["owner_"].it() == 2
        start.over()
        assert sys.modules["owner_"].it() == 1


class TestLeftOff:
    @pytest.mark.parametrize("stock", ["it", "all", "other, it", "other it", " it,\nother"])
    def test_names_come_with_spaces_or_commas(self, begun, modules, stock, capsys):
        modules(later_="", user_="import later_")
        other = trick()._replace(name="other")
        begun(trick(imports=("user_",), later={"later_": {}}), other, stock=stock).take("user_")
        assert "later_" in sys.modules
        assert capsys.readouterr().err == ""

    def test_a_name_that_nothing_has_is_told_and_nothing_else(self, begun, capsys):
        begun(trick(), stock="it, garbge")
        assert capsys.readouterr().err == (
            "launcher-singleuser: LAUNCHER_STOCK has 'garbge', which is none of: all, it\n"
        )

    def test_before_a_start_begins_all_is_as_ever(self, modules):
        modules(later_="", user_="import later_")
        Start().take("user_")
        assert "later_" in sys.modules


class TestGarbage:
    def test_none_is_looked_for_until_it_is_over(self, begun):
        start = begun(*TRICKS)
        assert not gc.isenabled()
        start.over()
        assert gc.isenabled()
        assert gc.get_freeze_count()
        gc.unfreeze()


@pytest.fixture(scope="module")
def https(tmp_path_factory):
    """Return certificates of a server, and the file of who vouches for them."""
    store = Certipy(store_dir=str(tmp_path_factory.mktemp("store")))
    store.create_ca("ca")
    pair = store.create_signed_pair("it", "ca", alt_names=["DNS:localhost"])["files"]
    trusted = store.store.get_record("ca")["files"]["cert"]
    return SimpleNamespace(key=pair["key"], cert=pair["cert"], trusted=trusted)


class TestCertificates:
    # Who asks is aiohttp, as JupyterHub's single-user server has it.
    ASK = """
import asyncio, ssl, sys
from launcher.singleuser.shortcuts import START
START.begin("")
START.take("aiohttp")
import aiohttp

async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
    writer.close()

async def main():
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(*sys.argv[1:])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=own)
    port = server.sockets[0].getsockname()[1]
    resolver = aiohttp.ThreadedResolver()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        try:
            async with session.get(f"https://localhost:{port}/") as answer:
                print(await answer.text())
        except aiohttp.ClientConnectorCertificateError:
            print("not trusted")
    server.close()

asyncio.run(main())
"""

    @pytest.mark.parametrize(("trusted", "answer"), [(True, "hello"), (False, "not trusted")])
    def test_a_server_is_trusted_if_its_authority_is_and_only_then(self, https, tmp_path, trusted, answer):
        nobody = tmp_path / "none.pem"
        nobody.touch()
        done = subprocess.run(
            [sys.executable, "-c", self.ASK, https.cert, https.key],
            env={"SSL_CERT_FILE": https.trusted if trusted else str(nobody), "SSL_CERT_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.strip() == answer

    def test_other_contexts_read_theirs_at_once(self, begun, https, monkeypatch):
        class Others(ssl.SSLContext):
            """Of somebody who has a kind of their own."""

        monkeypatch.setenv("SSL_CERT_FILE", https.trusted)
        (certificates,) = (each for each in TRICKS if each.name == "certificates")
        with certificates.in_force():
            others, own = (kind(ssl.PROTOCOL_TLS_CLIENT) for kind in (Others, ssl.SSLContext))
            others.set_default_verify_paths()
            own.set_default_verify_paths()
        assert type(others) is Others
        assert others.cert_store_stats()["x509_ca"] == 1
        assert type(own) is not ssl.SSLContext
        assert own.cert_store_stats()["x509_ca"] == 1
        assert type(own) is ssl.SSLContext

    def test_one_that_another_thread_uses_meanwhile_reads_them(self, https, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", https.trusted)
        (certificates,) = (each for each in TRICKS if each.name == "certificates")
        with certificates.in_force():
            context = ssl.create_default_context()
            assert [each["subject"][0][0][1] for each in context.get_ca_certs()] == ["ca"]


def test_admins_read_of_each_by_the_name_that_switches_it_off():
    page = (ROOT / "docs/admin/start-up.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == NAMES


def test_each_says_why_and_where_that_can_be_read():
    for each in TRICKS:
        assert each.reason.endswith(".")
        assert each.link.startswith("https://")
