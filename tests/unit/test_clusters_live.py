"""The cluster file of a live hub: an edit counts as a whole and by itself, one with a mistake never."""

import asyncio
import logging
import os
import shutil

import pytest

from launcher.clusters import LaunchFacts, parse_options
from launcher.clusters import live as module
from launcher.clusters.live import LiveClusterFile
from launcher.clusters.template import template_directory
from launcher.errors import InvalidFile

LOG = logging.getLogger("hub")
TINY = """\
name: tiny
firecrest: {url: https://firecrest.example.org/v2, system: tiny}
home: /users/{user}
launcher: /opt/launcher/bin/launcher-singleuser
partitions: [{name: normal, time_limit: 600}]
node_addresses: [10.0.0.0/16]
"""
OTHER = TINY.replace("600", "700")
BROKEN = TINY.replace("600", "many")
BASE = template_directory() / "slurm.sh.j2"
TEMPLATE = '{% extends "slurm.sh.j2" %}\n{% block setup %}\necho WORD\n{% endblock %}\n'
FACTS = LaunchFacts(launch_id="a" * 32, ticket="b" * 64, hub_api_url="https://hub.org/hub/api", user="ada")


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, logger="hub")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "clusters").mkdir()
    path = tmp_path / "clusters/tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def live(path):
    return LiveClusterFile(path, LOG)


async def looks(live, number=2):
    for _ in range(number):
        await live.look()


def limit(live):
    return live.current.cluster.partitions[0].time_limit


def script(live):
    cluster = live.current.cluster
    return live.current.render(parse_options(cluster, {}, user="ada"), FACTS)


def test_a_good_file_is_in_use_at_once(path, caplog):
    live = LiveClusterFile(path, LOG)
    assert limit(live) == 600
    assert f"{live.path} is in use, version {live.version.name}" in caplog.text
    assert len(live.version.name) == 12


class TestAnEdit:
    async def test_counts_when_two_looks_have_found_it_the_same(self, live, path):
        path.write_text(OTHER)
        assert limit(live) == 600
        await looks(live, 1)
        assert limit(live) == 600
        await looks(live, 1)
        assert limit(live) == 700

    async def test_that_is_written_half_counts_only_as_a_whole(self, live, path, caplog):
        for half in (BROKEN, OTHER[:40], "", TINY.replace("600", "650")):
            path.write_text(half)
            await looks(live, 1)
            assert limit(live) == 600
        path.write_text(OTHER)
        await looks(live)
        assert limit(live) == 700
        assert "can't be used" not in caplog.text

    async def test_is_logged_once_with_its_version(self, live, path, caplog):
        before = live.version
        caplog.clear()
        path.write_text(OTHER)
        await looks(live, 5)
        assert live.version.name != before.name
        assert live.version.since > before.since
        assert caplog.text.count(f"in use, version {live.version.name}") == 1

    async def test_is_found_though_time_and_size_are_the_same(self, live, path):
        found = path.stat()
        path.write_text(OTHER)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        assert path.stat().st_size == found.st_size
        await looks(live)
        assert limit(live) == 700

    async def test_by_an_editor_that_renames_is_found(self, live, path):
        path.with_suffix(".new").write_text(OTHER)
        path.with_suffix(".new").rename(path)
        await looks(live)
        assert limit(live) == 700

    async def test_that_changes_nothing_says_nothing(self, live, path, caplog):
        caplog.clear()
        path.unlink()
        path.write_text(TINY)
        path.touch()
        await looks(live, 3)
        assert not caplog.text


