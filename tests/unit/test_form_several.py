"""The form of several clusters: each has fields of its own, and one is chosen."""

import pytest
from shown_form import BIG, FACTS, Page, html, page

from launcher.form.sent import Sent, sent_name, sent_options

FIRST = FACTS
SECOND = BIG | {"name": "large", "title": "Large cluster", "description": "For big jobs."}
HOSTILE = ["cluster", "time", "tiny.time", "constructor", "a" * 64, "-".join("_time"), "1"]


def chosen(shown):
    return [each["value"] for each in shown.clusters if "checked" in each]


def own(shown, cluster):
    """What a browser would send of one cluster."""
    prefix = f"{cluster}."
    return {name.removeprefix(prefix): value for name, value in shown.values().items() if prefix in name}


def as_form(shown, cluster):
    """What a browser without scripts sends once somebody has chosen a cluster: all fields of all of them."""
    return {name: [value] for name, value in {**shown.values(), "cluster": cluster}.items()}


# ---- one cluster


def test_of_one_cluster_the_fields_keep_their_plain_names_and_its_name_is_sent_along():
    shown = page(FIRST)
    assert list(shown.controls) == ["partition", "time"]
    assert [(each["type"], each["value"]) for each in shown.clusters] == [("hidden", "tiny")]


# ---- several


def test_each_is_offered_with_its_own_fields_and_the_first_is_chosen():
    shown = page(FIRST, SECOND)
    assert [each["value"] for each in shown.clusters] == ["tiny", "large"]
    assert chosen(shown) == ["tiny"]
    assert set(own(shown, "tiny")) == {"partition", "time"}
    assert {"environment", "uenv", "memory"} < set(own(shown, "large"))


def test_each_choice_has_a_label_and_its_description():
    shown = page(FIRST, SECOND)
    assert [shown.labels[each["id"]] for each in shown.clusters] == ["Tiny cluster", "Large cluster"]
    assert "For big jobs." in shown.text[shown.clusters[1]["aria-describedby"]]


def test_every_control_has_a_label_and_all_that_describes_it_exists():
    shown = page(FIRST, SECOND)
    for control in shown.controls.values():
        assert shown.labels[control["id"]]
        assert set(control["aria-describedby"].split()) <= shown.by_id.keys()


def test_a_browser_without_scripts_insists_on_no_field_of_a_cluster_that_may_not_be_chosen():
    typed = BIG | {"environments": BIG["environments"][1:2]}
    assert "required" in page(typed).controls["uenv"]
    assert "required" not in page(FIRST, typed | {"name": "large"}).controls["large.uenv"]


def test_each_tells_its_own_announcements():
    told = {"announcements": [{"text": "Disks are cleaned on Mondays."}]}
    shown = html(FIRST, SECOND | told)
    assert shown.index("Large cluster") < shown.index("Disks are cleaned")


def test_a_cluster_that_cannot_be_offered_is_named_and_the_others_work():
    shown = page(FIRST, SECOND, withheld=["third"])
    assert "third can&#39;t be offered just now." in shown.html
    assert "launcher/clusters" not in shown.html
    assert len(shown.clusters) == 2
    assert "launcher/clusters" in html(FIRST, withheld=["third"], admin=True)


# ---- what is filled in


def test_the_cluster_of_the_last_start_is_chosen_with_its_options():
    shown = page(FIRST, SECOND, remembered={"cluster": "large", "partition": "debug", "time": 15})
    assert chosen(shown) == ["large"]
    assert own(shown, "large")["partition"] == "debug"
    assert own(shown, "tiny") == {"partition": "normal", "time": "60"}


@pytest.mark.parametrize("name", ["gone", "", None, 7, ["large"], {"a": 1}])
def test_a_cluster_that_is_not_there_any_more_falls_back_to_the_first(name):
    shown = page(FIRST, SECOND, remembered={"cluster": name, "time": 90})
    assert chosen(shown) == ["tiny"]
    assert own(shown, "tiny")["time"] == ("60" if name else "90")


# ---- what was wrong


def test_refused_input_comes_back_at_its_cluster_with_its_errors():
    wrong = {"partition": "debug", "time": "240"}
    shown = page(
        FIRST, SECOND, sent=Sent(wrong | {"cluster": "large"}, {"time": "must be at most 30 minutes"})
    )
    assert chosen(shown) == ["large"]
    assert shown.described("large.time") == "must be at most 30 minutes"
    assert own(shown, "large") | wrong == own(shown, "large")
    assert "aria-invalid" not in shown.controls["tiny.time"]
    assert shown.links == [f"#{shown.controls['large.time']['id']}"]


def test_an_unknown_cluster_is_told_and_the_summary_leads_to_the_choice():
    shown = page(FIRST, SECOND, sent=Sent({"cluster": "x", "time": "15"}, {"cluster": "must be one of …"}))
    assert chosen(shown) == ["tiny"]
    assert own(shown, "tiny")["time"] == "60"
    assert shown.links == [f"#{shown.clusters[0]['id']}"]


# ---- what is sent


def test_only_the_fields_of_the_chosen_cluster_count():
    sent = sent_options(as_form(page(FIRST, SECOND), "large"), first="tiny")
    assert sent["cluster"] == "large"
    assert {"environment", "uenv", "time"} < sent.keys()
    assert sent_options(as_form(page(FIRST, SECOND), "tiny"), first="large") == {
        "cluster": "tiny",
        "partition": "normal",
        "time": "60",
    }


def test_a_form_that_was_made_for_one_cluster_counts_for_the_one_it_names():
    assert sent_options({"cluster": ["large"], "time": ["15"]}, first="tiny") == {
        "cluster": "large",
        "time": "15",
    }
    assert sent_options({"_xsrf": ["x"], "time": ["15"]}, first="tiny") == {"cluster": "tiny", "time": "15"}


def test_a_cluster_that_came_twice_stays_a_list_which_the_check_refuses():
    form = {"cluster": ["tiny", "large"], "tiny.time": ["15"], "time": ["30"]}
    assert sent_options(form, first="tiny") == {"cluster": ["tiny", "large"], "time": "30"}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_cluster_is_called_its_fields_stay_its_own(name):
    facts = FACTS | {"name": name}
    shown = page(FIRST, facts, remembered={"cluster": name, "time": 90})
    sent = sent_options(as_form(shown, name), first="tiny")
    assert sent == {"cluster": name, "partition": "normal", "time": "90"}
    assert sent_options(as_form(shown, "tiny"), first="tiny")["time"] == "60"
    assert sent_name(name, "time") in shown.controls


def test_what_is_sent_in_the_name_of_no_cluster_is_left_out():
    form = {"x.time": ["15"], "tiny.": ["1"], "..time": ["2"], "tiny.cluster": ["large"]}
    assert sent_options(form, first="tiny") == {"cluster": "tiny", "": "1"}


def test_markup_is_shown_not_run():
    markup = "\"'><script>alert('1')</script>"
    shown = html(
        FIRST,
        SECOND | {"title": markup, "description": markup},
        sent=Sent({"cluster": markup}, {"x": markup}),
    )
    assert "<script>" not in shown
    assert len([tag for tag, _ in Page(shown).elements if tag == "script"]) == 1
