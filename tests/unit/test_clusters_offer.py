"""The clusters that a hub offers: followed live, chosen by name, each name once."""

import logging

import pytest

from launcher.clusters.offer import Offer
from launcher.errors import InvalidFile, InvalidOptions

LOG = logging.getLogger("hub")
TINY = """\
name: {name}
firecrest: {{url: https://firecrest.example.org/v2, system: tiny}}
home: /users/{{user}}
launcher: /opt/launcher/bin/launcher-singleuser
partitions: [{{name: normal, time_limit: {limit}}}]
node_addresses: [10.0.0.0/16]
"""


@pytest.fixture
def write(tmp_path):
    def write(name, limit=600, directory="clusters"):
        path = tmp_path / directory / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TINY.format(name=name, limit=limit))
        return path

    return write


@pytest.fixture
def settings():
    return {}


@pytest.fixture
def offer(settings):
    return lambda *paths: Offer.of(settings, [str(path) for path in paths], LOG)


async def test_files_are_offered_in_the_order_in_which_they_are_named(offer, write):
    offered = offer(write("zeta"), write("alpha"))
    assert list(offered.usable) == ["zeta", "alpha"]
    assert offered.first == "zeta"
    assert offered.withheld == []


async def test_a_directory_stands_for_its_files(offer, write, tmp_path):
    write("zeta")
    write("alpha")
    (tmp_path / "clusters/notes.txt").write_text("no cluster")
    assert list(offer(write("own", directory="more"), tmp_path / "clusters").usable) == [
        "own",
        "alpha",
        "zeta",
    ]


async def test_all_spawners_of_a_hub_share_one_and_its_files(offer, write, settings):
    one, two = write("one"), write("two")
    assert offer(one, two) is offer(one, two)
    other = offer(two)
    assert other is not offer(one, two)
    assert other.version_of("two") is offer(one, two).version_of("two")
    assert [each.path for each in Offer.all(settings)] == [one, two]


async def test_a_choice_is_by_name_and_the_first_is_meant_by_none(offer, write):
    offered = offer(write("one"), write("two"))
    assert offered.choose("two").cluster.name == "two"
    for nothing in (None, ""):
        assert offered.choose(nothing).cluster.name == "one"


@pytest.mark.parametrize(
    "name", ["three", "one\n", " one", "../one", "one.yaml", 1, True, ["one"], {"one": 1}, "<b>", "x" * 10**6]
)
async def test_an_unknown_cluster_is_refused_with_what_there_is(offer, write, name):
    with pytest.raises(InvalidOptions) as refused:
        offer(write("one"), write("two")).choose(name)
    assert refused.value.fields == {"cluster": "must be one of one, two"}


async def test_a_file_that_is_broken_from_the_start_is_withheld_and_the_others_work(offer, write):
    offered = offer(write("one", limit="many"), write("two"))
    assert list(offered.usable) == ["two"]
    assert offered.withheld == ["one"]
    for name in ("one", None):
        with pytest.raises(InvalidOptions, match="must be one of two: one can't be offered just now"):
            offered.choose(name)
    assert offered.choose("two").cluster.name == "two"
    with pytest.raises(InvalidFile, match="time_limit"):
        offered.version_of("one")


async def test_where_nothing_can_be_chosen_the_mistakes_are_told(offer, write):
    with pytest.raises(InvalidFile, match="time_limit"):
        offer(write("one", limit="many")).choose("one")
    with pytest.raises(InvalidFile, match="names no cluster file"):
        offer().choose(None)


async def test_a_cluster_that_is_not_offered_has_no_version(offer, write):
    with pytest.raises(InvalidFile, match="The hub offers no cluster two"):
        offer(write("one")).version_of("two")


async def test_of_two_files_of_one_name_the_second_is_refused_plainly(offer, write, settings, caplog):
    first, second = write("one", 600), write("one", 700, directory="more")
    offered = offer(first, second)
    assert offered.version_of("one").path == first
    said = f"{second}: name: one is the name of {first}, too"
    assert said in caplog.text
    assert [(each.path, each.problems) for each in Offer.all(settings)] == [
        (first, ()),
        (second, (said,)),
    ]


async def test_a_file_that_is_named_twice_is_offered_once_without_a_word(offer, write, caplog):
    path = write("one")
    assert list(offer(path, path.parent).usable) == ["one"]
    assert not caplog.text


async def test_a_directory_without_a_cluster_file_is_told(offer, write, caplog, tmp_path):
    (tmp_path / "empty").mkdir()
    assert list(offer(tmp_path / "empty", write("one")).usable) == ["one"]
    assert f"There is no cluster file in {tmp_path / 'empty'}." in caplog.text