class TestABrokenEdit:
    async def test_is_refused_with_its_place_once_and_what_was_before_stays(self, live, path, caplog):
        path.write_text(BROKEN)
        await looks(live, 5)
        assert limit(live) == 600
        (problem,) = live.problems
        assert problem.startswith(f"{path}:5:")
        assert "partitions.0.time_limit" in problem
        assert caplog.text.count(problem) == 1
        assert f"version {live.version.name} stays in use" in caplog.text

    async def test_that_bash_would_stumble_over_is_refused_at_its_line(self, live, path):
        path.write_text(f"{TINY}prologue: |\n  module load tools\n  if true\n")
        await looks(live)
        assert limit(live) == 600
        assert live.problems[0].startswith(f"{path}:9:")

    async def test_tells_all_its_mistakes(self, live, path):
        path.write_text(BROKEN.replace("10.0.0.0/16", "anywhere"))
        await looks(live)
        assert len(live.problems) == 2

    async def test_is_told_anew_for_each_edit(self, live, path, caplog):
        for text in (BROKEN, f"{BROKEN}# tried again\n"):
            path.write_text(text)
            await looks(live)
        assert caplog.text.count("can't be used") == 2

    async def test_that_is_taken_back_leaves_nothing_wrong(self, live, path, caplog):
        before = live.version
        path.write_text(BROKEN)
        await looks(live)
        path.write_text(TINY)
        await looks(live)
        assert live.problems == ()
        assert live.version is before
        assert f"is again as it is in use, version {before.name}" in caplog.text

    async def test_that_is_mended_comes_into_use(self, live, path):
        path.write_text(BROKEN)
        await looks(live)
        path.write_text(OTHER)
        await looks(live)
        assert (limit(live), live.problems) == (700, ())


