"""The checks that images must pass, each with one that doesn't; and how a recipe adds its own."""

import base64
import hashlib
import importlib.util
import json
import os
import py_compile
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher.builder.recipe import recipes_directory

CHECKS = recipes_directory() / "checks.py"
LIB = f"env/lab/lib/python3.{sys.version_info.minor}"
SITE = f"{LIB}/site-packages"
RECORD = f"{SITE}/good_one-1.0.dist-info/RECORD"
KEY = "-----BEGIN {}PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 3 + "\n-----END"


@pytest.fixture(scope="module")
def checks():
    spec = importlib.util.spec_from_file_location("checks", CHECKS)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def tree(tmp_path):
    """An image that passes, save that it is not mounted read-only."""
    old = os.umask(0o022)
    tree = tmp_path / "image"
    write(tree / "env/lab/pyvenv.cfg", "home = /x\n")
    write(tree / "python/bin/python3", "#!/bin/sh\n").chmod(0o755)
    write(tree / "env/lab/bin/tool", f"#!{tree}/env/lab/bin/python -I\n").chmod(0o755)
    write(tree / f"{SITE}/good/__init__.py", '"""Good."""\n')
    write(tree / f"{SITE}/good/template.py", "{{ this is no Python }}\n")
    write(tree / f"{SITE}/good_one-1.0.dist-info/METADATA", "Name: Good.one\nVersion: 1.0\n\nVersion: 2\n")
    (tree / "env/lab/bin/python").symlink_to("../../../python/bin/python3")
    (tree / "env/lab/bin/python3").symlink_to("python")
    write(tree / "meta/sbom.cdx.json", json.dumps({"components": [component("good-one", "1.0")]}))
    write(tree / "meta/recipe/requirements.txt", "good-one==1.0 \\\n    --hash=sha256:0\n")
    compiled(tree / f"{SITE}/good/__init__.py")
    write(tree / f"{SITE}/good_one-1.0.dist-info/INSTALLER", "launcher\n")
    yield tree
    os.umask(old)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def listed(tree):
    """List all files of the environment as those of its one package."""
    site = tree / SITE
    paths = [
        path
        for path in sorted((tree / "env/lab").rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc" and path.name != "pyvenv.cfg"
    ]
    rows = [
        f"{os.path.relpath(path, site)},sha256={digest(path)},{path.stat().st_size}"
        for path in paths
        if path.name != "RECORD"
    ]
    write(tree / RECORD, "\n".join([*rows, f"{os.path.relpath(tree / RECORD, site)},,"]))


def digest(path):
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode().rstrip("=")


def component(name, version):
    return {"name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}


def compiled(path, mode=py_compile.PycInvalidationMode.UNCHECKED_HASH):
    return Path(py_compile.compile(str(path), invalidation_mode=mode, doraise=True))


def wrong(checks, tree, build_paths=(), known=(), *, lists=True):
    """Return the checks that failed, and why; a directory is never mounted read-only."""
    if lists:
        listed(tree)
    image = checks.Image(str(tree), "env/lab", build_paths, known)
    results = [checks._ran(image, each) for each in checks._CHECKS]
    return {
        each["name"]: each["text"]
        for each in results
        if not each["ok"] and each["text"] != "It is not mounted read-only."
    }


def only(found, name):
    """Return why the one check failed that should have."""
    assert list(found) == [name]
    return found[name]


def test_a_good_image_passes(checks, tree):
    assert wrong(checks, tree, ["/build/here"]) == {}


def test_what_is_not_mounted_read_only_fails(checks, tree):
    image = checks.Image(str(tree), "env/lab")
    with pytest.raises(checks.Failed, match="read-only"):
        checks._read_only(image)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_what_others_may_write_fails(checks, tree, mode, monkeypatch):
    monkeypatch.setattr(checks.os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    (tree / "meta/sbom.cdx.json").chmod(mode)
    assert "meta/sbom.cdx.json: others" in only(wrong(checks, tree), "nothing is writable")


@pytest.mark.parametrize(("path", "mode"), [("meta/sbom.cdx.json", 0o640), ("env/lab", 0o700)])
def test_what_users_can_not_read_fails(checks, tree, path, mode):
    (tree / path).chmod(mode)
    assert only(wrong(checks, tree), "everybody can read all of it") == f"{path}: mode {mode:o}"


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_setuid_programs_fail(checks, tree, mode):
    (tree / "env/lab/bin/tool").chmod(mode)
    assert "env/lab/bin/tool" in only(wrong(checks, tree), "nothing is setuid, setgid or a device")


def test_pipes_and_devices_fail(checks, tree):
    os.mkfifo(tree / "pipe", 0o644)
    assert "pipe" in only(wrong(checks, tree), "nothing is setuid, setgid or a device")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/etc/passwd", "leads to /etc/passwd"),
        ("../../../../outside", "leads to ../"),
        ("../nothing", "leads nowhere"),
    ],
)
def test_links_that_lead_outside_fail(checks, tree, target, words):
    (tree / "meta/link").symlink_to(target)
    assert f"meta/link: {words}" in only(wrong(checks, tree), "no link leads outside")


def test_links_may_name_the_mount(checks, tree):
    (tree / "meta/link").symlink_to(tree / "env/lab")
    assert wrong(checks, tree) == {}


PRIVATE = "no secret and no path of the build machine remains"


@pytest.mark.parametrize("where", ["pyc", "text", "binary"])
def test_paths_of_the_build_machine_fail(checks, tree, where):
    if where == "pyc":
        py_compile.compile(
            str(tree / f"{SITE}/good/__init__.py"),
            dfile="/build/here/x.py",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    else:
        write(tree / "meta/file", b"/build/here" if where == "text" else b"\0\xff/build/here\0")
    assert "holds /build/here" in only(wrong(checks, tree, ["/build/here"]), PRIVATE)


@pytest.mark.parametrize(
    "content",
    [
        KEY.format(""),
        KEY.format("RSA "),
        "key = AKIA" + "Q7WXYZ23ABCD4567",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1" * 41,
        "glpat-" + "x1y2z3a4b5c6d7e8f9g0",
        "pypi-AgEIcHlwaS5vcmc" + "A" * 60,
        "npm_" + "a1B2" * 9,
        "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0" + "." + "s" * 43,
    ],
)
def test_secrets_fail_unless_they_are_known_to_be_none(checks, tree, content):
    write(tree / "share/example/test.pem", f"x\n{content}\n")
    assert "share/example/test.pem: holds a" in only(wrong(checks, tree), PRIVATE)
    assert wrong(checks, tree, known=["share/*/test.pem"]) == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".netrc", ""),
        (".pypirc", ""),
        ("pip.conf", "[global]\nindex-url = https://me:word@example.org/simple\n"),
        (".npmrc", "//example.org/:_authToken=abc\n"),
    ],
)
def test_files_that_are_somebodys_own_fail(checks, tree, name, content):
    write(tree / "etc" / name, content)
    assert f"etc/{name}" in only(wrong(checks, tree), PRIVATE)


