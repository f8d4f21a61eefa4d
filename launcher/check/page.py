"""A web page as a browser reads it: forms, links, and what it says is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from launcher.check.forms import Choice, Control, Form
from launcher.check.tree import Element, parse_html

_CONTROLS = ("input", "select", "textarea", "button")
# What stands in these is not there for a person.
_INERT = {"template", "datalist"}
_HIDDEN = {"hidden", "d-none", "visually-hidden"}
_HTML_SPACE = re.compile(r"[ \t\n\f\r]+")
_ALERT = re.compile(r"(^|[-_])error([-_]|$)|^alert-danger$|^invalid-feedback$")


@dataclass(frozen=True)
class Page:
    """What came back for one address.

    Args:
        url: Where it was found, after all redirects.
        status: The HTTP status.
        title: Its title.
        forms: Its forms.
        links: The absolute addresses it links to.
        alerts: The error messages that it shows.
        scripts: The absolute addresses of the scripts it loads.
        data: The text of the inline scripts that have an id, by that id.
    """

    url: str
    status: int
    title: str
    forms: list[Form]
    links: list[str]
    alerts: list[str]
    scripts: list[str]
    data: dict[str, str]

    @property
    def path(self) -> str:
        """The path of its address: what may be shown, for a query can hold a secret."""
        return urlsplit(self.url).path

    @property
    def password_form(self) -> Form | None:
        """The first form that asks for a password."""
        return next((form for form in self.forms if form.control("password")), None)

    def describe(self) -> str:
        """Which page this is, with what it says is wrong."""
        said = "; ".join(dict.fromkeys(self.alerts)) or self.title
        return f"{self.path} answered {self.status}" + (f": {said}" if said else "")


def parse_page(html: str, url: str, status: int = 200) -> Page:
    """Read a page.

    Args:
        html: Its source.
        url: Its address, to which its links are relative.
        status: The HTTP status it came with.
    """
    root = parse_html(html)
    scripts = list(root.find("script"))
    alerts = (element.words() for element in root.walk() if _is_alert(element))
    return Page(
        url=url,
        status=status,
        title=next((element.words() for element in root.find("title")), ""),
        forms=[_form(element, url) for element in root.find("form")],
        links=[_address(url, element, "href") for element in root.find("a") if "href" in element.attributes],
        alerts=[words for words in alerts if words],
        scripts=[_address(url, element, "src") for element in scripts if "src" in element.attributes],
        data={
            element.attributes["id"]: element.raw_text()
            for element in scripts
            if "id" in element.attributes and "src" not in element.attributes
        },
    )


def _address(base: str, element: Element, attribute: str) -> str:
    try:
        return urljoin(base, element.attributes.get(attribute, ""))
    except ValueError:
        # What is no address leads nowhere, like none at all.
        return base


def _form(element: Element, url: str) -> Form:
    attributes = element.attributes
    return Form(
        _address(url, element, "action"),
        attributes.get("method", "").lower() or "get",
        multipart=attributes.get("enctype", "").lower() == "multipart/form-data",
        controls=[
            _control(control)
            for control in element.find(*_CONTROLS)
            if not any(holder.tag in _INERT for holder in control.ancestors())
        ],
    )


def _control(element: Element) -> Control:
    attributes = element.attributes
    kind = element.tag
    if kind in {"input", "button"}:
        kind = attributes.get("type", "").lower() or {"input": "text", "button": "submit"}[kind]
    value = attributes.get("value", "on" if kind in {"radio", "checkbox"} else "")
    if kind == "textarea":
        # A newline right after the tag is layout, not text.
        value = element.raw_text().removeprefix("\n")
    rows = attributes.get("size", "")
    return Control(
        attributes.get("name", ""),
        kind,
        value,
        checked="checked" in attributes,
        disabled="disabled" in attributes or _is_disabled(element, "fieldset"),
        multiple="multiple" in attributes,
        rows=int(rows) if rows.isdecimal() else None,
        choices=[_choice(option) for option in element.find("option")],
    )


def _choice(option: Element) -> Choice:
    attributes = option.attributes
    value = attributes.get("value", " ".join(_HTML_SPACE.split(option.raw_text())).strip(" "))
    disabled = "disabled" in attributes or _is_disabled(option, "optgroup")
    return Choice(value, selected="selected" in attributes, disabled=disabled)


def _is_disabled(element: Element, group: str) -> bool:
    return any(holder.tag == group and "disabled" in holder.attributes for holder in element.ancestors())


def _is_alert(element: Element) -> bool:
    # Most elements say nothing; only for the others is it worth the climb.
    if not _says_error(element) or _is_hidden(element):
        return False
    return not any(_says_error(holder) or _is_hidden(holder) for holder in element.ancestors())


def _says_error(element: Element) -> bool:
    # Forms mark fields by such classes, too; those say nothing.
    if element.tag in {"form", *_CONTROLS}:
        return False
    return element.attributes.get("role") == "alert" or any(map(_ALERT.search, element.classes))


def _is_hidden(element: Element) -> bool:
    attributes = element.attributes
    return (
        "hidden" in attributes or attributes.get("aria-hidden") == "true" or bool(element.classes & _HIDDEN)
    )
