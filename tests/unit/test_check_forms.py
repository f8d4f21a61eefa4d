"""The check's reading of HTML, measured against what browsers send."""

from __future__ import annotations

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.check.forms import Form
from launcher.check.page import Page, parse_page
from launcher.check.tree import parse_html
from launcher.errors import CheckFailed

URL = "https://hub.example/hub/spawn/alice?_xsrf=x"
Pairs = list[tuple[str, str]]

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
lines = st.lists(texts, max_size=3)
flags = st.booleans()


def page(html: str) -> Page:
    return parse_page(html, URL)


def only_form(html: str) -> Form:
    (form,) = page(f"<!doctype html><body><form>{html}</form>").forms
    return form


def sent(html: str, **values: str) -> Pairs:
    return only_form(html).filled(values)


@st.composite
def controls(draw: st.DrawFn) -> tuple[str, Pairs]:
    """Markup of a control named `%s`, and what a browser sends for it, name by name."""
    kind = draw(st.sampled_from(["text", "checkbox", "radio", "select", "multiple", "textarea", "button"]))
    value = draw(texts)
    if kind == "text":
        given_type = draw(
            st.sampled_from(["", "type=text", "TYPE='hidden'", 'type="number"', "type=password"])
        )
        return f'<label>A<input {given_type} name="%s" value="{escape(value)}"></label>', [("%s", value)]
    if kind == "checkbox":
        ticked = draw(flags)
        markup = f'<input type=checkbox name="%s" value="{escape(value)}" {"checked" if ticked else ""}/>'
        return markup, [("%s", value)] if ticked else []
    if kind == "textarea":
        text = draw(lines)
        markup = "\n".join(map(escape, text))
        return f'<textarea name="%s">\n{markup}</textarea>', [("%s", "\r\n".join(text))]
    if kind == "button":
        return '<button type="button" name="%s" value="b">Help</button><input type=reset name="%s">', []
    values = draw(st.lists(texts, min_size=1, max_size=4))
    chosen = draw(st.sets(st.sampled_from(range(len(values)))))
    marks = [index in chosen for index in range(len(values))]
    picked = [value for value, mark in zip(values, marks, strict=True) if mark]
    if kind == "radio":
        buttons = [
            f'<input type=radio name="%s" value="{escape(value)}" {"checked" if mark else ""}>'
            for value, mark in zip(values, marks, strict=True)
        ]
        return "<br>".join(buttons), [("%s", value) for value in picked[-1:]]
    end = draw(st.sampled_from(["</option>", ""]))
    options = [
        f'<option value="{escape(value)}" {"selected" if mark else ""}>label &amp; more{end}'
        for value, mark in zip(values, marks, strict=True)
    ]
    several = kind == "multiple"
    picked = picked if several else (picked or values)[-1:] if picked else values[:1]
    markup = f'<select name="%s" {"multiple" if several else ""}>{"".join(options)}</select>'
    return markup, [("%s", value) for value in picked]


@given(st.lists(st.tuples(controls(), st.sampled_from(["", "fieldset", "template", "datalist"])), max_size=6))
def test_a_form_sends_what_a_browser_sends(parts: list[tuple[tuple[str, Pairs], str]]) -> None:
    html, expected = "", []
    for number, ((markup, pairs), around) in enumerate(parts):
        name = f'f"{number}'
        filled = markup.replace("%s", escape(name))
        disabled = " disabled" if around == "fieldset" else ""
        html += (
            f"<!-- <input name=no> --><div><{around}{disabled}>{filled}</{around}></div>"
            if around
            else filled
        )
        expected += [] if around else [(name, value) for _, value in pairs]
    assert sent(html) == expected


@given(texts, texts)
def test_what_is_typed_is_sent_whatever_was_there_before(before: str, after: str) -> None:
    assert sent(f'<input name=a value="{escape(before)}"><input name=b>', a=after) == [
        ("a", after),
        ("b", ""),
    ]


