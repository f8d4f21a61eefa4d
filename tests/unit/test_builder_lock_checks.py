"""What must hold of locks, and does hold of those that come with the launcher."""

import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import launcher
from launcher.builder.lock import Lock, below_floors, floors
from launcher.builder.lock import refresh as refreshing
from launcher.builder.lock.checks import drift, npm_problems, problems_of
from launcher.builder.lock.jobs import jobs_of_checkout
from launcher.builder.lock.wanted import PROJECT, Wanted, read_wanted, wanted_by_project
from launcher.errors import InvalidFile

ROOT = Path(launcher.__file__).parents[1]
LOCKS = sorted([*ROOT.glob("[cu]*/*/requirements.txt"), ROOT / "requirements.txt"])
NPM = sorted(path for path in ROOT.glob("[lt]*/**/package-lock.json") if "node_modules" not in path.parts)
HEADER = "# locked: 2026-11-22\n"


def locked(path, *pins, digest="1"):
    lines = [f"{pin} \\\n    --hash=sha256:{digest * 64}\n" for pin in pins]
    return Lock.parse(HEADER + "".join(lines), Path(path))


def wanted(*texts):
    return [Wanted(Requirement(text), Path("list.in"), line) for line, text in enumerate(texts, 1)]


def test_every_recipe_has_a_lock():
    assert {path.parent.name for path in LOCKS} > {"hub", "jupyterlab", "python-science"}


def test_the_locks_agree():
    assert not drift(map(Lock.read, LOCKS))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_no_lock_is_below_a_floor(path):
    assert not below_floors((pin.name, pin.version) for pin in Lock.read(path).pins)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_no_lock_names_a_host(path):
    assert "://" not in path.read_text()


@pytest.mark.parametrize("path", NPM, ids=lambda path: path.parent.name)
def test_no_lock_of_npm_names_a_host(path):
    assert not npm_problems(path)


def test_the_locks_hold_what_is_wanted():
    refreshing.check(ROOT, jobs_of_checkout(ROOT))


def test_every_floor_has_a_reason_and_a_source():
    assert set(floors()) == {
        "jupyterhub",
        "jupyter-server",
        "jupyter-server-proxy",
        "jupyterlab",
        "tornado",
    }
    assert all(each.because and each.source for each in floors().values())


@pytest.mark.parametrize(
    ("name", "version", "old"),
    [
        ("tornado", "6.4.2", True),
        ("tornado", "6.5", False),
        ("Jupyter_Server", "2.17.99", True),
        ("jupyterhub", "5.5.1rc1", True),
        ("jupyterhub", "10.0", False),
        ("jupyterlab", "nonsense", True),
        ("numpy", "0.1", False),
    ],
)
def test_floors_compare_versions_as_pip_does(name, version, old):
    assert bool(below_floors([(name, version)])) == old


def test_an_old_version_is_told_with_the_reason():
    (problem,) = problems_of(locked("lock.txt", "a==1", "tornado==6.4"), [])
    assert problem.startswith("lock.txt:4:1: tornado 6.4 is older than 6.5.0: malformed forms")
    assert "CVE-2025-47287" in problem


def test_what_is_wanted_must_be_pinned_for_every_python_and_processor():
    lock = locked("lock.txt", "a==1.5", "b==1 ; python_full_version < '3.12'", "c==2")
    problems = problems_of(
        lock,
        wanted(
            "a>=1,<2",
            "b",
            "c<2",
            "d",
            "e ; sys_platform == 'win32'",
            "b ; python_version < '3.12'",
            "f ; platform_machine == 'aarch64'",
        ),
    )
    assert sorted(problems) == [
        "list.in:2:1: b is not in lock.txt",
        "list.in:3:1: c<2 is wanted, lock.txt holds 2",
        "list.in:4:1: d is not in lock.txt",
        "list.in:7:1: f is not in lock.txt",
    ]


def test_two_versions_for_one_python_are_told_once():
    (problem,) = problems_of(locked("lock.txt", "a==1 ; python_version < '3.13'", "a==2"), [])
    assert "is pinned for the same machines" in problem


def test_locks_that_disagree_are_told():
    first = locked("one.txt", "a==1", "b==1", "only==1", "fork==1 ; x == '1'".replace("x", "os_name"))
    second = locked("two.txt", "a==1", "b==2", "other==1", "fork==1")
    assert drift([first, second]) == ["two.txt:4:1: b is 2 here, 1 in one.txt"]
    third = locked("three.txt", "a==1", digest="2")
    assert drift([first, second, third])[-1] == "three.txt:2:1: a has other hashes than in one.txt"


def test_a_list_holds_packages_and_comments(tmp_path):
    path = tmp_path / "requirements.in"
    path.write_text("# what\n\nNum_Py>=2 # why\nscipy[x] ; python_version < '4'\n")
    assert [(each.name, each.line) for each in read_wanted(path)] == [("num-py", 3), ("scipy", 4)]


def test_a_list_that_says_where_to_take_something_from_is_refused(tmp_path):
    path = tmp_path / "requirements.in"
    path.write_text("a\n--index-url https://example.org\nb @ https://example.org/b.whl\n-r c\nd==\n")
    with pytest.raises(InvalidFile) as caught:
        read_wanted(path)
    assert [each.line for each in caught.value.problems] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("extras", "needed", "others"),
    [
        ((), {"jupyterhub", "jupyterlab"}, {"oauthenticator", "uv"}),
        (("hub",), {"jupyterlab", "oauthenticator"}, {"cryptography", "uv"}),
        (("sandbox",), {"cryptography", "oauthenticator"}, {"uv"}),
        (("hub", "build"), {"oauthenticator", "uv"}, {"cryptography"}),
    ],
    ids=str,
)
def test_an_installed_launcher_knows_what_it_needs(extras, needed, others):
    wanted = wanted_by_project(None, extras)
    assert {str(each.requirement) for each in wanted} == {
        str(each.requirement) for each in wanted_by_project(ROOT, extras)
    }
    names = {each.name for each in wanted}
    assert needed <= names
    assert not names & {PROJECT, *others}


def test_what_an_extra_needs_on_some_machines_only_stays_so(tmp_path, monkeypatch):
    metadata = """Metadata-Version: 2.4
Name: firecrest-launcher
Version: 1
Provides-Extra: hub
Requires-Dist: a; python_version < '3.12'
Requires-Dist: b; (python_version < '3.12' or os_name == 'nt') and extra == 'hub'
Requires-Dist: c; extra == 'hub'
"""
    (tmp_path / "firecrest_launcher-1.dist-info").mkdir()
    (tmp_path / "firecrest_launcher-1.dist-info/METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    assert [str(each.requirement) for each in wanted_by_project(None, ["hub"])] == [
        'a; python_version < "3.12"',
        'b; python_version < "3.12" or os_name == "nt"',
        "c",
    ]


def test_an_npm_lock_names_no_place_and_has_hashes(tmp_path):
    path = tmp_path / "package-lock.json"
    packages = {"": {}, "a": {"integrity": "sha512-x", "resolved": "there"}, "b": {}}
    path.write_text(json.dumps({"packages": packages}))
    assert [each.message.partition(" ")[0] for each in npm_problems(path)] == ["a:", "b"]
    path.write_text("[]")
    assert npm_problems(path)
