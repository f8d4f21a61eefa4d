"""A session whose start does without what tricks leave out, beside the same one of stock: nothing differs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from support import Person

from launcher.check.browser import Browser
from launcher.check.session import Kernel, run_in_terminal

CLUSTER = {"proxy": True, "prologue": "[ ! -f ~/prologue ] || . ~/prologue"}
STOCK = "export LAUNCHER_STOCK=all\n"

# Some of it is Python only to IPython.
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# A report\n\n$x^2$ and `code`"},
        {
            "cell_type": "code",
            "execution_count": 1,
            "id": "b",
            "metadata": {},
            "outputs": [{"name": "stdout", "output_type": "stream", "text": "42\n"}],
            "source": "%config InlineBackend.figure_format = 'svg'\n!ls\nlist?\nprint(6 * 7)",
        },
        {
            "cell_type": "code",
            "execution_count": 2,
            "id": "c",
            "metadata": {},
            "outputs": [],
            "source": "%%bash\nls",
        },
        {"cell_type": "raw", "id": "d", "metadata": {}, "source": "as it is"},
    ],
    "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}
EXPORTS = ("markdown", "notebook", "python", "script")
# These need other programs, or a Python with fewer bugs than some systems have.
MORE_EXPORTS = ("asciidoc", "html", "latex", "rst", "slides")

PROGRAM = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from " + self.path.encode())
    def log_message(self, *arguments):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port)
"""

