"""A site's own form: it takes the place of ours, and a mistake in it locks nobody out."""

import logging
from datetime import UTC, datetime

import pytest
from jinja2 import Environment, FileSystemLoader

from launcher.clusters import Cluster
from launcher.form.page import Offered, form_variables
from launcher.form.template import FormTemplate

CLUSTER = Cluster.model_validate(
    {
        "name": "tiny",
        "title": "Tiny <cluster>",
        "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
        "home": "/home/{user}",
        "launcher": "/opt/launcher/bin/launcher-singleuser",
        "partitions": [{"name": "normal", "time_limit": 480}],
        "node_addresses": ["10.0.0.0/8"],
    }
)
URLS = {"style_url": "/s", "script_url": "/j"}
VARIABLES = form_variables([Offered(CLUSTER)], "alice", now=datetime.now(UTC)) | URLS


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "launcher_form.html").write_text(text)

    return write


@pytest.fixture
def template(tmp_path):
    settings = {"jinja2_env_sync": Environment(loader=FileSystemLoader(tmp_path), autoescape=True)}
    return FormTemplate.of(settings, logging.getLogger("test"))


def test_without_a_template_of_the_sites_ours_is_used(template):
    assert "JupyterLab on Tiny &lt;cluster&gt;" in template.render(VARIABLES, admin=False)


def test_all_spawners_of_a_hub_share_one():
    settings = {}
    assert FormTemplate.of(settings, logging.getLogger()) is FormTemplate.of(settings, logging.getLogger())


def test_a_sites_template_takes_the_place_of_ours_with_the_same_variables(template, write):
    write("{% for control in controls %}{{ control.field.label }} on {{ cluster.title }}{% endfor %}")
    assert template.render(VARIABLES, admin=False) == "Time on Tiny &lt;cluster&gt;"


def test_it_can_extend_ours_and_change_a_block(template, write):
    write('{% extends "launcher/launcher_form.html" %}{% block heading %}<h2>Hello</h2>{% endblock %}')
    page = template.render(VARIABLES, admin=False)
    assert "<h2>Hello</h2>" in page
    assert "JupyterLab on" not in page
    assert 'name="time"' in page


def test_it_can_show_a_field_of_its_own_beside_ours(template, write):
    write(
        '{% extends "launcher/launcher_form.html" %}'
        "{% block fields %}<p>First:</p>{{ super() }}{% endblock %}"
    )
    assert "<p>First:</p>" in template.render(VARIABLES, admin=False)


def test_it_counts_from_the_moment_it_is_there(template, write):
    template.render(VARIABLES, admin=False)
    write("one")
    assert template.render(VARIABLES, admin=False) == "one"
    write("two, longer")
    assert template.render(VARIABLES, admin=False) == "two, longer"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("line\n{{ nonsense }}", "launcher_form.html:2: 'nonsense' is undefined"),
        ("line\n\n{% for %}", "launcher_form.html:3: Expected an expression, got 'end of statement block'"),
        ("{{ 1 / 0 }}", "launcher_form.html:1: division by zero"),
        ("{% include 'nowhere.html' %}", "launcher_form.html:1: nowhere.html"),
        ('{% extends "launcher_form.html" %}', "extends or includes itself"),
    ],
)
def test_with_a_mistake_in_it_ours_is_shown_and_the_place_is_told(template, write, caplog, text, said):
    write(text)
    page = template.render(VARIABLES, admin=False)
    assert 'name="time"' in page
    assert "mistake" not in page
    assert said in caplog.text
    caplog.clear()
    assert said.replace("'", "&#39;") in template.render(VARIABLES, admin=True)
    assert caplog.text == ""  # said once, not for every form


def test_a_mended_template_is_used_again(template, write):
    write("{{ nonsense }}")
    template.render(VARIABLES, admin=False)
    write("mended")
    assert template.render(VARIABLES, admin=False) == "mended"
    assert template.problem == ""
