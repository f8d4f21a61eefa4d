"""The batch script: what it says. What it does is tested in `integration/test_script_runs.py`."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendering import (
    HUB,
    LAUNCH_ID,
    TICKET,
    USER,
    cluster_file,
    directives,
    launch_words,
    script,
    site_template,
)

from launcher.clusters import ClusterFile, LaunchFacts, log_path
from launcher.errors import InvalidFile, LauncherError

EVERYTHING = ClusterFile.load(Path(__file__).parents[1] / "clusters/everything.yaml")
TOOLS = {"image": "/images/tools.squashfs"}
ENVIRONMENTS = [
    {"id": "uenv", "kind": "uenv", "image": "/images/gnu.squashfs", "view": "default"},
    {"id": "plain", "kind": "uenv", "image": "/images/gnu.squashfs", "mount": "/user-gnu"},
    {"id": "own", "kind": "uenv", "image": "/images/gnu.squashfs", "launcher": "/own/launcher-singleuser"},
    {"id": "container", "kind": "container", "edf": "/edf/a.toml"},
    {"id": "host", "kind": "host"},
    {"id": "bare", "kind": "host", "launcher": "/bare/launcher-singleuser"},
]
IMAGES = "/images/tools.squashfs:/user-tools,/images/gnu.squashfs:/user-environment"
SERVER = "/user-tools/env/jupyter/bin/launcher-singleuser"
APART = ["/bin/bash", "--posix", "-c", "$launch_apart", "sh"]
"""Begins a command that is to start without the variables of the user's Python and libraries."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return cluster_file(tmp_path_factory.mktemp("tiny"))


class TestText:
    def test_the_same_arguments_give_the_same_bytes(self, tiny):
        assert len({script(tiny, {"partition": "debug", "time": 15}).encode() for _ in range(3)}) == 1

    def test_slurm_reads_what_was_asked_for_and_nothing_more(self, tiny):
        assert directives(script(tiny, {"partition": "debug", "time": 15})) == [
            "--job-name=jupyterhub-launcher",
            "--output=jupyterlab-%j.log",
            "--partition=debug",
            "--nodes=1",
            "--ntasks-per-node=1",
            "--time=15",
            "--no-requeue",
            "--signal=B:USR1@60",
        ]

    def test_each_option_has_its_directive(self):
        options = {
            "environment": "own",
            "uenv": "/store/alice/a.squashfs",
            "view": "develop",
            "account": "proj1",
            "reservation": "workshop",
            "constraint": "gpu&nvme",
            "qos": "urgent",
            "gpus": 4,
            "cpus": 288,
            "memory": "512G",
            "nodes": 2,
            "time": 61,
        }
        assert directives(script(EVERYTHING, options)) == [
            "--job-name=jupyterhub-launcher",
            "--output=jupyterlab-%j.log",
            "--partition=normal",
            "--nodes=2",
            "--ntasks-per-node=1",
            "--time=61",
            "--no-requeue",
            "--signal=B:USR1@60",
            "--account=proj1",
            "--reservation=workshop",
            "--constraint=gpu&nvme",
            "--qos=urgent",
            "--gres=gpu:gh200:4",
            "--cpus-per-task=288",
            "--mem=512G",
            "--exclusive",
            "--mail-type=END",
            "--uenv=jupyterlab/v4.6:v1@everything%gh200:/user-tools,/store/alice/a.squashfs:/user-environment",
            "--view=develop",
            "--repo=/store/uenv",
        ]

    def test_no_gpus_are_no_directive(self):
        assert not any("gres" in each for each in directives(script(EVERYTHING, {"gpus": 0})))

    def test_the_log_lies_where_the_hub_will_look_for_it(self, tiny):
        output = next(each for each in directives(script(tiny)) if each.startswith("--output="))
        name = output.removeprefix("--output=").replace("%j", "42")
        assert log_path(tiny.cluster, USER, "42") == f"{tiny.cluster.home_of(USER)}/{name}"

    def test_the_first_comment_tells_the_launch(self, tiny):
        assert script(tiny).split("\n")[:2] == ["#!/bin/bash", f"# launch {LAUNCH_ID}"]

    def test_the_ticket_stands_in_one_place(self, tiny):
        assert script(tiny).count(TICKET) == 1

    @pytest.mark.parametrize("attach", ["directive", "run", "squashfs-mount"])
    @pytest.mark.parametrize("environment", [each["id"] for each in ENVIRONMENTS])
    def test_bash_takes_it_for_a_script(self, tmp_path, environment, attach):
        file = cluster_file(
            tmp_path,
            tools=TOOLS,
            uenv={"attach": attach},
            environments=ENVIRONMENTS,
            prologue="if true; then\n  module load x  # no newline at the end\nfi",
            epilogue="true",
            template=site_template(tmp_path, setup="{{ super() }}\ntrue", teardown="{{ super() }}\ntrue"),
        )
        text = script(file, {"environment": environment})
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)

    def test_whom_to_trust_at_the_hub_stands_only_where_the_cluster_file_says_so(self, tmp_path, tiny):
        file = cluster_file(tmp_path, hub_ca="/etc/site/ca.pem")
        assert "LAUNCHER_HUB_CA=/etc/site/ca.pem" in launch_words(script(file))
        assert "_CA=" not in script(tiny)
        assert "--cacert" not in script(tiny)
        subprocess.run(["bash", "-n"], input=script(file), text=True, check=True)

    def test_a_prologue_is_that_of_the_cluster_and_then_that_of_the_environment(self):
        lines = script(EVERYTHING, {"environment": "own", "uenv": "a"}).split("\n")
        assert lines.index("export CLUSTER=everything") < lines.index("export ENVIRONMENT=own")
        assert "export ENVIRONMENT=own" not in script(EVERYTHING)