class TestAFileThatCanNotBeRead:
    async def test_changes_nothing_and_is_said_so(self, live, path):
        path.unlink()
        await looks(live)
        assert limit(live) == 600
        assert "No such file" in live.problems[0]

    async def test_comes_back(self, live, path):
        path.unlink()
        await looks(live)
        path.write_text(OTHER)
        await looks(live)
        assert limit(live) == 700

    async def test_may_be_a_directory(self, live, path):
        path.unlink()
        path.mkdir()
        await looks(live)
        assert limit(live) == 600
        assert live.problems

    async def test_lost_permission_is_told(self, live, path, monkeypatch):
        def refuse(_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("launcher.yaml_file.seen.Path.read_bytes", refuse)
        await looks(live)
        assert limit(live) == 600
        assert "Permission denied" in live.problems[0]

    async def test_what_nobody_expected_harms_nobody(self, live, path, monkeypatch, caplog):
        def fail(*_, **__):
            raise ZeroDivisionError("surprise")

        with monkeypatch.context() as broken:
            broken.setattr("launcher.clusters.cluster_file.parse_cluster", fail)
            path.write_text(OTHER)
            await looks(live)
        assert limit(live) == 600
        assert "ZeroDivisionError: surprise" in live.problems[0]
        path.write_text(TINY.replace("600", "800"))
        await looks(live)
        assert limit(live) == 800


class TestAFileThatWasNeverGood:
    @pytest.fixture
    def live(self, path):
        path.write_text(BROKEN)
        return LiveClusterFile(path, LOG)

    async def test_is_an_error_with_its_mistakes_each_time(self, live):
        for _ in range(2):
            with pytest.raises(InvalidFile, match="time_limit"):
                _ = live.current
            await looks(live)

    async def test_is_told_once(self, live, caplog):
        await looks(live, 4)
        assert caplog.text.count("nobody can start a server") == 1

    async def test_is_in_use_once_it_is_mended(self, live, path):
        path.write_text(TINY)
        await looks(live)
        assert limit(live) == 600


class TestTheBatchTemplate:
    async def test_of_its_own_is_followed_with_all_that_it_extends_and_includes(self, path, tmp_path):
        path.write_text(f"{TINY}template: own.sh.j2\n")
        (path.parent / "own.sh.j2").write_text(TEMPLATE.replace("echo WORD", '{% include "more.j2" %}'))
        (path.parent / "more.j2").touch()
        base = tmp_path / "slurm.sh.j2"
        shutil.copy(BASE, base)
        live = LiveClusterFile(path, LOG)
        (path.parent / "more.j2").write_text("echo included\n")
        await looks(live)
        assert "echo included" in script(live)
        base.write_text(base.read_text().replace("#!/bin/bash\n", "#!/bin/bash -e\n"))
        await looks(live)
        assert script(live).startswith("#!/bin/bash -e\n")
        own = {path.parent / "own.sh.j2", path.parent / "more.j2"}
        assert set(live.version.files) == {path, *own, base, BASE.with_name("uenv.sh.j2")}

    async def test_that_comes_earlier_in_the_search_path_takes_its_place(self, live, path, tmp_path):
        assert "# of the site" not in script(live)
        text = BASE.read_text()
        for place in (tmp_path / "slurm.sh.j2", path.parent / "slurm.sh.j2"):
            place.write_text(f"{text}# of the site {place.parent.name}\n")
            await looks(live)
            assert f"# of the site {place.parent.name}" in script(live)

    async def test_counts_together_with_the_cluster_file(self, live, path):
        before = script(live)
        path.write_text(f"{OTHER}template: own.sh.j2\n")
        await looks(live, 1)
        (path.parent / "own.sh.j2").write_text(TEMPLATE)
        await looks(live, 1)
        assert (limit(live), script(live)) == (600, before)
        await looks(live, 1)
        assert limit(live) == 700
        assert "echo WORD" in script(live)

    async def test_with_a_mistake_is_refused_with_its_line(self, live, path, caplog):
        path.write_text(f"{TINY}template: own.sh.j2\n")
        own = path.parent / "own.sh.j2"
        own.write_text(TEMPLATE)
        await looks(live)
        own.write_text(TEMPLATE.replace("WORD", "{{ cluster.nonsense }}"))
        await looks(live)
        assert "echo WORD" in script(live)
        assert live.problems[0].startswith(f"{own}:3")
        assert live.problems[0] in caplog.text

    async def test_stays_as_it_was_in_parts_that_no_script_has_needed_yet(self, live, path):
        path.write_text(f"{TINY}template: own.sh.j2\nmax_nodes: 4\n")
        own, rare = path.parent / "own.sh.j2", path.parent / "rare.j2"
        own.write_text(
            TEMPLATE.replace("echo WORD", '{% if request.nodes > 1 %}{% include "rare.j2" %}{% endif %}')
        )
        rare.write_text("echo first\n")
        await looks(live)
        before = live.current
        rare.write_text("echo second\n")
        request = parse_options(before.cluster, {"nodes": 2}, user="ada")
        assert "echo first" in before.render(request, FACTS)
        await looks(live)
        assert "echo second" in live.current.render(request, FACTS)

    async def test_in_a_volume_of_kubernetes_is_swapped_with_its_cluster_file(self, tmp_path, caplog):
        volume = tmp_path / "volume"
        volume.mkdir()

        def publish(name, cluster, template):
            (volume / name).mkdir()
            (volume / name / "tiny.yaml").write_text(cluster)
            (volume / name / "own.sh.j2").write_text(template)
            (volume / "..new").symlink_to(name)
            (volume / "..new").rename(volume / "..data")

        for name in ("tiny.yaml", "own.sh.j2"):
            (volume / name).symlink_to(f"..data/{name}")
        cluster = f"{TINY}template: own.sh.j2\n"
        publish("..1", cluster, TEMPLATE)
        live = LiveClusterFile(volume / "tiny.yaml", LOG)
        publish("..2", cluster, TEMPLATE.replace("WORD", "swapped"))
        await looks(live)
        assert "echo swapped" in script(live)
        shutil.rmtree(volume / "..1")
        caplog.clear()
        await looks(live, 3)
        assert not caplog.text


async def test_it_looks_by_itself(path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    live = LiveClusterFile(path, LOG)
    watching = asyncio.create_task(live.watch())
    path.write_text(OTHER)
    async with asyncio.timeout(30):
        while limit(live) != 700:
            await asyncio.sleep(0.01)
    watching.cancel()
