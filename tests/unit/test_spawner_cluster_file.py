"""The cluster file of a live hub: an edit counts at once, one with a mistake never."""

import logging
import os

import pytest

from launcher.clusters.script import template_directory
from launcher.errors import InvalidFile
from launcher.spawner.cluster_file import current_cluster

LOG = logging.getLogger("hub")
GOOD = (template_directory() / "clusters/sandbox.yaml").read_text()


@pytest.fixture
def edit(tmp_path):
    """Return a function that writes the file, each time as of another moment."""
    path = tmp_path / "sandbox.yaml"
    moments = iter(range(1, 100))

    def write(text):
        path.write_text(text)
        os.utime(path, (0, next(moments)))
        return path

    return write


def test_an_edit_counts_at_the_next_look(edit):
    settings = {}
    assert current_cluster(settings, edit(GOOD), LOG).default_time == 60
    assert (
        current_cluster(
            settings, edit(GOOD.replace("default_time: 60", "default_time: 30")), LOG
        ).default_time
        == 30
    )


def test_a_mistake_is_logged_once_and_what_was_before_stays(edit, caplog):
    settings = {}
    before = current_cluster(settings, edit(GOOD), LOG)
    path = edit(GOOD.replace("default_time: 60", "default_time: 7"))
    assert current_cluster(settings, path, LOG) == before
    assert current_cluster(settings, path, LOG) == before
    assert caplog.text.count("default_time: 7 is not one of times") == 1
    assert current_cluster(settings, edit(GOOD), LOG) == before


def test_a_file_that_vanishes_changes_nothing(edit):
    settings = {}
    path = edit(GOOD)
    before = current_cluster(settings, path, LOG)
    path.unlink()
    assert current_cluster(settings, path, LOG) == before


def test_a_file_that_was_never_good_is_an_error_each_time(edit):
    settings = {}
    path = edit("name: sandbox\n")
    for _ in range(2):
        with pytest.raises(InvalidFile):
            current_cluster(settings, path, LOG)
