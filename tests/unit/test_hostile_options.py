"""Whatever comes in as an option is refused, or stays in its place in the script.

More than ten thousand generated values, random ones and each fault that we know, go through options and
script. What was accepted is read again by parsers that know nothing of the template: sbatch's rules for
directives, and shell words by shlex and Bash.
"""

import json
import subprocess
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest
import yaml
from hostile import each_fault, hostile, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering import TICKET, USER, facts, launch_line, launch_words, script

from launcher.clusters import ClusterFile, UserAccounts, fields, parse_options
from launcher.clusters.model import OptionName
from launcher.errors import InvalidOptions

FILE = Path(__file__).parents[1] / "clusters/everything.yaml"
NAMES = get_args(OptionName)
CASES = 250
"""Random values in each place, beside those with a fault that we know."""

IMAGE, EDF = "/projects/an-image.squashfs", "/projects/an-edf.toml"
VALID = {
    # Field → what else is asked for, and values that may be given.
    "environment": ({}, ["prgenv", "file", "pytorch", "host"]),
    "partition": ({}, ["normal", "debug", "cpu"]),
    "time": ({}, [15, "30", 61, 720]),
    "account": ({}, ["proj1", "c_32.x-y"]),
    "gpus": ({}, [0, "1", 4]),
    "start_directory": ({}, ["home", "scratch", "/projects", "/projects/x.y", "/store/alice/.a-b"]),
    "nodes": ({}, [1, "8"]),
    "cpus": ({}, [1, "72", 288]),
    "memory": ({}, ["16G", "512G"]),
    "constraint": ({}, ["mc", "gpu&nvme", "[rack1|rack2]"]),
    "qos": ({}, ["standard", "urgent"]),
    "reservation": ({}, ["workshop", "r.1-2_3"]),
    "view": ({}, ["develop", "gnu:develop"]),
    "uenv": (
        {"environment": "own", "uenv": IMAGE},
        ["a", "a/b:c@*%d", "a/24.11:v1@daint%gh200", "/projects/a.squashfs", "/store/alice/a", "/projects"],
    ),
    "edf": (
        {"environment": "container", "edf": EDF},
        ["/projects/a.toml", "/users/alice/.edf/a-b.toml"],
    ),
}
DIRECTIVES = {
    "partition": "--partition={}",
    "account": "--account={}",
    "memory": "--mem={}",
    "constraint": "--constraint={}",
    "qos": "--qos={}",
    "reservation": "--reservation={}",
}
NUMBERS = {
    "time": "--time={}",
    "nodes": "--nodes={}",
    "cpus": "--cpus-per-task={}",
    "gpus": "--gres=gpu:gh200:{}",
}
PLACES = [
    *(("directive", name) for name in VALID),
    *((attach, name) for attach in ("run", "squashfs-mount") for name in ("uenv", "view")),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the cluster file that offers everything, by the way it attaches uenvs."""
    found = {}
    for attach in ("directive", "run", "squashfs-mount"):
        values = yaml.safe_load(FILE.read_text())
        values["uenv"]["attach"] = attach
        values["environments"][0]["image"] = "gnu/24.11:v1"
        if attach == "squashfs-mount":
            values["tools"]["image"] = "/images/tools.squashfs"
            values["environments"][0]["image"] = "/images/gnu.squashfs"
            values["environments"][2]["typed"]["labels"] = False
        path = tmp_path_factory.mktemp(attach) / FILE.name
        path.write_text(yaml.safe_dump(values))
        found[attach] = ClusterFile.load(path)
    return found


@pytest.fixture(scope="module")
def everything(files):
    return files["directive"]


def check_refusal(error, *names):
    """Look at field errors: there are not too many, each is short, and none holds what can't be shown.

    Args:
        error: What was raised.
        names: The fields that it must be about, where that is known.
    """
    assert error.fields
    assert set(error.fields) <= set(names or error.fields)
    assert len(str(error)) <= 10_000
    assert len(error.fields) <= len(NAMES) + 20
    for name, text in error.fields.items():
        assert name in NAMES or (name.isprintable() and len(name) <= 40)
        assert text.isprintable()
        assert 0 < len(text) <= 300


def read(text):
    """Read a script as sbatch does: return its options, and its other lines without the server's command."""
    options, rest, reads = [], [], True
    for line in text.split("\n"):
        if reads and line.startswith("#SBATCH"):
            # sbatch minds quotes, backslashes, comments and all blanks.
            assert line.startswith("#SBATCH --")
            assert line.isascii()
            assert line.isprintable()
            assert not set(line[1:]) & set("\"'\\#")
            assert line.count(" ") == 1
            options.append(line.removeprefix("#SBATCH "))
        else:
            assert "#SBATCH" not in line
            reads = reads and (not line.strip() or line.startswith("#"))
            rest.append(line)
    assert len({each.split("=")[0] for each in options}) == len(options)
    first = next(number for number, line in enumerate(rest) if line.startswith("LAUNCHER_HUB_URL="))
    last = next(number for number in range(first, len(rest)) if not rest[number].endswith("\\"))
    return options, rest[:first] + rest[last + 1 :], launch_words(text)


def expected(usual, name, value):
    """Return what a script must be like, given a usual one, if a value is in its place."""
    options, rest, words = usual
    text = str(value)
    swap = ("", "")
    if name == "uenv":
        swap = (IMAGE, text)
    elif name == "edf":
        swap = (EDF, text)
    elif name == "view":
        swap = ("gnu:default", text if ":" in text else f"gnu:{text}")
    elif name in DIRECTIVES or name in NUMBERS:
        form = DIRECTIVES.get(name) or NUMBERS[name]
        option = form.split("=")[0]
        without = [each for each in options if each.split("=")[0] != option]
        shown = str(int(text)) if name in NUMBERS else text
        nothing = name == "gpus" and shown == "0"
        return sorted([*without, *([] if nothing else [form.format(shown)])]), rest, words
    return sorted(each.replace(*swap) for each in options), rest, [each.replace(*swap) for each in words]


def bash_words(text):
    """Return the words of the server's command as Bash takes them apart."""
    names = ("srun", "uenv", "bash")
    shows = '() { printf \'%s\\0\' "${UENV_MOUNT_LIST-}" "${UENV_VIEW-}" "$FUNCNAME" "$@"; }\n'
    program = "".join(f"{name}{shows}" for name in names) + launch_line(text).rstrip("&").replace(
        "/bin/bash", "bash"
    )
    known = {"launch_apart": "$launch_apart"}
    done = subprocess.run(["/bin/bash", "-c", program], env=known, capture_output=True, check=True, text=True)
    assert done.stderr == ""
    mounts, view, *words, end = done.stdout.split("\0")
    assert end == ""
    variables = [f"UENV_MOUNT_LIST={mounts}", f"UENV_VIEW={view}"] if mounts else []
    return [*variables, *words]


def is_in(path, *roots):
    return ".." not in PurePosixPath(path).parts and any(PurePosixPath(path).is_relative_to(r) for r in roots)


def check_values(name, value, request):
    """Look at what was accepted by rules of its own."""
    assert type(value) in (str, int)
    value = str(value)
    assert len(value) <= 500
    if name == "start_directory":
        named = {"home": "/users/alice", "scratch": "/scratch/alice"}
        assert request.start_directory == named.get(value, value)
        assert value in named or is_in(value, "/projects", "/store/alice")
    elif name == "uenv" and value.startswith("/"):
        assert is_in(value, "/projects", "/store/alice")
    elif name == "edf":
        assert is_in(value, "/projects", "/users/alice/.edf")
        assert value.endswith(".toml")
    elif name in NUMBERS:
        assert value.isascii()
        assert value.isdigit()
    elif name in ("environment", "partition", "memory", "constraint", "qos"):
        assert value in VALID[name][1] or value in ("own", "files", "container")


def test_more_than_ten_thousand_values_are_tried():
    assert sum(CASES + sum(1 for _ in each_fault(VALID[name][1])) for _, name in PLACES) > 10_000


@pytest.mark.parametrize(("attach", "name"), PLACES)
def test_a_value_is_refused_or_stays_in_its_place(files, attach, name):
    file = files[attach]
    others, valid = VALID[name]
    others = {"time": 15, "gpus": 0, **others}
    usual = read(script(file, others))
    tried, accepted = 0, []

    @settings(max_examples=CASES, derandomize=True)
    @given(hostile(valid))
    def attempt(value):
        nonlocal tried
        tried += 1
        try:
            request = parse_options(file.cluster, others | {name: value}, user=USER)
        except InvalidOptions as error:
            check_refusal(error, *(("environment", "uenv", "edf") if name == "environment" else (name,)))
            return
        saved = json.loads(json.dumps(request.options))
        again = parse_options(file.cluster, saved, user=USER)
        assert (again, again.options) == (request, request.options)
        if value is None or value == "":
            return
        check_values(name, value, request)
        text = script(file, others | {name: value})
        options, rest, words = read(text)
        if name != "environment":
            assert (sorted(options), rest, words) == expected(usual, name, value)
        assert text.count(TICKET) == 1
        accepted.append(text)

    attempt()
    assert tried >= CASES
    for value in each_fault(valid):
        attempt.hypothesis.inner_test(value)
    assert accepted, "what may be given is among the values"
    for text in accepted[-5:]:
        subprocess.run(["/bin/bash", "-n"], input=text, text=True, check=True)
        if len(launch_words(text)) > 1:
            assert bash_words(text) == [word.removeprefix("/bin/") for word in launch_words(text)]


@settings(max_examples=200, derandomize=True)
@given(
    options=st.fixed_dictionaries({}, optional={name: hostile(valid) for name, (_, valid) in VALID.items()})
)
def test_many_values_at_once_are_refused_or_make_a_script_like_any_other(everything, options):
    try:
        request = parse_options(everything.cluster, options, user=USER)
    except InvalidOptions as error:
        check_refusal(error, *NAMES)
        return
    again = parse_options(everything.cluster, request.options, user=USER)
    assert (again, again.options) == (request, request.options)
    needed = {"own": {"uenv": IMAGE}, "files": {"uenv": "/scratch/alice/a"}, "container": {"edf": EDF}}
    environment = request.environment
    _, usual, _ = read(script(everything, {"environment": environment, **needed.get(environment, {})}))
    _, rest, _ = read(script(everything, options))
    assert rest == usual


KEYS = st.text(max_size=60) | st.integers() | st.none() | st.booleans() | st.tuples(st.text()) | st.binary()
ODD_KEYS = ["", "time\n", "time ", "Time", "\uff54ime", "\ud800", "x" * 1_000_000, "\x1b[2J"]
NAMED = st.sampled_from(NAMES) | st.integers(0, len(ODD_KEYS) - 1).map(ODD_KEYS.__getitem__)


@settings(max_examples=200, derandomize=True)
@given(options=st.dictionaries(KEYS | NAMED, hostile(["normal"]), min_size=1, max_size=40))
def test_an_unknown_name_is_refused_and_shown_without_harm(everything, options):
    try:
        parse_options(everything.cluster, options, user=USER)
    except InvalidOptions as error:
        check_refusal(error)
    else:
        assert set(options) <= set(NAMES)


@pytest.mark.parametrize(
    "options", [{f"name{number}": "x" for number in range(10_000)}, {"x" * 10**6: "y" * 10**6}]
)
def test_however_much_is_sent_the_answer_is_short(everything, options):
    with pytest.raises(InvalidOptions) as error:
        parse_options(everything.cluster, options, user=USER)
    check_refusal(error.value)
    assert len(str(error.value)) <= 2000


@settings(max_examples=200, derandomize=True)
@given(options=st.one_of(hostile(["normal"]), st.lists(st.text())))
def test_what_is_no_object_is_refused_as_a_whole(everything, options):
    if not isinstance(options, dict):
        with pytest.raises(InvalidOptions) as error:
            parse_options(everything.cluster, options, user=USER)
        assert set(error.value.fields) == {""}


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """Return a cluster file that leaves no choice."""
    values = yaml.safe_load(FILE.read_text())
    values |= {"accounts": "site", "own_reservation": False, "reservation": "notebooks", "max_nodes": 1}
    values |= {"constraint": "mc", "qos": "standard", "gpus": 4, "cpus": 72, "memory": "16G", "times": 30}
    values |= {"partitions": values["partitions"][:1], "start_directory": "scratch", "links": []}
    values["environments"] = [{**values["environments"][0], "typed_view": False}]
    path = tmp_path_factory.mktemp("fixed") / FILE.name
    path.write_text(yaml.safe_dump(values))
    return ClusterFile.load(path)


@settings(max_examples=200, derandomize=True)
@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            name: hostile([*valid, 4, "site", "notebooks", "30"]) for name, (_, valid) in VALID.items()
        },
    )
)
def test_what_an_admin_has_fixed_stays(fixed, options):
    try:
        request = parse_options(fixed.cluster, options, user=USER)
    except InvalidOptions as error:
        check_refusal(error)
        return
    assert request == parse_options(fixed.cluster, {}, user=USER)
    assert request.options == {}


@settings(max_examples=200, derandomize=True)
@given(
    names=st.lists(texts(["proj1", "proj2"]), max_size=4),
    data=st.data(),
)
def test_accounts_come_from_elsewhere_and_stay_in_their_place(everything, names, data):
    """FirecREST's answer is no more to be trusted than a user."""
    accounts = UserAccounts(tuple(names), default=names[0] if names else None)
    (field,) = (each for each in fields(everything.cluster, USER, accounts) if each.name == "account")
    account = data.draw(st.sampled_from([*names, field.default, "proj3"]))
    try:
        request = parse_options(everything.cluster, {"account": account}, user=USER, accounts=accounts)
    except InvalidOptions as error:
        check_refusal(error, "account")
        return
    options, _, _ = read(everything.render(request, facts()))
    shown = [each for each in options if each.startswith("--account")]
    assert shown == ([f"--account={request.account}"] if request.account else [])
    assert request.account in (account, field.default, None)
