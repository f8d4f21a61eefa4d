"""What a user asks of a hub with several clusters, and what is kept of it."""

import logging
from types import SimpleNamespace

import pytest
from jupyterhub.spawner import SpawnException

from launcher.errors import InvalidFile, InvalidOptions
from launcher.form.options import UserOptions
from launcher.form.sent import SENT, NothingChosenError

TINY = """\
name: {name}
firecrest: {{url: https://firecrest.example.org/v2, system: {name}}}
home: /users/{{user}}
launcher: /opt/launcher/bin/launcher-singleuser
partitions: [{{name: normal, time_limit: 600}}, {{name: {name}, time_limit: 60}}]
node_addresses: [10.0.0.0/16]
links: {links}
"""


class Access:
    def jobs(self, cluster, user):
        return SimpleNamespace(accounts=None)  # nobody asks it: these clusters have none


class Ada:
    name = "ada"
    admin = False

    def __init__(self):
        self.settings = {"launcher_access": Access()}


class Asked(UserOptions):
    cluster_user = "ada"


@pytest.fixture
def options(tmp_path):
    for name, links in (("one", "[]"), ("two", "[partition]")):
        (tmp_path / f"{name}.yaml").write_text(TINY.format(name=name, links=links))
    asked = Asked(cluster_files=[str(tmp_path)], log=logging.getLogger("hub"))
    asked.user, asked.name = Ada(), ""
    asked.hub = SimpleNamespace(base_url="/hub/")
    asked.orm_spawner = SimpleNamespace(user_options={})
    yield asked
    SENT.set(None)


def from_form(options, **fields):
    form = {name: [value] for name, value in fields.items()}
    return UserOptions._options_from_form(options)(form)


def apply(options, given):
    UserOptions._apply_user_options(options)(None, given)


async def test_without_a_name_the_first_is_meant(options):
    chosen = options.choose({"partition": "one"})
    assert chosen.version.cluster.name == "one"
    assert chosen.request.partition == "one"


async def test_the_named_cluster_is_asked_and_its_name_is_no_option_of_the_launch(options):
    chosen = options.choose({"cluster": "two", "partition": "two"})
    assert chosen.version is options.version_of("two")
    assert "cluster" not in chosen.request.options
    assert options.choose(chosen.options).request == chosen.request


async def test_what_is_no_mapping_is_refused(options):
    with pytest.raises(InvalidOptions, match="options are an object"):
        options.choose(["cluster"])


async def test_an_option_of_another_cluster_is_refused(options):
    with pytest.raises(InvalidOptions) as refused:
        options.choose({"cluster": "two", "partition": "one"})
    assert list(refused.value.fields) == ["partition"]


async def test_a_checked_start_is_kept_and_one_that_is_refused_is_not(options):
    apply(options, {"cluster": "two"})
    assert options._chosen.version.cluster.name == "two"
    with pytest.raises(SpawnException, match="must be one of one, two"):
        apply(options, {"cluster": "three"})
    assert options._chosen is None


async def test_what_a_form_chose_is_saved_with_the_cluster(options):
    saved = from_form(options, cluster="two", **{"two.partition": "two", "one.partition": "one"})
    assert saved["cluster"] == "two"
    assert saved["partition"] == "two"
    apply(options, saved)


async def test_a_refused_form_keeps_its_cluster_for_the_answer(options):
    with pytest.raises(SpawnException):
        from_form(options, cluster="two", **{"two.partition": "one", "one.partition": "one"})
    assert SENT.get().options == {"cluster": "two", "partition": "one"}
    assert list(SENT.get().errors) == ["partition"]


class TestALink:
    async def test_chooses_what_its_cluster_lists(self, options):
        chosen = options.options_from_query({"cluster": ["two"], "partition": ["two"]})
        assert (chosen["cluster"], chosen["partition"]) == ("two", "two")

    @pytest.mark.parametrize("cluster", [{"cluster": ["one"]}, {}])
    async def test_that_another_cluster_would_allow_starts_nothing_and_fills_nothing_in(
        self, options, cluster
    ):
        with pytest.raises(SpawnException, match="can't be chosen by a link"):
            options.options_from_query({**cluster, "partition": ["one"]})
        assert "partition" not in SENT.get().options

    async def test_that_names_only_a_cluster_shows_the_form_with_it(self, options):
        with pytest.raises(NothingChosenError):
            options.options_from_query({"cluster": ["two"]})
        assert SENT.get().options == {"cluster": "two"}

    async def test_to_an_unknown_cluster_starts_nothing(self, options):
        for given in (
            {"cluster": ["x"]},
            {"cluster": ["x"], "partition": ["two"]},
            {"cluster": ["one", "two"]},
        ):
            with pytest.raises(SpawnException, match="must be one of one, two"):
                options.options_from_query(given)
            assert list(SENT.get().errors) == ["cluster"]


class TestTheForm:
    async def test_offers_all_clusters(self, options):
        page = await options.get_options_form()
        assert 'value="one" checked' in page
        assert 'name="two.partition"' in page

    async def test_with_no_cluster_at_all_tells_support(self, options, tmp_path):
        options.cluster_files = []
        with pytest.raises(SpawnException, match="Tell the site's support"):
            await options.get_options_form()
        with pytest.raises(InvalidFile):
            options.version_of("one")