class TestAttach:
    """How the server is started: by itself, unless an environment needs somebody's help."""

    def launched(self, tmp_path, environment, attach="directive", **facts):
        uenv = {"attach": attach, **facts.pop("uenv", {})}
        facts = {"launcher": None, "tools": TOOLS, "environments": ENVIRONMENTS, "uenv": uenv} | facts
        text = script(cluster_file(tmp_path, **facts), {"environment": environment})
        return launch_words(text), [each for each in directives(text) if each[:4] in ("--ue", "--vi", "--re")]

    def test_slurms_plugin_mounts_images_and_loads_the_view(self, tmp_path):
        assert self.launched(tmp_path, "uenv", uenv={"repo": "/repo"}) == (
            [*APART, SERVER],
            [f"--uenv={IMAGES}", "--view=default", "--repo=/repo"],
        )

    def test_uenv_mounts_images_and_loads_the_view(self, tmp_path):
        assert self.launched(tmp_path, "uenv", "run", uenv={"repo": "/repo"}) == (
            ["uenv", "--repo=/repo", "run", IMAGES, "--view=default", "--", *APART, SERVER],
            [],
        )

    def test_squashfs_mount_mounts_images_and_the_view_is_told_as_uenv_does(self, tmp_path):
        assert self.launched(tmp_path, "uenv", "squashfs-mount") == (
            [
                f"UENV_MOUNT_LIST={IMAGES}",
                "UENV_VIEW=/user-environment:gnu:default",
                # Before it: a program that becomes root is not told of LD_LIBRARY_PATH and the like.
                *(*APART, "squashfs-mount", f"--sqfs={IMAGES}", "--", SERVER),
            ],
            [],
        )

    @pytest.mark.parametrize("attach", ["directive", "run", "squashfs-mount"])
    def test_an_image_may_have_a_mount_of_its_own_and_no_view(self, tmp_path, attach):
        words, lines = self.launched(tmp_path, "plain", attach)
        images = "/images/tools.squashfs:/user-tools,/images/gnu.squashfs:/user-gnu"
        assert any(each.endswith(images) for each in (*words, *lines))
        assert not any("view" in each for each in (*words, *lines))

    @pytest.mark.parametrize("attach", ["directive", "run", "squashfs-mount"])
    def test_an_environment_that_brings_its_own_launcher_needs_no_tools(self, tmp_path, attach):
        words, lines = self.launched(tmp_path, "own", attach)
        assert words[-1] == "/own/launcher-singleuser"
        assert "user-tools" not in "".join((*words, *lines))

    @pytest.mark.parametrize("attach", ["directive", "run", "squashfs-mount"])
    def test_the_bare_host_gets_the_tools_unless_it_has_a_launcher(self, tmp_path, attach):
        words, lines = self.launched(tmp_path, "host", attach)
        assert words[-1] == SERVER
        assert any("tools.squashfs:/user-tools" in each for each in (*words, *lines))
        assert self.launched(tmp_path, "bare", attach) == ([*APART, "/bare/launcher-singleuser"], [])

    @pytest.mark.parametrize("attach", ["directive", "run", "squashfs-mount"])
    def test_srun_starts_a_container_and_nothing_else(self, tmp_path, attach):
        words, lines = self.launched(tmp_path, "container", attach)
        assert words[0] == "srun"
        assert words[-6:] == [
            "--environment=/edf/a.toml",
            "sh",
            *APART[2:],
            "/opt/launcher/bin/launcher-singleuser",
        ]
        assert lines == []
        for environment in ("uenv", "plain", "own", "host", "bare"):
            assert "srun" not in self.launched(tmp_path, environment, attach)[0]

    @pytest.mark.parametrize(
        ("image", "view", "shown"),
        [
            ("prgenv-gnu/24.11:v1", "default", "prgenv-gnu:default"),
            ("prgenv-gnu@daint%gh200", "default", "prgenv-gnu:default"),
            ("prgenv-gnu/24.11:v1", "prgenv-gnu:default", "prgenv-gnu:default"),
            ("/images/gnu.squashfs", "default", "default"),
        ],
    )
    def test_a_view_is_named_with_its_uenv_where_that_is_known(self, tmp_path, image, view, shown):
        environments = [{"id": "uenv", "kind": "uenv", "image": image, "view": view}]
        _, lines = self.launched(tmp_path, "uenv", environments=environments)
        assert lines[1] == f"--view={shown}"


