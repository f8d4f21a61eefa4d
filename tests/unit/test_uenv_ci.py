"""The pipelines that build, verify and publish images: their files, and what their scripts do."""

import os
import re
from pathlib import Path

import pytest
from pipelines import (
    CURL,
    GITHUB,
    GITLAB,
    Scripts,
    lines_with,
    owners_of_actions,
    schema_findings,
    shell_findings,
    shell_of,
)

from launcher.builder.recipe import recipes_directory

CI = recipes_directory() / "ci"
SCRIPTS = ("build", "verify", "publish")
LAID_OUT = "daint/gh200/jupyterlab/4.6.2/v7"
OTHER = "eiger/zen2/jupyterlab/4.6.2/v7"


class TestFiles:
    @pytest.mark.parametrize("name", [GITLAB, GITHUB])
    def test_they_fit_the_published_schema(self, name):
        assert not schema_findings(CI / name)

    @pytest.mark.parametrize("name", [GITLAB, GITHUB, *SCRIPTS])
    def test_bash_and_shellcheck_take_their_shell(self, name):
        assert not shell_findings(CI / name)

    @pytest.mark.parametrize("name", [GITLAB, GITHUB])
    def test_each_builds_for_both_processors_verifies_and_publishes(self, name):
        text = (CI / name).read_text()
        assert "gh200" in text
        assert "zen2" in text
        shell = "\n".join(shell_of(CI / name))
        assert "launcher build uenv --check" in shell
        for script in SCRIPTS:
            assert f"uenv/ci/{script} images" in shell

    def test_actions_are_pinned_by_commit(self):
        assert owners_of_actions(CI / GITHUB) == {"actions"}

    def test_what_a_workflow_is_given_reaches_no_shell_as_text(self):
        assert not [script for script in shell_of(CI / GITHUB) if "${{" in script]

    def test_the_registrys_token_is_in_no_argument(self):
        lines = lines_with("TOKEN", *(CI / name for name in (GITLAB, GITHUB, *SCRIPTS)))
        # It is the path of a file, or goes into one.
        assert {line.split()[0] for line in lines if "$TOKEN" in line} == {"printf"}

    @pytest.mark.parametrize("script", SCRIPTS)
    def test_the_scripts_can_be_run(self, script):
        assert os.access(CI / script, os.X_OK)


LAUNCHER = """#!/bin/sh
echo "launcher $*" >> "$SAID"
[ "$1" = build ] || exit 0
while [ $# -gt 0 ]; do [ "$1" = --output ] && output=$2; shift; done
stem=${output%.squashfs}
touch "$output" "$stem.sbom.cdx.json" "$stem.provenance.json"
echo '{"name": "jupyterlab", "version": "4.6.2", "image": "'"$output"'"}'
"""


@pytest.fixture
def ci(tmp_path, monkeypatch):
    """Return a function that runs a script with stand-ins for what it calls, and returns what these got."""
    monkeypatch.chdir(tmp_path)
    stand_ins = {"launcher": LAUNCHER, "curl": CURL, "uenv": '#!/bin/sh\necho "uenv $*" >> "$SAID"\n'}
    usual = {"RECIPE": "jupyterlab", "SYSTEM": "daint", "UARCH": "gh200", "TAG": "v7"}
    return Scripts(CI, tmp_path, stand_ins, usual)


class TestScripts:
    def test_an_image_is_laid_out_by_its_label_with_its_papers(self, ci):
        built, looked_at = ci("build")
        assert built.startswith("launcher build uenv jupyterlab --cluster daint --output images/build.")
        assert built.endswith("/store.squashfs --json")
        assert looked_at == f"launcher inspect images/{LAID_OUT}/store.squashfs"
        assert sorted(path.name for path in Path("images", LAID_OUT).iterdir()) == [
            "store.provenance.json",
            "store.sbom.cdx.json",
            "store.squashfs",
        ]
        assert [path.name for path in Path("images").iterdir()] == ["daint"]

    def test_what_the_pins_name_is_fetched(self, ci):
        code_server, interpreter, built, _ = ci(
            "build",
            CODE_SERVER_URL="https://example.org/code-server-4.139.1-linux-arm64.tar.gz",
            INTERPRETER_URL="https://example.org/cpython.tar.gz",
        )
        assert code_server == "curl https://example.org/code-server-4.139.1-linux-arm64.tar.gz"
        assert interpreter == "curl https://example.org/cpython.tar.gz"
        assert re.search(
            r" --code-server images/\S+/code-server-4\.139\.1-linux-arm64\.tar\.gz --interpreter \S+", built
        )

    def test_stackinator_builds_where_it_is_asked_for(self, ci):
        built = ci(
            "build", BACKEND="stackinator", STACKINATOR_SYSTEM="/config/daint", STACKINATOR_BUILD="/dev/shm/b"
        )[0]
        wanted = " --backend stackinator --uarch gh200 --system /config/daint --build-dir /dev/shm/b --json"
        assert built.endswith(wanted)

    @pytest.mark.parametrize("tag", ["", "feature/x", "v 7", "$(id)"])
    def test_a_tag_that_no_label_can_have_is_refused(self, ci, tag):
        assert ci("build", 2, TAG=tag) == ["TAG must be set to a name of letters, digits, '_', '.' and '-'."]

    def test_what_sessions_start_is_started(self, ci):
        ci("build")
        assert ci("verify") == [
            f"launcher run images/{LAID_OUT}/store.squashfs -- launcher-singleuser --version",
            f"launcher run images/{LAID_OUT}/store.squashfs -- jupyter lab --version",
        ]

    def test_each_image_is_published_under_its_label(self, ci, tmp_path):
        ci("build")
        ci("build", SYSTEM="eiger", UARCH="zen2")
        registry = {
            "UENV_NAMESPACE": "deploy",
            "UENV_REGISTRY_USER": "someone",
            "UENV_REGISTRY_TOKEN": "/path/of/token",
        }
        given = "uenv image push --username=someone --token=/path/of/token"
        assert ci("publish", **registry) == [
            f"{given} {tmp_path}/images/{LAID_OUT}/store.squashfs deploy::jupyterlab/4.6.2:v7@daint%gh200",
            f"{given} {tmp_path}/images/{OTHER}/store.squashfs deploy::jupyterlab/4.6.2:v7@eiger%zen2",
        ]

    @pytest.mark.parametrize("script", ["verify", "publish"])
    def test_nothing_to_do_is_a_mistake(self, ci, script):
        assert ci(script, 1) == ["There is no image below images."]