def test_paths_of_the_build_machine_are_never_known(checks, tree):
    write(tree / "share/test.pem", "/build/here")
    assert "holds /build/here" in only(wrong(checks, tree, ["/build/here"], ["share/*"]), PRIVATE)


def test_words_about_secrets_are_none(checks, tree):
    write(tree / "etc/pip.conf", "[global]\nindex-url = https://example.org/simple\n")
    write(tree / "meta/code", "'-----BEGIN PRIVATE KEY-----' in text; AKIAIOSFODNN7EXAMPLE; ghp_xxx; eyJ")
    assert wrong(checks, tree) == {}


@pytest.mark.parametrize(
    "line", ["/usr/bin/python3", "/usr/bin/env python3", "{}/env/lab/bin/absent", "", "{}/../x"]
)
def test_programs_with_another_interpreter_fail(checks, tree, line):
    write(tree / "env/lab/bin/other", f"#!{line.format(tree)}\n").chmod(0o755)
    found = wrong(checks, tree)
    assert (
        ("env/lab/bin/other" in only(found, "programs name interpreters that are there"))
        if line
        else not found
    )


MODULES = "all modules are compiled"


def test_modules_without_byte_code_fail(checks, tree):
    write(tree / f"{LIB}/more.py", "x = 1\n")
    assert only(wrong(checks, tree), MODULES) == f"{LIB}/more.py: is not compiled"