class TestLaunchFacts:
    @given(st.text(max_size=40) | st.text("\n\r\0\"'`$(){};# \\\u2028\x85é", max_size=20))
    def test_a_hub_url_is_refused_or_stays_one_word_of_one_line(self, tail):
        url = f"https://hub.example.org/{tail}"
        try:
            text = script(EVERYTHING, url=url)
        except ValueError:
            return
        lines = text.split("\n")
        assert len(lines) == len(script(EVERYTHING).split("\n"))
        (line,) = (line for line in lines if line.startswith("launch_hub="))
        assert shlex.split(line) == [f"launch_hub={url}"]

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hub.example.org",
            "ftp://hub.example.org",
            "file:///etc/passwd",
            "http://",
            "http://[",
            "http://hub.example.org/\n",
            "http://hub.example.org/\0",
            "http://hub.example.org/\u2028",
            "javascript:alert(1)",
        ],
    )
    def test_a_hub_url_that_is_none_is_refused(self, tiny, url):
        with pytest.raises(ValueError, match=r"hub_api_url|IPv6"):
            script(tiny, url=url)

    @pytest.mark.parametrize(
        "user",
        ["", "alice\n", "alice; reboot", "../root", "-rf", "$(id)", "a b", "älice", "a" * 65, ".", "a/b"],
    )
    def test_a_user_whom_no_cluster_can_have_is_refused(self, user):
        with pytest.raises(LauncherError, match="not a name that a user of a cluster can have"):
            LaunchFacts(launch_id=LAUNCH_ID, ticket=TICKET, hub_api_url=HUB, user=user)

    @pytest.mark.parametrize("wrong", ["", "a" * 31, "A" * 64, "a" * 64 + "\n", "$(id)" + "a" * 60])
    def test_a_ticket_or_launch_id_that_is_none_is_refused(self, wrong):
        for names in ({"ticket": wrong, "launch_id": LAUNCH_ID}, {"ticket": TICKET, "launch_id": wrong}):
            with pytest.raises(ValueError, match="hexadecimal"):
                LaunchFacts(hub_api_url=HUB, user=USER, **names)

    def test_no_ticket_shows_when_a_launch_is_printed(self):
        facts = LaunchFacts(LAUNCH_ID, TICKET, HUB, USER)
        assert TICKET not in f"{facts} {facts!r}"


class TestTemplateMistakes:
    """A site's own template: its mistakes come with file and line, before anybody launches."""

    @pytest.mark.parametrize(
        ("template", "place", "problem"),
        [
            ("#!/bin/bash\n{% if %}\n", "site.j2:2:", "Expected an expression"),
            ("\n\n{{ nowhere }}", "site.j2:3:", "'nowhere' is undefined"),
            (
                "{% extends 'slurm.sh.j2' %}\n{% block setup %}\n{{ request.nope }}{% endblock %}",
                "site.j2:3:",
                "",
            ),
            ("{% extends 'gone.sh.j2' %}", "gone.sh.j2", "there is no"),
            ("\n{{ 1 + 'a' }}", "site.j2:2:", "unsupported operand"),
            ("\n{{ request.time / 0 }}", "site.j2:2:", "division by zero"),
            ("{{ request.partition | quote }}", "site.j2:1:", "No filter named 'quote'"),
            ("{{ cluster.__class__.__mro__ }}", "site.j2:1:", "access to attribute '__class__'"),
            ("{{ cluster.partitions.append(1) }}", "site.j2:1:", ""),
            ("{% extends 'site.j2' %}", "site.j2:", "extends itself"),
        ],
    )
    def test_a_mistake_is_told_with_its_place(self, tmp_path, template, place, problem):
        (tmp_path / "site.j2").write_text(template)
        with pytest.raises(InvalidFile) as error:
            cluster_file(tmp_path, template="site.j2")
        assert place in str(error.value)
        assert problem in str(error.value)

    def test_a_template_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(InvalidFile, match=r"none\.sh\.j2"):
            cluster_file(tmp_path, template="none.sh.j2")
