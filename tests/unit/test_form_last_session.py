"""How a last session ended: kept until the next one, and shown where its user looks for it."""

from pathlib import Path

import pytest
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH

from launcher.form.last_session import LastSessions, extend_pages
from launcher.words.ended import Ended

HUBS = Path(DATA_FILES_PATH) / "templates"
MARKUP = "<script>alert(1)</script>"
SITES = '{% extends "templates/not_running.html" %}{% block message %}Our own words.{% endblock %}'


class User:
    """As JupyterHub's, compared by identity."""


def ended(reason="walltime", **facts):
    return Ended("123", "nid001", at=0.0, reason=reason, **facts)


@pytest.fixture
def sessions():
    return LastSessions.of({})


class TestKept:
    def test_all_spawners_of_a_hub_share_them(self):
        settings = {}
        assert LastSessions.of(settings) is LastSessions.of(settings)

    def test_by_user_and_server(self, sessions):
        alice, bob, how = User(), User(), ended()
        sessions.keep(alice, "", how)
        assert sessions.told(alice, "") is how
        assert sessions.told(alice, "big") is None
        assert sessions.told(bob, "") is None

    def test_until_the_next_start(self, sessions):
        alice = User()
        sessions.keep(alice, "", ended())
        sessions.keep(alice, "big", ended())
        sessions.forget(alice, "")
        assert sessions.told(alice, "") is None
        assert sessions.told(alice, "big")
        sessions.forget(alice, "")

    def test_a_user_who_is_deleted_takes_it_along(self, sessions):
        alice = User()
        sessions.keep(alice, "", ended())
        del alice
        assert len(sessions._ended) == 0

    @pytest.mark.parametrize("reason", ["stopped", "exit"])
    def test_of_ones_own_stop_nobody_is_told(self, sessions, reason):
        alice = User()
        sessions.keep(alice, "", ended(reason, exit_code=0))
        assert sessions.told(alice, "") is None


class TestThePageOfAStoppedServer:
    """With JupyterHub's own templates, found as it finds them."""

    @pytest.fixture
    def page(self, tmp_path):
        (tmp_path / "page.html").write_text("{% block main %}{% endblock %}{% block script %}{% endblock %}")

        def page(*, how=None, viewer=None, **shown):
            environment, again = (
                Environment(
                    loader=ChoiceLoader(
                        [
                            PrefixLoader({"templates": FileSystemLoader([HUBS])}, "/"),
                            FileSystemLoader([tmp_path, HUBS]),
                        ]
                    ),
                    autoescape=True,
                )
                for _ in range(2)
            )
            settings = {
                "jinja2_env": environment,
                "jinja2_env_sync": again,
                "template_vars": {"site": "ours"},
            }
            handlers = settings.copy()
            extend_pages(settings)
            user = User()
            found = handlers["template_vars"]
            assert found.pop("site") == "ours"
            given = {name: value(viewer or user) for name, value in found.items()}
            if how:
                LastSessions.of(settings).keep(user, "", how)
            return again.get_template("not_running.html").render(**given, user=user, server_name="", **shown)

        return page

    def test_says_how_the_last_session_ended(self, page):
        text = page(how=ended())
        assert (
            "Your last session (job 123 on nid001) ended at 00:00 UTC on 01 January: its time was over."
            in text
        )
        assert "is not running" in text
        assert 'id="start"' in text

    def test_as_text(self, page):
        text = page(how=ended("failed", message=MARKUP, exit_code=1))
        assert "It said: &lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert MARKUP not in text

    def test_to_its_owner_alone(self, page):
        assert 'role="note"' not in page(how=ended(), viewer=User())

    def test_nothing_where_nothing_is_known(self, page):
        assert 'role="note"' not in page()

    def test_nothing_of_it_beside_a_failed_start(self, page):
        assert "Your last session" not in page(how=ended(), failed=True)

    def test_a_sites_own_page_stays_as_it_is(self, page, tmp_path):
        (tmp_path / "not_running.html").write_text(SITES)
        text = page(how=ended())
        assert "Our own words." in text
        assert "Your last session" not in text

    def test_unless_it_says_the_same_itself(self, page, tmp_path):
        call = "{{ launcher_last_session(user, server_name) }}"
        (tmp_path / "not_running.html").write_text(SITES.replace("Our own words.", call))
        assert "its time was over." in page(how=ended())
        assert "Your last session" not in page()
