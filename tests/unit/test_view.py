"""Views of uenv images: what one changes is what the uenv command line changes."""

import os
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launcher.view import Patch

MOUNT = "/user-environment"
NAMES = ["PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "SCRATCH", "_a1"]
NAME = st.sampled_from(NAMES)
FIELD = st.sampled_from(["/usr/bin", "/bin", f"{MOUNT}/env/default/bin", f"{MOUNT}/lib", "/a b", "", "é$(x)"])
PLAIN = st.lists(FIELD, max_size=4)
EXPANDED = st.lists(
    FIELD
    | NAME.map(lambda name: f"${{@{name}@}}/x")
    | st.text("${@}A_9 :", max_size=12)
    | st.sampled_from(
        ["${@NONE@}", "${@no name@}", "${@9@}", "${@@}", "${@", "${@}", "${@PATH", "${@A${@PATH@}@}"]
    ),
    max_size=4,
)
ENVIRONMENT = st.dictionaries(NAME, PLAIN.map(":".join) | EXPANDED.map(":".join))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["op", "value"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def values(fields):
    """Return a strategy of what `env.values` of a view may be."""
    operation = st.fixed_dictionaries(
        {"op": st.sampled_from(["prepend", "append", "set", "unset"]), "value": fields}
    )
    return st.fixed_dictionaries(
        {
            "list": st.dictionaries(NAME, st.lists(operation, max_size=4), max_size=4),
            "scalar": st.dictionaries(NAME, st.none() | fields.map(":".join), max_size=3),
        }
    )


def expanded(text, environment):
    """Expand character by character, as a parser does that knows no regular expressions."""
    out, at = "", 0
    while at < len(text):
        if not text.startswith("${@", at):
            out, at = out + text[at], at + 1
            continue
        end = text.find("@}", at + 3)
        if end < 0:
            return out
        out, at = out + environment.get(text[at + 3 : end], ""), end + 2
    return out


def loaded(views, environment):
    """Load views the slow way: the scalars of all views in turn, and then each list."""
    after, scalars, lists = dict(environment), {}, {}
    for view in views:
        scalars.update(view["scalar"])
        for name, operations in view["list"].items():
            if name not in view["scalar"]:
                lists.setdefault(name, []).extend(operations)
    for name, value in scalars.items():
        assign(after, name, None if value is None else expanded(value, environment))
    with_scalars = dict(after)
    for name, operations in lists.items():
        if operations:
            text = operated(operations, after.get(name, ""))
            assign(after, name, None if text is None else expanded(text, with_scalars))
    return after


def assign(environment, name, value):
    environment.pop(name, None)
    if value is not None:
        environment[name] = value


def operated(operations, text):
    """Return what operations make of a list, one by one."""
    fields, is_set = text.split(":"), True
    for each in operations:
        is_set = each["op"] != "unset"
        if each["op"] == "append":
            fields = fields + each["value"]
        elif each["op"] == "prepend":
            fields = each["value"] + fields
        else:
            fields = each["value"] if is_set else []
    seen = []
    for field in fields:
        if field and field not in seen:
            seen.append(field)
    return ":".join(seen) if is_set else None


def fields_of(environment, name):
    return [field for field in environment.get(name, "").split(":") if field]


class TestLoading:
    @given(st.lists(values(EXPANDED), max_size=3), ENVIRONMENT)
    def test_it_changes_what_uenv_changes(self, views, environment):
        given = dict(environment)
        assert Patch.merged(map(Patch.read, views)).applied(environment) == loaded(views, environment)
        assert environment == given

    @given(st.lists(values(PLAIN), max_size=3), ENVIRONMENT)
    def test_a_second_time_changes_nothing(self, views, environment):
        assume(not any("${@" in value for value in environment.values()))
        patch = Patch.merged(map(Patch.read, views))
        once = patch.applied(environment)
        assert patch.applied(once) == once

    @pytest.mark.parametrize(
        ("operations", "before", "after"),
        [
            ([("prepend", "/a"), ("prepend", "/b")], "/usr/bin", "/b:/a:/usr/bin"),
            ([("append", "/a"), ("prepend", "/b")], "", "/b:/a"),
            ([("append", "/a")], None, "/a"),
            ([("prepend", "/usr/bin")], "/bin::/usr/bin:", "/usr/bin:/bin"),
            ([("set", "/a")], "/usr/bin", "/a"),
            ([("set", "")], "/usr/bin", ""),
            ([("unset", "")], "/usr/bin", None),
            ([("unset", ""), ("append", "/a")], "/usr/bin", "/a"),
            ([], "/bin::/bin", "/bin::/bin"),
            ([], None, None),
        ],
    )
    def test_operations_follow_each_other(self, operations, before, after):
        given = [{"op": kind, "value": [value]} for kind, value in operations]
        environment = {} if before is None else {"PATH": before}
        assert Patch.read({"list": {"PATH": given}}).applied(environment).get("PATH") == after

    def test_of_several_views_the_last_one_comes_first(self):
        first, last = (
            Patch.read({"list": {"PATH": [{"op": "prepend", "value": [at]}]}, "scalar": {"IT": at}})
            for at in ("/first", "/last")
        )
        environment = Patch.merged([first, last]).applied({"PATH": "/usr/bin"})
        assert environment == {"PATH": "/last:/first:/usr/bin", "IT": "/last"}

    @pytest.mark.parametrize(
        ("value", "becomes"),
        [
            ("${@USER@}", "alice"),
            ("/scratch/${@USER@}/${@USER@}s", "/scratch/alice/alices"),
            ("${@NONE@}/work", "/work"),
            ("${@USER NAME@}-there", "-there"),
            ("${@@}", ""),
            ("${@}", ""),
            ("a-${@USER", "a-"),
            ("${USER} $USER $$ {@USER@}", "${USER} $USER $$ {@USER@}"),
        ],
    )
    def test_variables_are_expanded(self, value, becomes):
        assert Patch.read({"scalar": {"IT": value}}).applied({"USER": "alice"})["IT"] == becomes

    def test_a_list_may_build_on_a_scalar_of_its_view(self):
        given = {
            "list": {"PATH": [{"op": "prepend", "value": ["${@CUDA_HOME@}/bin"]}]},
            "scalar": {"CUDA_HOME": "/opt/cuda"},
        }
        environment = Patch.read(given).applied({"PATH": "/bin", "CUDA_HOME": "/old"})
        assert environment["PATH"] == "/opt/cuda/bin:/bin"

    def test_a_scalar_wins_over_a_list_of_its_view(self):
        operations = [{"op": "prepend", "value": ["/a"]}]
        assert Patch.read({"list": {"IT": operations}, "scalar": {"IT": "/b"}}).applied({}) == {"IT": "/b"}
        assert Patch.read({"list": {"IT": operations}, "scalar": {"IT": None}}).applied({"IT": "/c"}) == {}


class TestIsLoaded:
    @given(values(PLAIN), ENVIRONMENT)
    def test_what_has_been_loaded_is(self, given, environment):
        assume(not any("${@" in value for value in environment.values()))
        patch = Patch.read(given)
        assert patch.is_loaded(patch.applied(environment))

    @pytest.mark.parametrize(
        "given",
        [
            {"list": {"PATH": [{"op": "set", "value": ["/a", "${@PATH@}"]}]}},
            {"list": {"PATH": [{"op": "append", "value": ["${@SCRATCH@}/local"]}]}},
            {"scalar": {"CFLAGS": "${@CFLAGS@} -O2"}},
            {"scalar": {"CFLAGS": "-O2 ${@CFLAGS@}"}},
            {"list": {"PATH": [{"op": "append", "value": ["${@IT@}"]}]}, "scalar": {"IT": "/c:/d"}},
        ],
    )
    def test_so_is_what_goes_on_from_a_value(self, given):
        patch = Patch.read(given)
        for environment in ({}, {"PATH": "/usr/bin:/bin", "CFLAGS": "-g", "SCRATCH": "/s"}):
            assert patch.is_loaded(patch.applied(environment))

    @pytest.mark.parametrize(
        "given",
        [
            {"list": {"PATH": [{"op": "prepend", "value": ["/a"]}]}},
            {"list": {"PATH": [{"op": "unset"}]}},
            {"scalar": {"PATH": None}},
            {"scalar": {"PATH": "/a"}},
            {"scalar": {"IT": ""}},
            {"scalar": {"IT": "${@IT@}"}},
        ],
    )
    def test_what_is_missing_has_not_been_loaded(self, given):
        assert not Patch.read(given).is_loaded({"PATH": "/usr/bin"})

    def test_the_order_may_have_changed_since(self):
        patch = Patch.read({"list": {"PATH": [{"op": "prepend", "value": ["/a", "/b"]}]}})
        assert patch.is_loaded({"PATH": "/later:/b:/usr/bin:/a"})


class TestUndoing:
    @given(values(EXPANDED), ENVIRONMENT)
    def test_fields_that_were_there_are_there_again(self, given, environment):
        for operations in given["list"].values():
            operations[:] = [each for each in operations if each["op"] in ("prepend", "append")]
        patch = Patch.read(given)
        assume(not any("${@" in value for value in environment.values()))
        assume(not any(re.search(r"\$\{@(?!.*@\})", str(each)) for each in patch.lists.values()))
        undone = patch.undone(patch.applied(environment), MOUNT)
        for name in patch.lists:
            elsewhere = {each for each in fields_of(environment, name) if not each.startswith(f"{MOUNT}/")}
            assert elsewhere <= set(fields_of(undone, name))

    @given(values(PLAIN))
    def test_nothing_of_the_image_is_left_where_there_was_nothing(self, given):
        patch = Patch.read(given)
        undone = patch.undone(patch.applied({}), MOUNT)
        assert not any(field.startswith(f"{MOUNT}/") for name in undone for field in fields_of(undone, name))
        assert not undone.keys() & patch.scalars.keys()

    def test_what_lies_elsewhere_may_have_been_there_before(self):
        patch = Patch.read(
            {"list": {"PATH": [{"op": "append", "value": ["/usr/bin", f"{MOUNT}/bin", f"{MOUNT}-2/bin"]}]}}
        )
        undone = patch.undone(patch.applied({"PATH": "/bin:/usr/bin"}), MOUNT)
        assert undone == {"PATH": f"/bin:/usr/bin:{MOUNT}-2/bin"}

    def test_a_list_that_names_itself_is_not_lost(self):
        patch = Patch.read({"list": {"PATH": [{"op": "set", "value": [f"{MOUNT}/bin", "${@PATH@}"]}]}})
        given = {"PATH": f"{MOUNT}/other:/usr/bin"}
        assert patch.undone(patch.applied(given), MOUNT) == given

    def test_a_scalar_that_was_changed_since_stays(self):
        patch = Patch.read({"scalar": {"IT": "view's", "GONE": None}})
        assert patch.undone({"IT": "user's", "GONE": "no"}, MOUNT) == {"IT": "user's", "GONE": "no"}


class TestReading:
    @given(JSON | st.fixed_dictionaries({"list": JSON}) | st.fixed_dictionaries({"scalar": JSON}))
    def test_whatever_it_is_it_is_a_patch_or_no_view(self, given):
        try:
            patch = Patch.read(given)
        except ValueError:
            return
        for name, value in patch.undone(patch.applied({"PATH": "/bin"}), MOUNT).items():
            assert "=" not in name
            assert os.fsencode(value)
        patch.is_loaded({"PATH": "/bin"})

    @pytest.mark.parametrize(
        "name", ["", "A=B", "A\0B", "9A", "A-B", "A B", "é", "A\n", "LD_PRELOAD=/x.so\nB"]
    )
    def test_a_name_that_no_shell_can_set_is_left_out(self, name):
        operations = [{"op": "set", "value": ["/a"]}]
        assert Patch.read({"list": {name: operations}, "scalar": {name: "b"}}).applied({}) == {}

    @pytest.mark.parametrize("value", ["a\0b", "\ud800", "\0"])
    def test_a_value_that_no_program_can_be_given_is_refused(self, value):
        operation = {"op": "set", "value": [value]}
        for values in ({"scalar": {"IT": value}}, {"list": {"IT": [operation]}}):
            with pytest.raises(ValueError, match=r"IT: .*that a variable can hold"):
                Patch.read(values)

    @pytest.mark.parametrize(
        "given", [{}, {"list": {}, "scalar": {}}, {"list": None, "scalar": None}, {"x": 1}]
    )
    def test_what_changes_nothing_is_no_mistake(self, given):
        assert Patch.read(given) == Patch({}, {})

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (None, "env.values: not an object"),
            ([], "env.values: not an object"),
            ({"list": ["PATH"]}, "list: not an object"),
            ({"list": {"PATH": "/a"}}, "PATH: not a list of operations"),
            ({"list": {"PATH": [{"op": "replace", "value": []}]}}, "an operation is one of prepend, append"),
            ({"list": {"PATH": ["/a"]}}, "an operation is one of"),
            ({"list": {"PATH": [{"op": "set", "value": "/a"}]}}, "the value of set is not a list of texts"),
            ({"scalar": {"IT": 1}}, "IT: neither null nor a text"),
        ],
    )
    def test_a_mistake_is_named(self, given, words):
        with pytest.raises(ValueError, match=words):
            Patch.read(given)
