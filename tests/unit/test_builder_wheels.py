"""Wheels: chosen for the machines of the image, checked by their hashes, followed by what they need."""

import base64
import fcntl
import hashlib
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from quiet import Silent

from launcher.builder.download import platforms
from launcher.builder.lock import Lock
from launcher.builder.target import Target
from launcher.builder.wheels import Wheel, closure, fetch, requirements_of
from launcher.errors import BuildFailed

OLD = Target("x86_64", (2, 17), (3, 11))
NEW = Target("x86_64", (2, 34), (3, 11))


def make_wheel(directory: Path, name: str, tags: str = "py3-none-any", *requires: str) -> Path:
    wheel = directory / f"{name}-1.0-{tags}.whl"
    record = f"{name}-1.0.dist-info/RECORD"
    files = {
        f"{name}/__init__.py": "",
        f"{name}-1.0.dist-info/METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                "Version: 1.0",
                *(f"Requires-Dist: {each}" for each in requires),
                "",
            ]
        ),
        f"{name}-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n",
    }
    rows = []
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(text)}\n")
            archive.writestr(zipfile.ZipInfo(path), text)
        archive.writestr(zipfile.ZipInfo(record), "".join([*rows, f"{record},,\n"]))
    return wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return directory


def lock_of(index, *extra):
    pins = {}
    for wheel in index.glob("*.whl"):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        pins.setdefault(wheel.name.partition("-")[0], []).append(f"    --hash=sha256:{digest}")
    lines = [line for name, hashes in sorted(pins.items()) for line in (f"{name}==1.0", *hashes)]
    text = " \\\n".join(lines)
    for name in pins:
        text = text.replace(f" \\\n{name}==", f"\n{name}==")
    return Lock.parse("\n".join(["# locked: 2026-11-22", text, *extra, ""]), Path("requirements.txt"))


def names(wheels):
    return [wheel.path.name for wheel in wheels]