def test_modules_of_another_python_without_any_byte_code_fail(checks, tree, monkeypatch):
    monkeypatch.setattr(checks.sys.implementation, "cache_tag", "cpython-399")
    write(tree / f"{LIB}/more.py", "x = 1\n")
    assert only(wrong(checks, tree), MODULES) == f"{LIB}/more.py: is not compiled"
    compiled(tree / f"{LIB}/more.py").rename(tree / f"{LIB}/__pycache__/more.cpython-311.pyc")
    write(tree / f"{LIB}/other.py", "x = 1\n")
    assert MODULES not in wrong(checks, tree)


@pytest.mark.parametrize(
    "mode", [py_compile.PycInvalidationMode.TIMESTAMP, py_compile.PycInvalidationMode.CHECKED_HASH]
)
def test_byte_code_that_python_compares_with_its_source_fails(checks, tree, mode):
    compiled(tree / f"{SITE}/good/__init__.py", mode)
    assert "compare it with its source" in only(wrong(checks, tree), MODULES)


def test_byte_code_of_another_source_fails(checks, tree):
    write(tree / f"{SITE}/good/__init__.py", "changed = True\n")
    assert "from another source" in only(wrong(checks, tree), MODULES)


def test_byte_code_of_another_python_fails(checks, tree):
    path = compiled(tree / f"{SITE}/good/__init__.py")
    path.write_bytes(b"\0\0\r\n" + path.read_bytes()[4:])
    assert "another Python" in only(wrong(checks, tree), MODULES)


@pytest.mark.parametrize(
    ("bill", "lock", "words"),
    [
        ([component("good-one", "1.1")], "good-one==1.1\n", "good-one: 1.0, not 1.1"),
        ([component("good-one", "1.0"), component("other", "3")], "good-one==1.0\n", "other: None, not 3"),
        ([], "good-one==1.0\n", "meta/sbom.cdx.json does not list"),
        ([component("good-one", "1.0")], "Good_One==0.9 ; python_version > '3'\n", "1.0 is not in the lock"),
    ],
)
def test_packages_that_differ_from_the_lock_fail(checks, tree, bill, lock, words):
    write(tree / "meta/sbom.cdx.json", json.dumps({"components": bill}))
    write(tree / "meta/recipe/requirements.txt", lock)
    assert words in only(wrong(checks, tree), "packages are those of the lock")


def test_a_project_of_its_own_needs_no_place_in_the_lock(checks, tree):
    write(tree / "meta/recipe/requirements.txt", "other==1\n")
    assert wrong(checks, tree) == {}


LISTED = "files are those that their packages list"


@pytest.mark.parametrize(
    "name", [f"{SITE}/evil.pth", f"{SITE}/good/more.py", "env/lab/bin/sh", "env/lab/etc/x"]
)
def test_files_that_no_package_lists_fail(checks, tree, name):
    listed(tree)
    path = write(tree / name, "#!/bin/sh\n")
    if path.suffix == ".py":
        compiled(path)
    assert f"{name}: no package lists it" in only(wrong(checks, tree, lists=False), LISTED)


def test_links_that_no_package_lists_fail(checks, tree):
    listed(tree)
    (tree / f"{SITE}/evil.pth").symlink_to("../../../pyvenv.cfg")
    assert "evil.pth" in only(wrong(checks, tree, lists=False), LISTED)


def test_byte_code_without_a_listed_source_fails(checks, tree):
    listed(tree)
    code = tree / f"{SITE}/good/__pycache__/__init__.cpython-3{sys.version_info.minor}.pyc"
    code.with_name(code.name.replace("__init__", "evil")).write_bytes(code.read_bytes())
    assert "evil" in only(wrong(checks, tree, lists=False), LISTED)


def test_files_that_were_changed_or_removed_since_fail(checks, tree):
    listed(tree)
    write(tree / f"{SITE}/good/template.py", "{{ this was changed }}\n")
    (tree / "env/lab/bin/tool").unlink()
    told = only(wrong(checks, tree, lists=False), LISTED)
    assert "good/template.py: is not what its package lists" in told
    assert "env/lab/bin/tool: a package lists it, and it is no file" in told


