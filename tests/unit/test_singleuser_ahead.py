"""What is imported while the hub is asked: only what does not depend on its answer."""

import json
import re
import subprocess
import sys
import time

import pytest

from launcher.singleuser.ahead import MODULES, ImportAhead

# What the batch script, the node or Python itself decides on, or what nobody sets.
ALLOWED = re.compile(
    r"HOME|PATH|LANG|LC_\w+|TERM|_?PYTHON\w*|PYZMQ_BACKEND|\w+_NO_EXTENSIONS?|TORNADO_EXTENSION|"
    r"TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR|SSLKEYLOGFILE"
)

# Reads in C are not seen: of those, only OpenSSL's of the certificates to trust matters.
RECORDER = """
import json, os, ssl, sys
reads = set()
def recorded(name, read):
    def method(self, *key):
        reads.add(os.fsdecode(key[0]) if key else "all of it")
        return read(self, *key)
    setattr(type(os.environ), name, method)
for name in ("__getitem__", "__contains__", "__iter__"):
    recorded(name, getattr(type(os.environ), name))
trust = ssl.SSLContext.set_default_verify_paths
ssl.SSLContext.set_default_verify_paths = lambda self: (reads.add("SSL_CERT_FILE"), trust(self))
from launcher.singleuser.ahead import ImportAhead
from launcher.singleuser.shortcuts import START
START.begin(sys.argv[1])
with ImportAhead() as ahead:
    ahead.join()
print(json.dumps([sorted(reads), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def python(code, *arguments):
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)
    return json.loads(ended.stdout)


@pytest.fixture(scope="module", params=["", "all"])
def recorded(request):
    """Return what is read and imported, with all tricks and with none."""
    return python(RECORDER, request.param)


def test_they_read_no_variable_that_a_hub_delivers(recorded):
    reads, _ = recorded
    assert [name for name in reads if not ALLOWED.fullmatch(name)] == []


def test_nothing_of_jupyters_own_is_among_them(recorded):
    _, imported = recorded
    own = {
        "jupyterhub",
        "jupyter_core",
        "jupyter_client",
        "jupyter_server",
        "jupyterlab",
        "jupyterlab_server",
    }
    assert own & set(imported) == set()


def test_what_a_start_does_without_is_not_among_them():
    _, imported = python(RECORDER, "")
    assert "aiohttp" in imported
    assert {"sqlalchemy", "alembic", "rfc3987_syntax", "requests", "IPython"} & set(imported) == set()


def test_each_is_imported_in_any_case():
    code = "import json, sys, launcher.singleuser.server; print(json.dumps(list(sys.modules)))"
    assert set(MODULES) <= set(python(code))


def test_what_is_missing_is_left_to_be_found_missing(monkeypatch):
    monkeypatch.setattr("launcher.singleuser.ahead.MODULES", ("no_such_module_anywhere", "zipapp"))
    sys.modules.pop("zipapp", None)
    with ImportAhead() as ahead:
        ahead.join()
    assert "zipapp" not in sys.modules


def test_after_an_error_no_other_is_begun(monkeypatch):
    def modules():
        yield "json"
        while ahead._wanted:
            time.sleep(0.01)
        yield "zipapp"

    ahead = ImportAhead()
    sys.modules.pop("zipapp", None)
    monkeypatch.setattr("launcher.singleuser.ahead.MODULES", modules())
    with pytest.raises(OSError), ahead:
        raise OSError
    assert "zipapp" not in sys.modules
