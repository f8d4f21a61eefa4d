"""The pipelines that build, verify and publish images: their files, and what their scripts do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launcher.builder.recipe import recipes_directory
from launcher.clusters.shell import bash_findings, find_shellcheck, shellcheck_findings

CI = recipes_directory() / "ci"
SCRIPTS = ("build", "verify", "publish")
LAID_OUT = "daint/gh200/jupyterlab/4.6.2/v7"
OTHER = "eiger/zen2/jupyterlab/4.6.2/v7"


def shell_of(name: str) -> list[str]:
    """Return all shell of a pipeline, a script for each job or step."""
    said = yaml.safe_load((CI / name).read_text())
    if name == "github.yml":
        return [step["run"] for job in said["jobs"].values() for step in job["steps"] if "run" in step]
    jobs = [job for job in said.values() if isinstance(job, dict)]
    return ["\n".join(job[key]) for job in jobs for key in ("before_script", "script") if job.get(key)]


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("gitlab.yml", ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
            ("github.yml", ["--builtin-schema", "vendor.github-workflows"]),
        ],
    )
    def test_they_fit_the_published_schema(self, name, options):
        program = Path(sys.executable).parent / "check-jsonschema"
        # The schemas come with the program: it has no way out.
        environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        done = subprocess.run(
            [program, *options, CI / name], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("name", ["gitlab.yml", "github.yml", *SCRIPTS])
    def test_bash_and_shellcheck_take_their_shell(self, name):
        scripts = [(CI / name).read_text()] if name in SCRIPTS else shell_of(name)
        assert scripts
        shellcheck = find_shellcheck()
        assert shellcheck
        assert [bash_findings(script) for script in scripts] == [[]] * len(scripts)
        assert shellcheck_findings(shellcheck, scripts) == [[]] * len(scripts)

    @pytest.mark.parametrize("name", ["gitlab.yml", "github.yml"])
    def test_each_builds_for_both_processors_verifies_and_publishes(self, name):
        text = (CI / name).read_text()
        assert "gh200" in text
        assert "zen2" in text
        shell = "\n".join(shell_of(name))
        assert "launcher build uenv --check" in shell
        for script in SCRIPTS:
            assert f"uenv/ci/{script} images" in shell

    def test_actions_are_pinned_by_commit(self):
        used = re.findall(r"uses: (\S+)(.*)", (CI / "github.yml").read_text())
        assert used
        for action, comment in used:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)
            assert re.fullmatch(r" # v[0-9]+\.[0-9]+\.[0-9]+", comment)

    def test_what_a_workflow_is_given_reaches_no_shell_as_text(self):
        assert not [script for script in shell_of("github.yml") if "${{" in script]

    def test_the_registrys_token_is_in_no_argument(self):
        for name in ("gitlab.yml", "github.yml", *SCRIPTS):
            for line in (CI / name).read_text().splitlines():
                # It is the path of a file, or goes into one.
                assert "TOKEN" not in line or "$TOKEN" not in line or line.strip().startswith("printf ")

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
CURL = """#!/bin/sh
for url; do :; done
while [ $# -gt 1 ]; do [ "$1" = --output ] && output=$2; shift; done
echo "curl $url" >> "$SAID"
touch "$output"
"""


@pytest.fixture
def ci(tmp_path, monkeypatch):
    """Return a function that runs a script with stand-ins for what it calls, and returns what these got."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "launcher": LAUNCHER,
        "curl": CURL,
        "uenv": '#!/bin/sh\necho "uenv $*" >> "$SAID"\n',
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)

    def run(script: str, status: int = 0, **variables: str) -> list[str]:
        said = tmp_path / "said"
        said.write_text("")
        usual = {"RECIPE": "jupyterlab", "SYSTEM": "daint", "UARCH": "gh200", "TAG": "v7"}
        environment = {**usual, **variables, "PATH": f"{programs}:/usr/bin:/bin", "SAID": str(said)}
        done = subprocess.run(
            [CI / script, "images"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        return said.read_text().splitlines() if status == 0 else done.stderr.splitlines()

    return run


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
