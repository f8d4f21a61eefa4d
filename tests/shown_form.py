"""The options form as a browser would read it."""

import logging
from datetime import UTC, datetime
from html.parser import HTMLParser

from launcher.clusters import Cluster
from launcher.form.page import Offered, form_variables
from launcher.form.template import FormTemplate

FACTS = {
    "name": "tiny",
    "title": "Tiny cluster",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [
        {"name": "normal", "time_limit": 240, "hint": "Up to four hours.", "max_nodes": 4},
        {"name": "debug", "time_limit": 30, "max_nodes": 1},
    ],
    "times": {"choices": [15, 60, 90, 240], "default": 60},
    "node_addresses": ["10.0.0.0/8"],
}
BIG = FACTS | {
    "max_nodes": 8,
    "accounts": "firecrest",
    "memory": ["16G", "64G"],
    "environments": [
        {"id": "plain", "title": "Bare node", "kind": "host"},
        {"id": "own", "title": "A uenv of your own", "kind": "uenv", "typed": {"roots": ["/scratch/{user}"]}},
        {"id": "box", "title": "A container", "kind": "container", "typed": {"roots": ["/scratch/{user}"]}},
    ],
}
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


class Page(HTMLParser):
    """What a browser makes of the form."""

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.elements = []
        self.controls = {}
        self.clusters = []
        self.labels = {}
        self.by_id = {}
        self.text = {}
        self.links = []
        self._open = []
        self._select = None
        self._label = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if "id" in attributes:
            assert attributes["id"] not in self.by_id
            self.by_id[attributes["id"]] = (tag, attributes)
        if tag == "label":
            self._label = attributes["for"]
        elif tag == "select":
            self._select = self.controls[attributes["name"]] = {"options": {}, "value": None, **attributes}
        elif tag == "input" and attributes["name"] == "cluster":
            self.clusters.append(attributes)
        elif tag == "input":
            self.controls[attributes["name"]] = attributes
        elif tag == "option" and self._select:
            self._select["options"][attributes["value"]] = attributes
            if "selected" in attributes or self._select["value"] is None:
                self._select["value"] = attributes["value"]
        elif tag == "a":
            self.links.append(attributes["href"])
        if tag not in ("input", "link", "br"):
            self._open.append(attributes.get("id"))

    def handle_endtag(self, tag):
        self._open.pop()
        if tag == "select":
            self._select = None
        elif tag == "label":
            self._label = None

    def handle_data(self, data):
        for each in filter(None, self._open):
            self.text[each] = self.text.get(each, "") + data
        if self._label:
            self.labels[self._label] = data

    def values(self):
        """What a browser would send if nobody touched anything."""
        return {name: control["value"] for name, control in self.controls.items()}

    def described(self, name):
        """What a screen reader says of a control besides its label."""
        ids = self.controls[name]["aria-describedby"].split()
        return " ".join(" ".join(self.text.get(each, "").split()) for each in ids).strip()


def html(*facts, accounts=None, accounts_problem="", **arguments):
    offered = [Offered(Cluster.model_validate(each), accounts, accounts_problem) for each in facts]
    variables = form_variables(offered, "alice", now=NOW, **arguments)
    urls = {"style_url": "/hub/form.css", "script_url": "/hub/form.js"}
    return FormTemplate(None, logging.getLogger()).render(variables | urls, admin=False)


def page(*facts, **arguments):
    return Page(html(*(facts or [FACTS]), **arguments))