PIECES = [
    "<form ",
    "</form>",
    "<select name=a>",
    "<option",
    "<textarea name=t>",
    "</textarea>",
    "'",
    '"',
    ">",
    "=",
]
PIECES += [
    "<!--",
    "-->",
    "<![if x]>",
    "<!",
    "<?",
    "&",
    "&#x110000;",
    "href",
    "action='http://['",
    "<a ",
    "</",
    "<p>",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), texts)).map("".join))
def test_any_text_can_be_read_as_a_page(html: str) -> None:
    for form in page(html).forms:
        form.filled({})
    parse_html(html).words()


def test_pages_may_be_nested_deeper_than_the_stack() -> None:
    deep = "<div>" * 5000
    assert page(f"<form>{deep}<input name=a value=1>").forms[0].filled({}) == [("a", "1")]


def test_the_first_usable_submit_button_is_sent_last() -> None:
    buttons = (
        "<button disabled name=no></button><button name=go value=1>Go</button><input type=submit name=b>"
    )
    assert sent(buttons + "<input name=a>") == [("a", ""), ("go", "1")]


def test_a_select_skips_disabled_options() -> None:
    group = "<optgroup disabled><option>no</option></optgroup>"
    assert sent(f"<select name=s><option disabled>pick one</option>{group}<option> a   b </select>") == [
        ("s", "a b")
    ]
    assert sent("<select name=s><option disabled selected>pick one<option>a</select>") == []
    assert sent("<select name=s size=3><option>a<option>b</select>") == []


def test_markup_in_a_textarea_is_text() -> None:
    assert sent("<textarea name=t><b>x</b><input name=no></textarea>") == [("t", "<b>x</b><input name=no>")]


def test_a_form_says_where_and_how_it_is_sent() -> None:
    first, second = page(
        "<form action='../x?a=1&amp;b=2' method=POST enctype=Multipart/Form-Data></form><form></form>"
    ).forms
    assert (first.action, first.method, first.multipart) == (
        "https://hub.example/hub/x?a=1&b=2",
        "post",
        True,
    )
    assert (second.action, second.method, second.multipart) == (URL, "get", False)


CHOICES = (
    "<select name=cluster><option value=s>Sandbox<option value=d disabled>Daint</select>"
    "<input type=radio name=size value=s checked><input type=radio name=size value=m>"
    "<input type=checkbox name=gpu checked>"
)


def test_choices_can_be_made() -> None:
    assert sent(CHOICES, size="m", gpu="") == [("cluster", "s"), ("size", "m")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cluster": "d"}, "The form does not offer 'd' for 'cluster'.\nIt offers: s."),
        ({"size": ""}, "The form does not offer '' for 'size'.\nIt offers: s, m."),
        ({"gpus": "1"}, "The form has no field 'gpus'.\nIts fields: cluster, size, gpu."),
    ],
)
def test_what_a_person_could_not_pick_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(CheckFailed) as refusal:
        only_form(CHOICES).filled(values)
    assert str(refusal.value) == message


def test_a_page_tells_its_shown_errors_once() -> None:
    shown = page(
        "<title> Hub </title><div class=error><h1>500 :\nServer error</h1><p class=error>Full</div>"
        "<p role=alert>Pick another</p><p class='login_error'></p><select class=error><option>a</select>"
        "<div class=modal aria-hidden=true><p class=ajax-error>The error</p></div><p hidden role=alert>no</p>"
    )
    assert shown.alerts == ["500 : Server error\nFull", "Pick another"]
    assert shown.describe() == "/hub/spawn/alice answered 200: 500 : Server error\nFull; Pick another"
    assert page("<title> Log\nin </title>").describe() == "/hub/spawn/alice answered 200: Log in"


def test_a_page_knows_its_links_scripts_and_data() -> None:
    read = page(
        "<a href=/hub/oauth_login>In</a><a>no</a><script src=m.js></script><script id=d>{'<a>'}</script>"
    )
    assert read.links == ["https://hub.example/hub/oauth_login"]
    assert read.scripts == ["https://hub.example/hub/spawn/m.js"]
    assert read.data == {"d": "{'<a>'}"}


def test_words_are_what_a_person_reads() -> None:
    assert parse_html("a <b>b</b>\n &amp;<pre>c\n  d</pre>e<br>f").words() == "a b &\nc\nd\ne\nf"