@pytest.mark.parametrize("entry", ["", "md5=abc", "sha256=", "sha256=x=y", "nonsense"])
def test_a_list_without_a_good_digest_fails(checks, tree, entry):
    listed(tree)
    text = (tree / RECORD).read_text()
    write(tree / RECORD, re.sub(r"(template\.py),[^,]*", rf"\1,{entry}", text))
    assert "template.py: is not" in only(wrong(checks, tree, lists=False), LISTED)


def test_an_environment_of_another_installer_has_no_lists(checks, tree):
    write(tree / f"{SITE}/good_one-1.0.dist-info/INSTALLER", "uv")
    write(tree / RECORD, "")
    assert wrong(checks, tree, lists=False) == {}


def test_a_check_that_breaks_does_not_hide_the_others(checks, tree):
    (tree / "meta/sbom.cdx.json").unlink()
    assert "FileNotFoundError" in only(wrong(checks, tree), "packages are those of the lock")


def test_many_objections_are_counted(checks, tree):
    for number in range(8):
        (tree / f"meta/link{number}").symlink_to("/etc")
    assert wrong(checks, tree)["no link leads outside"].endswith("… and 3 more")


def verified(tree, text, *options):
    """Run a recipe's `verify` as the builder does."""
    write(tree / "meta/recipe/checks.py", CHECKS.read_bytes())
    script = write(tree / "meta/recipe/verify", text)
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-B", script, "--prefix=env/lab", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


OWN = """
import checks
@checks.check("it runs", needs=checks.PROGRAM)
def runs(image):
    return image.run("bin/tool", "a b")
checks.main()
"""


def test_a_recipe_adds_checks_of_its_own(tree):
    write(tree / "env/lab/bin/tool", '#!/bin/sh\necho "$HOME|$1|$(env | wc -l)"\ntouch "$HOME/x" || exit 0\n')
    code, told = verified(tree, OWN)
    assert code == 0
    assert told[0] == {"known": [], "checks": 1}
    assert [each["name"] for each in told[1:]] == ["it runs"]
    assert told[-1]["ok"]
    home, argument, _ = told[-1]["text"].split("|")
    assert argument == "a b"
    assert not Path(home).exists()


def test_a_program_that_fails_is_told_with_its_last_words(tree):
    write(tree / "env/lab/bin/tool", "#!/bin/sh\necho 'no such thing' >&2\nexit 3\n")
    told = verified(tree, OWN)[1][-1]
    assert (told["ok"], told["text"]) == (False, "bin/tool ended with 3\nno such thing")


def test_a_program_that_hangs_is_killed_with_what_it_has_started(checks, tree):
    write(tree / "env/lab/bin/tool", "#!/bin/sh\nsleep 600 & echo $! >&2; wait\n")
    with pytest.raises(checks.Failed, match="took more than"):
        checks.Image(str(tree), "env/lab").run("bin/tool", timeout=0.3)


EXITS = """
import sys
import checks
@checks.check("it ends")
def ends(image):
    print("that is no result")
    sys.exit(0)
@checks.check("it fails")
def fails(image):
    raise checks.Failed("as it should")
checks.main()
"""


def test_a_check_that_prints_and_ends_python_is_a_check_that_fails(tree):
    code, told = verified(tree, EXITS)
    assert code == 1
    assert [(each["name"], each["ok"]) for each in told[1:]] == [("it ends", False), ("it fails", False)]


def test_what_needs_to_run_is_left_out_where_nothing_can(tree):
    assert verified(tree, OWN, "--needs", "0") == (0, [{"known": [], "checks": 0}])


def test_programs_start_through_an_emulator(tree):
    write(tree / "env/lab/bin/tool", f"#!{tree}/env/lab/bin/python -I\n")
    emulator = write(tree.parent / "emulator", '#!/bin/sh\necho "$@"\n')
    emulator.chmod(0o755)
    told = verified(tree, OWN, "--through", str(emulator), "--through=-L", "--needs", "1")[1][-1]
    assert told["text"] == f"-L {tree}/env/lab/bin/python -I {tree}/env/lab/bin/tool a b"