def test_the_newest_that_the_machines_glibc_allows_is_taken(index, tmp_path):
    make_wheel(index, "fast", "cp311-cp311-manylinux_2_17_x86_64")
    make_wheel(index, "fast", "cp311-cp311-manylinux_2_28_x86_64")
    make_wheel(index, "fast", "cp311-cp311-manylinux_2_39_x86_64")
    make_wheel(index, "fast", "cp311-cp311-manylinux_2_28_aarch64")
    make_wheel(index, "fast", "cp312-cp312-manylinux_2_28_x86_64")
    lock = lock_of(index)
    assert names(fetch(lock, NEW, "3.11.2", tmp_path, Silent())) == [
        "fast-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    ]
    assert names(fetch(lock, OLD, "3.11.2", tmp_path, Silent())) == [
        "fast-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    ]
    arm = Target("aarch64", (2, 28), (3, 11))
    assert names(fetch(lock, arm, "3.11.2", tmp_path, Silent())) == [
        "fast-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    ]


def test_what_is_there_is_not_fetched_again(index, tmp_path):
    make_wheel(index, "one")
    make_wheel(index, "two")
    lock = lock_of(index)
    first = fetch(lock, NEW, "3.11.2", tmp_path, Silent())
    for wheel in index.iterdir():
        wheel.unlink()
    assert fetch(lock, NEW, "3.11.2", tmp_path, Silent()) == first


def test_what_was_damaged_is_fetched_again(index, tmp_path):
    make_wheel(index, "one")
    make_wheel(index, "two")
    lock = lock_of(index)
    one, two = fetch(lock, NEW, "3.11.2", tmp_path, Silent())
    one.path.write_bytes(b"half")
    assert fetch(lock, NEW, "3.11.2", tmp_path, Silent()) == [one, two]
    assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256


def test_what_is_no_wheel_of_the_lock_is_removed(index, tmp_path):
    make_wheel(index, "one")
    lock = lock_of(index)
    (one,) = fetch(lock, NEW, "3.11.2", tmp_path, Silent())
    directory = one.path.parent
    one.path.unlink()
    (directory / one.path.name).mkdir()
    (directory / one.path.name / "file").touch()
    (directory / "foo.whl").touch()
    (directory / "x-1.0-py3-none-any.whl").mkdir()
    (directory / ".who-was-killed").mkdir()
    (directory / ".who-was-killed/one-1.0-py3-none-any.whl").touch()
    assert fetch(lock, NEW, "3.11.2", tmp_path, Silent()) == [one]
    assert sorted(path.name for path in directory.iterdir()) == [".lock", one.path.name]


def test_only_one_process_fetches_the_same_wheels_at_a_time(index, tmp_path):
    make_wheel(index, "one")
    lock = lock_of(index)
    (one,) = fetch(lock, NEW, "3.11.2", tmp_path, Silent())
    other = (one.path.parent / ".lock").open("w")

    class Told(Silent):
        def note(self, text):
            assert text == "Waiting: another process fetches the same wheels."
            one.path.parent.joinpath(".half").mkdir()
            other.close()

    fcntl.flock(other, fcntl.LOCK_EX)
    assert fetch(lock, NEW, "3.11.2", tmp_path, Told()) == [one]
    assert other.closed
    assert not one.path.parent.joinpath(".half").exists()


def test_a_wheel_that_the_lock_does_not_name_is_refused(index, tmp_path):
    make_wheel(index, "one")
    lock = lock_of(index)
    make_wheel(index, "one", "py3-none-any", "something-else")
    with pytest.raises(BuildFailed, match="Not all wheels") as caught:
        fetch(lock, NEW, "3.11.2", tmp_path, Silent())
    assert "HASHES" in caught.value.why
    assert "Got " in caught.value.why
    assert not list(tmp_path.glob("wheels/*/*.whl"))


def test_a_glibc_that_is_too_old_is_told_with_the_one_that_is_needed(index, tmp_path):
    make_wheel(index, "fast", "cp311-cp311-manylinux_2_28_x86_64")
    make_wheel(index, "fast", "cp311-cp311-manylinux_2_34_x86_64")
    with pytest.raises(BuildFailed) as caught:
        fetch(lock_of(index), OLD, "3.11.2", tmp_path, Silent())
    assert caught.value.what == "There is no wheel of fast 1.0 for x86_64, glibc 2.17 and Python 3.11.2."
    assert caught.value.why == "The one there is needs glibc 2.28."
    assert "--glibc 2.28" in caught.value.todo


def test_a_glibc_older_than_that_of_all_wheels_is_refused(index, tmp_path):
    make_wheel(index, "one")
    with pytest.raises(BuildFailed, match=r"no wheels for x86_64 with glibc 2\.4"):
        fetch(lock_of(index), NEW._replace(glibc=(2, 4)), "3.11.2", tmp_path, Silent())


def test_a_package_without_any_wheel_is_told_with_what_to_do(index, tmp_path):
    make_wheel(index, "one")
    lock = lock_of(index, "none-at-all==2.0 \\", f"    --hash=sha256:{'0' * 64}")
    with pytest.raises(BuildFailed) as caught:
        fetch(lock, NEW, "3.11.2", tmp_path, Silent())
    assert caught.value.what.startswith("There is no wheel of none-at-all 2.0 for x86_64, glibc 2.34")
    assert "find-links" in caught.value.todo


class Refusing(BaseHTTPRequestHandler):
    """An index, or a proxy, that answers with the status that the path begins with."""

    def do_GET(self):
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_CONNECT(self):
        self.send_error(407)

    def log_message(self, *_):
        pass


@pytest.fixture
def refused(index, tmp_path, monkeypatch):
    """Return what is said of an index at 127.0.0.1, whose URL is given with {} for the port."""
    make_wheel(index, "one")
    lock = lock_of(index)
    for name in [each for each in os.environ if each.startswith("PIP_") or each.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")

    def said(url, proxy=""):
        with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
            port = server.server_address[1]
            monkeypatch.setenv("PIP_INDEX_URL", url.format(port))
            if proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.format(port))
            with pytest.raises(BuildFailed) as caught:
                fetch(lock, NEW, "3.11.2", tmp_path, Silent())
            server.shutdown()
        return caught.value

    return said


@pytest.mark.parametrize(
    ("url", "proxy", "why"),
    [
        ("http://127.0.0.1:9/simple", "", "Connection refused"),
        ("https://127.0.0.1:{}/simple", "", "ssl certificate"),
    ],
    ids=["refused", "no TLS"],
)
def test_an_index_that_cannot_be_reached_is_told_as_such(refused, url, proxy, why):
    error = refused(url, proxy)
    assert error.what == "The index of packages can't be reached."
    assert why in error.why


@pytest.mark.parametrize(
    ("url", "proxy", "why"),
    [
        ("http://me:secret@127.0.0.1:{}/401", "", "401 Client Error"),
        ("http://me:secret@127.0.0.1:{}/403", "", "403 Client Error"),
        ("https://index.invalid/simple", "http://me:secret@127.0.0.1:{}", "407"),
    ],
    ids=["unknown", "forbidden", "proxy"],
)
def test_an_index_that_refuses_to_answer_is_told_as_such(refused, url, proxy, why):
    error = refused(url, proxy)
    assert error.what == "The index of packages refuses to answer."
    assert why in error.why
    assert "secret" not in str(error)


def test_an_index_that_does_not_have_a_package_is_told_with_its_page(refused):
    error = refused("http://127.0.0.1:{}/404")
    assert error.what.startswith("There is no wheel of one 1.0")
    assert "/404/one/: 404 Client Error" in error.why


def test_platforms_begin_with_the_newest_and_know_their_former_names():
    assert platforms("aarch64", (2, 19)) == [
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
    ]
    assert platforms("x86_64", (2, 5)) == ["manylinux_2_5_x86_64", "manylinux1_x86_64"]


class TestClosure:
    @pytest.fixture
    def wheels(self, tmp_path):
        needs = {
            "app": [
                "lib",
                "extra-user[more]",
                "windows; sys_platform == 'win32'",
                "old; python_version<'3.9'",
            ],
            "lib": ["shared"],
            "extra_user": ["only_more; extra == 'more'", "never; extra == 'less'"],
            "only_more": [],
            "gpu": ["shared", "driver"],
            "driver": [],
            "shared": ["app"],
        }
        return [
            Wheel(make_wheel(tmp_path, name, "py3-none-any", *each), name.replace("_", "-"), "1.0", "")
            for name, each in needs.items()
        ]

    def test_what_is_wanted_comes_with_all_that_it_needs_on_the_machines(self, wheels):
        chosen = closure(wheels, ["app"], [], "x86_64", "3.11.2")
        assert [wheel.name for wheel in chosen] == ["app", "extra-user", "lib", "only-more", "shared"]

    def test_what_is_left_out_goes_with_what_only_it_needs(self, wheels):
        chosen = closure(wheels, ["app", "gpu"], ["gpu", "extra-user"], "x86_64", "3.11.2")
        assert [wheel.name for wheel in chosen] == ["app", "lib", "shared"]

    def test_what_the_lock_lacks_is_told(self, wheels):
        with pytest.raises(BuildFailed, match="gpu needs driver, and the lock has none"):
            closure([each for each in wheels if each.name != "driver"], ["gpu"], [], "x86_64", "3.11.2")


def test_needs_that_nobody_understands_are_told_with_the_wheel(tmp_path):
    wheel = Wheel(make_wheel(tmp_path, "odd", "py3-none-any", "no requirement at all ;"), "odd", "1.0", "")
    with pytest.raises(BuildFailed, match=r"What odd-1\.0-py3-none-any\.whl needs"):
        requirements_of(wheel)