SETTING = "lab/api/settings/@jupyterlab/notebook-extension:tracker"
# What is asked of both, and answered from schemas, packages or lists of them.
QUESTIONS = (
    ("GET", "api/me", None),
    ("GET", "api/nbconvert", None),
    ("GET", "lab/api/extensions", None),
    ("GET", "lab/api/listings/@jupyterlab/extensionmanager-extension/listings.json", None),
    ("GET", "lab/api/settings", None),
    ("GET", "lab/api/themes/@jupyterlab/theme-dark-extension/index.css", None),
    ("GET", "lab/api/translations", None),
    ("GET", "lsp/status", None),
    ("GET", "server-proxy/servers-info", None),
    ("PUT", SETTING, {"raw": '{"codeCellConfig": {"lineNumbers": true}}'}),
    ("PUT", SETTING, {"raw": '{"codeCellConfig": 3}'}),
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(site):
    """What somebody sees in a session of stock, and then in one without."""
    editor = site.state / "software/bin/code-server"
    editor.write_text("#!/bin/sh\nexit 1\n")
    editor.chmod(0o755)
    account = next(iter(site.accounts))
    seen = []
    async with Browser() as browser:
        alice = await Person.log_in(site, account.name, browser)
        for prologue in (STOCK, ""):
            (account.home / "prologue").write_text(prologue)
            events = await alice.start()
            assert events[-1]["ready"], events
            seen.append(await everything(alice, account.home))
            await alice.stop()
            shutil.rmtree(account.home / ".jupyter/lab")
            (account.home / "report.ipynb").unlink()
    return seen


async def everything(person, home):
    """Use a session for all that there is; return what came of it."""
    # The server's own log-in at the hub, as when a browser opens the page.
    assert (await person.browser.open(f"{person.server}lab")).status == 200
    page = await person.browser.call("GET", f"{person.server}lab")
    (config,) = re.findall(
        'id="jupyter-config-data" type="application/json">(.*?)</script>', page.text, re.DOTALL
    )
    kernel = await Kernel.start(person.browser, person.server)
    cell = await kernel.run("%time\nprint(6 * 7)")
    port = (await kernel.run(PROGRAM)).strip()
    proxied = await person.browser.call("GET", f"{person.server}proxy/{port}/here")
    await kernel.shut_down()
    await run_in_terminal(person.browser, person.server, "echo $((6 * 7))!", "42!")
    answers = [await answered(person, *question) for question in QUESTIONS]
    path = f"{home}/report.ipynb".lstrip("/")
    saved = await answered(person, "PUT", f"api/contents/{path}", {"type": "notebook", "content": NOTEBOOK})
    broken = {"type": "notebook", "content": {**NOTEBOOK, "cells": [{"cell_type": "code"}]}}
    refused = await answered(person, "PUT", f"api/contents/{path}", broken)
    exports = {
        name: await person.browser.call("GET", f"{person.server}nbconvert/{name}/{path}")
        for name in (*EXPORTS, *MORE_EXPORTS)
    }
    (job,) = await person.site.live_jobs(person.name)
    log = Path((await person.site.scheduler.job(job)).standard_output).read_text()
    return {
        "page": {name: value for name, value in json.loads(config).items() if name != "token"},
        "extensions": sorted(re.findall(r"\] (\S+) \| extension was successfully loaded", log)),
        "complaints": re.findall(r"^\[[EC].*", log.partition(" is running at")[0], re.MULTILINE),
        "cell": cell.split()[-1],
        "proxied": proxied.text,
        "answers": answers,
        "saved": saved[0],
        "refused": refused,
        "exports": {name: each.status_code == 200 and each.content for name, each in exports.items()},
        "libraries": libraries(person),
        "active": (await person.server_model())["last_activity"] is not None,
    }


async def answered(person, method, path, body):
    """Return the status of an answer, and what it says; some lists come in any order."""
    answer = await person.browser.call(method, person.server + path, body)
    try:
        said = answer.json()
    except ValueError:
        return answer.status_code, answer.text
    if "settings" in said:
        said["settings"].sort(key=lambda each: each["id"])
    return answer.status_code, said


def libraries(person):
    """Return the packages whose libraries a server has in memory."""
    program = f"{person.site.state}/software/bin/launcher-singleuser"
    (server,) = (
        each.pid for each in psutil.process_iter(["cmdline"]) if program in (each.info["cmdline"] or [])
    )
    return set(
        re.findall(r"/site-packages/([^/]+)/.*\.so$", Path(f"/proc/{server}/maps").read_text(), re.MULTILINE)
    )


async def test_the_page_is_told_the_same(both):
    stock, short = (seen["page"] for seen in both)
    assert short == stock


async def test_the_same_extensions_are_loaded_and_none_complains(both):
    stock, short = both
    assert short["extensions"] == stock["extensions"]
    assert {"jupyterhub", "jupyterlab", "jupyter_lsp", "jupyter_server_proxy"} < set(short["extensions"])
    assert short["complaints"] == stock["complaints"] == []


async def test_a_notebook_a_terminal_and_a_program_behind_the_proxy_work(both):
    for seen in both:
        assert (seen["cell"], seen["proxied"]) == ("42", "hello from /here")


async def test_a_notebook_is_exported_byte_for_byte_as_by_stock(both):
    stock, short = (seen["exports"] for seen in both)
    assert short == stock
    assert [name for name in EXPORTS if not short[name]] == []
    assert b"get_ipython().run_line_magic" in short["python"]


async def test_all_questions_are_answered_alike(both):
    stock, short = (seen["answers"] for seen in both)
    for question, by_stock, by_short in zip(QUESTIONS, stock, short, strict=True):
        assert by_short == by_stock, question


async def test_the_tile_of_vs_code_is_there(both):
    _, short = both
    _, said = short["answers"][QUESTIONS.index(("GET", "server-proxy/servers-info", None))]
    (tile,) = said["server_processes"]
    assert tile["launcher_entry"]["title"] == "VS Code"


async def test_what_breaks_a_schema_is_refused_in_the_same_words(both):
    stock, short = both
    assert [status for status, _ in short["answers"][-2:]] == [204, 400]
    assert short["saved"] == stock["saved"] == 201
    assert short["refused"] == stock["refused"]
    assert short["refused"][0] >= 400


async def test_the_hub_hears_that_the_session_is_used(both):
    assert [seen["active"] for seen in both] == [True, True]


async def test_in_all_that_nobody_has_needed_a_database(both):
    stock, short = (seen["libraries"] for seen in both)
    assert "sqlalchemy" in stock
    assert "sqlalchemy" not in short
    assert "tornado" in short
