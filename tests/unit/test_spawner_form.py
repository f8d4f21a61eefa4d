"""The options form: what may be chosen, what was chosen, and what was wrong with it."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.clusters import Cluster, parse_options
from launcher.spawner.form import duration, render_form

FACTS = {
    "name": "tiny",
    "title": "Tiny cluster",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [
        {"name": "normal", "time_limit": 240, "hint": "Up to four hours."},
        {"name": "debug", "time_limit": 30},
    ],
    "times": [15, 60, 90, 240],
    "default_time": 60,
    "node_addresses": ["10.0.0.0/8"],
}
CLUSTER = Cluster.model_validate(FACTS)
MARKUP = "\"><script>alert('1')</script>"


class Page(HTMLParser):
    """What a browser makes of the form."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.fields = {}
        self.labels = set()
        self.text = {}
        self.alerts = []
        self._field = self._id = None
        self._alert = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "label":
            self.labels.add(attributes["for"])
        elif tag == "select":
            self._field = self.fields[attributes["name"]] = {"options": [], "chosen": None, **attributes}
        elif tag == "option":
            self._field["options"].append(attributes["value"])
            if "selected" in attributes:
                self._field["chosen"] = attributes["value"]
        self._id = attributes.get("id")
        self._alert = attributes.get("role") == "alert"

    def handle_data(self, data):
        if self._id:
            self.text[self._id] = self.text.get(self._id, "") + data.strip()
        if self._alert and data.strip():
            self.alerts.append(data.strip())


def page(chosen=None, errors=None, **facts):
    return Page(render_form(Cluster.model_validate({**FACTS, **facts}), chosen or {}, errors or {}))


def test_it_offers_what_the_cluster_file_allows():
    fields = page().fields
    assert fields["partition"]["options"] == ["normal", "debug"]
    assert fields["time"]["options"] == ["15", "60", "90", "240"]


def test_at_first_the_defaults_are_chosen():
    fields = page().fields
    assert fields["partition"]["chosen"] in (None, "normal")  # a browser takes the first
    assert fields["time"]["chosen"] == "60"


@pytest.mark.parametrize("time", [90, "90"])
def test_earlier_choices_are_filled_in(time):
    fields = page({"partition": "debug", "time": time}).fields
    assert fields["partition"]["chosen"] == "debug"
    assert fields["time"]["chosen"] == "90"


def test_every_field_has_a_label():
    shown = page()
    assert {field["id"] for field in shown.fields.values()} == shown.labels


def test_an_error_stands_beside_its_field_and_the_input_stays():
    shown = page({"partition": "debug", "time": "240"}, {"time": "must be at most 30 minutes"})
    time = shown.fields["time"]
    assert shown.text[time["aria-describedby"]] == "must be at most 30 minutes"
    assert time["aria-invalid"] == "true"
    assert time["chosen"] == "240"
    assert shown.fields["partition"]["chosen"] == "debug"
    assert "aria-invalid" not in shown.fields["partition"]
    assert shown.alerts == []


def test_an_error_of_no_field_stands_above_all():
    shown = page(errors={"account": "is not an option of this cluster", "": "Use the form."})
    assert shown.alerts == ["account: is not an option of this cluster", "Use the form."]


@pytest.mark.parametrize(
    "html",
    [
        render_form(CLUSTER, {"partition": MARKUP, "time": MARKUP, MARKUP: MARKUP}, {}),
        render_form(CLUSTER, {}, {"partition": MARKUP, "time": MARKUP, MARKUP: MARKUP}),
        render_form(Cluster.model_validate({**FACTS, "title": MARKUP}), {}, {}),
        render_form(
            Cluster.model_validate(
                {**FACTS, "partitions": [{"name": "n", "time_limit": 240, "hint": MARKUP}]}
            ),
            {},
            {},
        ),
    ],
    ids=["input", "errors", "title", "hint"],
)
def test_markup_is_shown_not_run(html):
    assert "<script" not in html
    assert "script" not in Page(html).tags


@given(
    st.dictionaries(
        st.sampled_from(["partition", "time"]) | st.text(max_size=5),
        st.none() | st.text(max_size=300) | st.lists(st.integers()) | st.dictionaries(st.text(), st.none()),
    )
)
def test_any_refused_input_can_be_shown_again(chosen):
    html = render_form(CLUSTER, chosen, {})
    assert Page(html).tags == Page(render_form(CLUSTER, {}, {})).tags
    assert len(html) < 10_000


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (1, "1 minute"),
        (15, "15 minutes"),
        (60, "1 hour"),
        (90, "1 h 30 min"),
        (240, "4 hours"),
        (1440, "24 hours"),
    ],
)
def test_a_time_is_told_in_words(minutes, words):
    assert duration(minutes) == words


def test_the_form_as_it_stands_is_accepted_where_the_default_is_above_the_first_limit():
    cluster = CLUSTER.model_copy(update={"partitions": CLUSTER.partitions[::-1]})
    fields = Page(render_form(cluster, {}, {})).fields
    standing = {name: field["chosen"] for name, field in fields.items()}
    assert standing == {"partition": "debug", "time": "15"}
    parse_options(cluster, standing)
