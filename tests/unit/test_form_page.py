"""The options form: what may be chosen, what is filled in, and what was wrong with it."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shown_form import BIG, FACTS, Page, html, page

from launcher.clusters import Cluster, UserAccounts, parse_options
from launcher.form.sent import SENT, Sent
from launcher.words.ended import Ended

ACCOUNTS = UserAccounts(("proj1", "proj2"), "proj2")
MARKUP = "\"'><script>alert('1')</script>"


# ---- what may be chosen


def test_it_offers_what_the_cluster_file_allows():
    controls = page().controls
    assert list(controls) == ["partition", "time"]
    assert list(controls["partition"]["options"]) == ["normal", "debug"]
    assert list(controls["time"]["options"]) == ["15", "60", "90", "240"]


def test_of_what_is_fixed_nothing_is_shown():
    assert list(page(FACTS | {"partitions": [{"name": "only", "time_limit": 240}]}).controls) == ["time"]


def test_if_nothing_can_be_chosen_it_says_so():
    shown = page(FACTS | {"partitions": [{"name": "only", "time_limit": 240}], "times": 60})
    assert shown.controls == {}
    assert "There is nothing to choose here" in shown.html


def test_what_few_people_need_comes_last_and_folded_away():
    shown = page(BIG, accounts=ACCOUNTS)
    folded = shown.html.partition("<details")[2]
    assert [name for name in shown.controls if f'name="{name}"' in folded] == ["nodes", "memory"]
    assert "open" not in dict(next(each for each in shown.elements if each[0] == "details")[1])


@pytest.mark.parametrize(
    "arguments",
    [{"sent": Sent({"memory": "1G"}, {"memory": "must be one of 16G, 64G"})}, {"remembered": {"nodes": 2}}],
    ids=["error", "other than the default"],
)
def test_it_is_unfolded_if_there_is_something_to_see(arguments):
    shown = page(BIG, accounts=ACCOUNTS, **arguments)
    assert "open" in dict(next(each for each in shown.elements if each[0] == "details")[1])


def test_limits_that_a_choice_brings_along_stand_at_the_choice():
    debug = page().controls["partition"]["options"]["debug"]
    assert debug["data-limits"] == '{"nodes": 1, "time": 30}'


def test_a_number_tells_the_browser_its_range():
    nodes = page(BIG).controls["nodes"]
    assert {name: nodes[name] for name in ("type", "min", "max", "value")} == {
        "type": "number",
        "min": "1",
        "max": "4",
        "value": "1",
    }


def test_numbers_that_are_suggested_can_be_picked_or_typed():
    shown = page(FACTS | {"times": {"choices": [60, 120], "maximum": 240}})
    assert shown.controls["time"]["list"] in shown.by_id
    assert '<option value="120">2 hours</option>' in shown.html


def test_a_browser_can_check_what_is_typed():
    uenv = page(BIG).controls["uenv"]
    assert uenv["maxlength"] == "500"
    # The regular expressions of browsers refuse a bare '-' at the end of a class.
    assert not re.search(r"[^\\]-\]", uenv["pattern"])
    assert re.fullmatch(uenv["pattern"], "prgenv-gnu/24.11:v1")
    assert not re.fullmatch(uenv["pattern"], "a b")


# ---- for everybody


@pytest.mark.parametrize("facts", [FACTS, BIG])
def test_every_control_has_a_label_and_all_that_describes_it_exists(facts):
    shown = page(facts)
    for control in shown.controls.values():
        assert shown.labels[control["id"]]
        assert set(control["aria-describedby"].split()) <= shown.by_id.keys()


def test_hints_are_read_out():
    assert page().described("partition") == "normal (up to 4 hours): Up to four hours."
    assert "The Slurm account that pays" in page(BIG, accounts=ACCOUNTS).described("account")


def test_without_a_script_a_field_names_the_environments_that_it_goes_with():
    assert "Only with environment “A uenv of your own”." in page(BIG).described("uenv")
    assert "required" not in page(BIG).controls["uenv"]


def test_what_goes_with_every_environment_needs_no_such_words():
    shown = page(BIG | {"environments": BIG["environments"][1:2]})
    assert "Only with" not in shown.described("uenv")
    assert "required" in shown.controls["uenv"]


def test_no_script_and_no_style_stands_in_the_page():
    tags = page(BIG, sent=Sent({"time": "1"}, {"time": "must be more", "": "no"})).elements
    assert [attributes for tag, attributes in tags if tag == "script"] == [
        {"src": "/hub/form.js", "defer": None}
    ]
    assert "style" not in [tag for tag, _ in tags]
    names = {name for _, attributes in tags for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


# ---- what is filled in


def test_at_first_the_defaults_are_filled_in():
    assert page().values() == {"partition": "normal", "time": "60"}


def test_the_default_account_is_the_one_that_slurm_takes():
    account = page(BIG, accounts=ACCOUNTS).controls["account"]
    assert list(account["options"]) == ["proj1", "proj2"]
    assert account["value"] == "proj2"


@pytest.mark.parametrize("time", [90, "90"])
def test_the_last_choices_are_filled_in(time):
    values = page(remembered={"partition": "normal", "time": time}).values()
    assert values == {"partition": "normal", "time": "90"}


@pytest.mark.parametrize(
    ("remembered", "left"),
    [
        ({"partition": "gone", "time": 90}, {"partition": "normal", "time": "90"}),
        ({"partition": "debug", "time": 240}, {"partition": "debug", "time": "15"}),
        ({"environment": "gone", "uenv": "a/1"}, {"environment": "plain", "uenv": ""}),
        ({"environment": "box", "uenv": "a/1", "edf": "/etc/x.toml"}, {"environment": "box", "edf": ""}),
        ({"account": "proj9", "nodes": 99, "shoe_size": 43}, {"account": "proj2", "nodes": "1"}),
        ({"nodes": [1], "memory": {"a": 1}, "time": None}, {"nodes": "1", "memory": "16G", "time": "60"}),
        ("text", {"time": "60"}),
        (None, {"time": "60"}),
    ],
)
def test_what_cannot_be_chosen_any_more_falls_back_without_a_word(remembered, left):
    shown = page(BIG, accounts=ACCOUNTS, remembered=remembered)
    values = shown.values()
    assert {name: values[name] for name in left} == left
    assert "alert" not in shown.html
    assert "is-invalid" not in shown.html


@given(
    st.none()
    | st.text(max_size=5)
    | st.dictionaries(
        st.sampled_from("partition time nodes account environment uenv edf view memory".split())
        | st.text(max_size=5),
        st.none()
        | st.sampled_from("normal debug own box plain 240 proj1 64G".split())
        | st.integers()
        | st.text(max_size=300)
        | st.lists(st.integers())
        | st.dictionaries(st.text(), st.none()),
    )
)
def test_whatever_was_remembered_the_form_as_it_stands_is_accepted(remembered):
    values = page(BIG, accounts=ACCOUNTS, remembered=remembered).values()
    typed = {"own": {"uenv": "prgenv-gnu/24.11:v1"}, "box": {"edf": "/scratch/alice/x.toml"}}
    # What must be typed has no default, and what belongs to another environment is empty.
    needed = typed.get(values["environment"], {})
    standing = needed | {name: value for name, value in values.items() if value}
    parse_options(Cluster.model_validate(BIG), standing, user="alice", accounts=ACCOUNTS)


def test_the_form_as_it_stands_is_accepted_where_the_default_is_above_the_first_limit():
    facts = FACTS | {"partitions": FACTS["partitions"][::-1]}
    values = page(facts).values()
    assert values == {"partition": "debug", "time": "15"}
    parse_options(Cluster.model_validate(facts), values, user="alice")


# ---- what was wrong


REFUSED = Sent({"partition": "debug", "time": "240"}, {"time": "must be at most 30 minutes"})


def test_an_error_stands_beside_its_field_and_the_input_stays():
    shown = page(sent=REFUSED)
    time = shown.controls["time"]
    assert shown.described("time") == "must be at most 30 minutes"
    assert time["aria-invalid"] == "true"
    assert shown.values() == REFUSED.options
    assert "aria-invalid" not in shown.controls["partition"]


def test_a_summary_leads_to_the_fields_and_the_first_of_them_has_the_focus():
    shown = page(BIG, sent=Sent({}, {"time": "must be less", "nodes": "must be less", "x": "is unknown"}))
    assert shown.links == ["#launcher-time", "#launcher-nodes"]
    assert [attributes["id"] for _, attributes in shown.elements if "autofocus" in attributes] == [
        "launcher-time"
    ]
    assert "x: is unknown" in " ".join(shown.html.split())


def test_if_no_field_is_wrong_the_summary_has_the_focus():
    shown = page(sent=Sent({}, {"": "options are an object"}))
    assert [attributes["role"] for _, attributes in shown.elements if "autofocus" in attributes] == ["alert"]


def test_a_start_that_failed_leaves_what_was_sent():
    sent = {"partition": "debug", "time": "15"}
    assert page(sent=Sent(sent), remembered={"time": 90}).values() == sent


async def test_what_a_request_sent_is_seen_by_that_request_alone():
    async def request(options):
        assert SENT.get() is None
        SENT.set(Sent(options))
        await asyncio.sleep(0)
        return SENT.get().options

    given = [{"time": f"{number}"} for number in range(20)]
    tasks = [asyncio.create_task(request(each)) for each in given]
    assert await asyncio.gather(*tasks) == given
    assert SENT.get() is None


# ---- messages


def test_why_there_are_no_accounts_is_said_and_one_can_be_typed():
    shown = page(BIG, accounts_problem="FirecREST did not answer.")
    assert "FirecREST did not answer. You can name one under “Advanced”" in shown.html
    assert shown.controls["account"]["type"] == "text"


def test_announcements_stand_above_the_form():
    facts = FACTS | {"announcements": [{"text": "A <b>new</b> file system", "level": "warning"}]}
    assert 'class="alert alert-warning" role="note">A &lt;b&gt;new&lt;/b&gt; file system</div>' in html(facts)


def test_how_the_last_session_ended_stands_first_and_its_log_is_folded_away():
    ended = Ended("12", "nid001", at=0.0, reason="failed", message=MARKUP, exit_code=1, log=[MARKUP, "last"])
    facts = FACTS | {"announcements": [{"text": "A new file system", "level": "warning"}]}
    shown = html(facts, ended=ended)
    assert MARKUP not in shown
    assert shown.index("Your last session (job 12 on nid001)") < shown.index("A new file system")
    (log,) = re.findall(
        r"<details[^>]*>\s*<summary>The end of the job's log</summary>(.*?)</details>", shown, re.DOTALL
    )
    assert "&lt;" in log
    assert "last" in log
    assert (
        "<details" not in html(facts, ended=Ended("12", "nid001", at=0.0, reason="walltime")).split("Time")[0]
    )


# ---- nothing is markup


@pytest.mark.parametrize(
    ("facts", "arguments"),
    [
        (BIG, {"remembered": dict.fromkeys(["partition", "time", "uenv", "account", MARKUP], MARKUP)}),
        (BIG, {"sent": Sent(dict.fromkeys(["partition", "time", "uenv", "account", MARKUP], MARKUP))}),
        (BIG, {"sent": Sent({}, dict.fromkeys(["partition", "time", "uenv", MARKUP], MARKUP))}),
        (BIG, {"accounts_problem": MARKUP}),
        (BIG, {"accounts": UserAccounts((MARKUP, "a", "b"), MARKUP)}),
        (FACTS | {"title": MARKUP, "description": MARKUP}, {}),
        (FACTS | {"announcements": [{"text": MARKUP}]}, {}),
        (
            FACTS | {"partitions": [{"name": "n", "time_limit": 240, "hint": MARKUP}] + FACTS["partitions"]},
            {},
        ),
        (
            FACTS
            | {"maintenance": [{"start": "2026-12-01T13:00Z", "end": "2026-12-01T14:00Z", "text": MARKUP}]},
            {},
        ),
    ],
)
def test_markup_is_shown_not_run(facts, arguments):
    clean = [tag for tag, _ in Page(html(facts, **arguments)).elements if tag == "script"]
    assert len(clean) == 1
    assert "<script>" not in html(facts, **arguments)


@given(
    st.dictionaries(
        st.sampled_from(["partition", "time", "uenv", "nodes"]) | st.text(max_size=5),
        st.none() | st.text(max_size=900) | st.lists(st.integers()) | st.dictionaries(st.text(), st.none()),
    )
)
def test_any_refused_input_can_be_shown_again(options):
    shown = page(BIG, sent=Sent(options))
    assert [tag for tag, _ in shown.elements] == [tag for tag, _ in page(BIG).elements]
    assert len(shown.html) < 30_000
    uenv = options.get("uenv")
    if isinstance(uenv, str) and uenv.isprintable():
        assert shown.values()["uenv"] == uenv[:500]
