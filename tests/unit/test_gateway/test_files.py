"""Looking at files through the gateway."""

import os
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from firecrest.v2 import AsyncFirecrest

from launcher.sandbox.accounts import Account

from .kit import error


async def test_head_and_tail_show_lines_or_bytes(
    alice: AsyncFirecrest, accounts: Mapping[str, Account]
) -> None:
    path = accounts["alice"].home / "slurm-3.out"
    path.write_text("".join(f"{number}\n" for number in range(20)))
    first, last = "".join(f"{n}\n" for n in range(10)), "".join(f"{n}\n" for n in range(10, 20))

    def shown(content: str, start: int, end: int, unit: str = "lines") -> dict[str, Any]:
        return {"content": content, "contentType": unit, "startPosition": start, "endPosition": end}

    where = ("sandbox", str(path))
    assert await alice.head(*where) == shown(first, 0, 10)
    assert await alice.head(*where, num_lines=1) == shown("0\n", 0, 1)
    assert await alice.head(*where, num_lines=19, exclude_trailing=True) == shown("0\n", 0, -19)
    assert await alice.head(*where, num_bytes=3) == shown("0\n1", 0, 3, "bytes")
    assert await alice.tail(*where) == shown(last, 10, -1)
    assert await alice.tail(*where, num_lines=1) == shown("19\n", -1, -1)
    assert await alice.tail(*where, num_lines=19, exclude_beginning=True) == shown("19\n", 19, -1)
    assert await alice.tail(*where, num_bytes=3) == shown("19\n", -3, -1, "bytes")
    assert await alice.view(*where) == first + last


async def test_names_of_files_may_hold_anything(
    alice: AsyncFirecrest, accounts: Mapping[str, Account]
) -> None:
    home = accounts["alice"].home
    name = 'é "quoted" \\ $HOME; -n'
    (home / name).write_text("text")
    (home / ".hidden").touch()
    (home / "folder").mkdir()
    (home / "folder" / "line\nbreak").touch()
    (home / "link").symlink_to(name)
    listed = {entry["name"]: entry for entry in await alice.list_files("sandbox", str(home))}
    assert set(listed) == {name, "folder", "link"}
    assert listed[name]["size"] == "4"
    assert listed[name]["linkTarget"] is None
    assert listed["link"]["type"] == "l"
    assert listed["link"]["linkTarget"] == name
    assert set(listed[name]) == {
        *("name", "type", "linkTarget", "user", "group", "permissions", "lastModified", "size")
    }
    everything = await alice.list_files(
        "sandbox", str(home), show_hidden=True, recursive=True, numeric_uid=True
    )
    assert {entry["name"] for entry in everything} == {
        name,
        ".hidden",
        "folder",
        "folder/line\nbreak",
        "link",
    }
    assert everything[0]["user"] == str(os.getuid())
    assert (await alice.view("sandbox", str(home / name))) == "text"


async def test_stat_says_what_the_kernel_says(alice: AsyncFirecrest, accounts: Mapping[str, Account]) -> None:
    path = accounts["alice"].home / "file"
    path.write_text("text")
    known = path.stat()
    assert await alice.stat("sandbox", str(path)) == {
        "mode": known.st_mode,
        "ino": known.st_ino,
        "dev": known.st_dev,
        "nlink": 1,
        "uid": known.st_uid,
        "gid": known.st_gid,
        "size": 4,
        "atime": int(known.st_atime),
        "mtime": int(known.st_mtime),
        "ctime": int(known.st_ctime),
    }


async def test_a_missing_file_is_not_found(http: httpx.AsyncClient, accounts: Mapping[str, Account]) -> None:
    path = accounts["alice"].home / "nosuch"
    answer = await http.get("/filesystem/sandbox/ops/head", params={"path": str(path)})
    message = (
        f"Remote process failed with exit status:1 and error message:head: cannot open '{path}' for reading: "
        "No such file or directory"
    )
    assert (answer.status_code, answer.json()) == (404, error(message))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{home}/../../../etc/passwd", "relative", "{home}x/../..", "{home}\0"]
)
async def test_nothing_outside_the_file_systems_is_looked_at(
    http: httpx.AsyncClient, accounts: Mapping[str, Account], path: str
) -> None:
    asked = path.format(home=accounts["alice"].home.parent)
    answer = await http.get("/filesystem/sandbox/ops/head", params={"path": asked})
    message = (
        f"The provided path ({asked}) does not match any of the defined filesystem paths "
        "for the requested system (sandbox)."
    )
    assert (answer.status_code, answer.json()) == (400, error(message))


async def test_a_file_that_gives_nothing_times_out(
    http: httpx.AsyncClient, accounts: Mapping[str, Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.sandbox.gateway.filesystem._TIMEOUT", 0.2)
    path = accounts["alice"].home / "pipe"
    os.mkfifo(path)
    answer = await http.get("/filesystem/sandbox/ops/head", params={"path": str(path)})
    assert (answer.status_code, answer.json()) == (408, error("Remote process failed with exit status:124"))


@pytest.mark.parametrize("query", [{}, {"lines": "x"}, {"lines": "1", "bytes": "1"}, {"skipTrailing": "?"}])
async def test_a_question_that_makes_no_sense_is_refused(
    http: httpx.AsyncClient, accounts: Mapping[str, Account], query: dict[str, str]
) -> None:
    where = {"path": str(accounts["alice"].home)} if query else {}
    answer = await http.get("/filesystem/sandbox/ops/head", params={**where, **query})
    assert answer.status_code == 400
