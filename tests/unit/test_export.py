"""`launcher export`: what a hub's configuration holds, and that the cluster file comes through unchanged."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import charts
import hypothesis
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from traitlets.config import Config

from launcher.cli import main
from launcher.cli.export import export as command
from launcher.clusters import load_cluster
from launcher.clusters.template import template_directory
from launcher.errors import UsageError
from launcher.export import Kind, export, write
from launcher.export.embedded import Embedded
from launcher.export.setting import settings
from launcher.sandbox import site as sandbox

CLUSTERS = sorted((template_directory() / "clusters").glob("*.yaml"))
CHARTS = [Kind.F7T4JHUB, Kind.Z2JH]
TINY = """\
name: tiny
firecrest: {url: "https://firecrest.example.org/v2", system: tiny}
home: /users/{user}
launcher: /opt/bin/launcher-singleuser
partitions:
  - {name: normal, time_limit: 600}
  - {name: long, time_limit: 1440}
node_addresses: [10.0.0.0/8]
"""
SITE = {
    "HUB_URL": "https://jupyter.example.org/base/",
    "OAUTH_CLIENT_ID": "the-client",
    "OAUTH_CLIENT_SECRET": "the-clients-secret",
    "OAUTH2_AUTHORIZE_URL": "https://login.example.org/authorize",
    "OAUTH2_TOKEN_URL": "https://login.example.org/token",
    "OAUTH2_USERDATA_URL": "https://login.example.org/userinfo",
    "JUPYTERHUB_CRYPT_KEY": "ab" * 32,
    "CONFIGPROXY_AUTH_TOKEN": "the-proxys-token",
    "KC_CLIENT_ID": "the-client",
    "KC_CLIENT_SECRET": "the-clients-secret",
}
SECRETS = [SITE[name] for name in ("OAUTH_CLIENT_SECRET", "JUPYTERHUB_CRYPT_KEY", "CONFIGPROXY_AUTH_TOKEN")]


@pytest.fixture
def tiny(tmp_path) -> Path:
    path = tmp_path / "clusters/tiny.yaml"
    path.parent.mkdir()
    path.write_text(TINY)
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Run a configuration as JupyterHub does; returns what it sets."""
    directory = tmp_path / "hub"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "secrets"))
    for name, value in SITE.items():
        monkeypatch.setenv(name, value)

    def run(script: str) -> Config:
        return configuration(script, directory / "jupyterhub_config.py")

    return run


def configuration(script: str, path: Path) -> Config:
    config = Config()
    names = {"c": config, "get_config": lambda: config, "__file__": str(path)}
    exec(compile(script, str(path), "exec"), names, names)
    return config


def values_of(path: Path, kind: Kind, **how: bool) -> dict:
    return yaml.safe_load(export(kind, path, **how).content)


def script_of(path: Path, kind: Kind) -> str:
    """Return what the hub runs."""
    if kind is Kind.JUPYTERHUB:
        return export(kind, path).content
    return getattr(charts, kind)(values_of(path, kind))


def code_of(path: Path, kind: Kind) -> str:
    """Return the Python that is ours."""
    if kind is Kind.JUPYTERHUB:
        return export(kind, path).content
    values = values_of(path, kind)
    return (
        values["config"]["extraConfig"] if kind is Kind.F7T4JHUB else values["hub"]["extraConfig"]["launcher"]
    )


def keys_of(values: dict, depth: int) -> set[str]:
    """Return the keys down to a depth, with dots between them."""
    found = set()
    for key, value in values.items():
        below = keys_of(value, depth - 1) if depth > 1 and isinstance(value, dict) else set()
        found |= {f"{key}.{each}" for each in below} or {key}
    return found


# ---- what is in it


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_every_cluster_makes_valid_python_and_yaml_without_a_template_in_it(path, kind):
    document = export(kind, path)
    ast.parse(code_of(path, kind))
    assert document.cluster == path.stem
    assert "{{" not in document.content
    assert document.content.endswith("\n")
    assert not re.search(r"[ \t]$", document.content, re.MULTILINE)


def test_f7t4jhub_holds_the_charts_keys_and_no_others(tiny):
    keys = keys_of(values_of(tiny, Kind.F7T4JHUB), 3)
    assert keys == {"hub.image", "config.extraConfig"} | {
        f"config.spawner.{key}" for key in charts.F7T4JHUB_SPAWNER
    }


def test_z2jh_holds_the_charts_keys_and_no_others(tiny):
    values = values_of(tiny, Kind.Z2JH)
    assert keys_of(values, 1) == {"hub", "cull"}
    assert values["hub"].keys() == {"image", "extraEnv", "config", "extraFiles", "extraConfig"}
    assert values["hub"]["image"].keys() == {"name", "tag"}
    for file in values["hub"]["extraFiles"].values():
        assert file.keys() in ({"mountPath", "stringData"}, {"mountPath", "binaryData"})
    for name, value in values["hub"]["extraEnv"].items():
        assert value == "" or value["valueFrom"]["secretKeyRef"].keys() == {"name", "key"}
        assert name in SITE


def test_z2jh_is_told_to_leave_idle_servers_alone_which_end_themselves(tiny):
    tiny.write_text(f"{TINY}idle: {{server: 30}}\n")
    assert values_of(tiny, Kind.Z2JH)["cull"] == {"enabled": False}


@pytest.mark.parametrize("kind", CHARTS)
def test_nested_values_stand_below_the_charts_name(tiny, kind):
    name = {Kind.F7T4JHUB: "f7t4jhub", Kind.Z2JH: "jupyterhub"}[kind]
    assert values_of(tiny, kind, nested=True) == {name: values_of(tiny, kind)}


@pytest.mark.parametrize("kind", CHARTS)
def test_the_hubs_image_is_a_placeholder(tiny, kind):
    image = values_of(tiny, kind)["hub"]["image"]
    assert image == ("HUB_IMAGE" if kind is Kind.F7T4JHUB else {"name": "HUB_IMAGE", "tag": "HUB_IMAGE_TAG"})


@pytest.mark.parametrize("kind", Kind)
def test_no_secret_of_the_surroundings_is_in_it(tiny, kind, hub):
    document = export(kind, tiny)
    assert not [secret for secret in SECRETS if secret in document.content + document.json]


@pytest.mark.parametrize("kind", Kind)
def test_each_setting_has_its_reason_in_a_comment_above_it(tiny, kind):
    text = code_of(tiny, kind) if kind is Kind.F7T4JHUB else export(kind, tiny).content
    lines = [line.strip() for line in text.splitlines()]
    for setting in settings(load_cluster(tiny)):
        place = next(i for i, line in enumerate(lines) if re.match(rf"(c\..*\.)?{setting.name}( =|:) ", line))
        comment = []
        while lines[place - 1].startswith("#"):
            place -= 1
            comment.insert(0, lines[place].removeprefix("# "))
        assert setting.reason in " ".join(comment)


def test_the_sandbox_sets_the_same_with_a_reason_and_alone_ends_its_servers():
    lines = Path(sandbox.__file__).with_name("jupyterhub_config.py").read_text().splitlines()
    for setting in [
        "JupyterHub.concurrent_spawn_limit = 0",
        "JupyterHub.cleanup_servers = True",
        "ConfigurableHTTPProxy.should_start = False",
        "LauncherSpawner.start_timeout = 5 * 3600",
        "LauncherSpawner.poll_interval = 300",
        "LauncherSpawner.consecutive_failure_limit = 0",
    ]:
        assert lines[lines.index(f"c.{setting}") - 1].startswith("# ")
    assert any(line.startswith("c.LauncherSpawner.hub_connect_url = ") for line in lines)
    assert any(line.startswith("c.LauncherSpawner.poll_jitter = ") for line in lines)


# ---- what a hub makes of it


@pytest.mark.parametrize("kind", Kind)
def test_a_hub_gets_all_settings(tiny, kind, hub):
    config = hub(script_of(tiny, kind))
    for setting in settings(load_cluster(tiny)):
        assert config[setting.section][setting.name] == setting.value
    assert config.LauncherSpawner.start_timeout > 1440 * 60
    assert config.LauncherSpawner.hub_connect_url == (
        "https://hub.example.org" if kind is Kind.F7T4JHUB else "https://jupyter.example.org"
    )
    assert config.GenericOAuthenticator.refresh_user_hook.__module__ == "launcher.firecrest.tokens"
    assert config.GenericOAuthenticator.username_claim == "preferred_username"
    assert config.GenericOAuthenticator.client_id == SITE["OAUTH_CLIENT_ID"]
    assert config.GenericOAuthenticator.client_secret == SITE["OAUTH_CLIENT_SECRET"]


def test_a_hub_of_its_own_serves_at_the_path_of_its_url(tiny, hub):
    config = hub(script_of(tiny, Kind.JUPYTERHUB))
    assert config.JupyterHub.base_url == "/base/"
    callback = "https://jupyter.example.org/base/hub/oauth_callback"
    assert config.GenericOAuthenticator.oauth_callback_url == callback
    assert config.ConfigurableHTTPProxy.api_url == "http://127.0.0.1:8001"
    assert config.ConfigurableHTTPProxy.auth_token == SITE["CONFIGPROXY_AUTH_TOKEN"]


def test_what_f7t4jhub_sets_for_its_own_spawner_does_not_reach_ours(tiny, hub):
    config = hub(script_of(tiny, Kind.F7T4JHUB))
    assert not config.Spawner
    assert config.GenericOAuthenticator.scope == ["openid", "profile", "firecrest"]


@pytest.mark.parametrize("kind", Kind)
def test_all_that_is_missing_is_named_at_once(tiny, kind, hub, monkeypatch):
    wanted = re.findall(r'^    "([A-Z0-9_]+)": ', code_of(tiny, kind), re.MULTILINE)
    assert len(wanted) == {Kind.JUPYTERHUB: 8, Kind.F7T4JHUB: 2, Kind.Z2JH: 6}[kind]
    script = script_of(tiny, kind)
    for name in wanted:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "x" if kind is Kind.F7T4JHUB else "")
    with pytest.raises(SystemExit) as refused:
        hub(script)
    assert all(f"{name} is not set: " in str(refused.value) for name in wanted)


@pytest.mark.parametrize("kind", Kind)
def test_a_mounted_secret_serves_as_well_as_a_variable(tiny, kind, hub, tmp_path, monkeypatch):
    script = script_of(tiny, kind)
    name = "KC_CLIENT_SECRET" if kind is Kind.F7T4JHUB else "OAUTH_CLIENT_SECRET"
    monkeypatch.delenv(name)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / name).write_text("mounted\n")
    assert hub(script).GenericOAuthenticator.client_secret == "mounted"


@pytest.mark.parametrize("kind", Kind)
def test_a_hub_that_nodes_would_reach_without_encryption_is_refused(tiny, kind, hub, monkeypatch):
    script = script_of(tiny, kind).replace("https://hub.example.org/", "http://hub.example.org/")
    monkeypatch.setenv("HUB_URL", "http://jupyter.example.org")
    with pytest.raises(SystemExit, match="must begin with https://"):
        hub(script)


# ---- the cluster file in it


def files_of(path: Path, kind: Kind, directory: Path) -> dict[str, bytes]:
    """Return the files that a hub has beside its cluster file, by their path there."""
    if kind is Kind.Z2JH:
        values = values_of(path, kind)
        place = Path(values["hub"]["config"]["LauncherSpawner"]["cluster_files"][0]).parent
        return {str(name.relative_to(place)): held for name, held in charts.z2jh_files(values).items()}
    before = Path.cwd()
    os.chdir(directory)
    try:
        config = configuration(script_of(path, kind), directory / "jupyterhub_config.py")
    finally:
        os.chdir(before)
    place = Path(config.LauncherSpawner.cluster_files[0]).parent
    return {str(name.relative_to(place)): name.read_bytes() for name in place.rglob("*") if name.is_file()}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_the_cluster_file_comes_to_the_hub_byte_for_byte(path, kind, hub, tmp_path):
    assert files_of(path, kind, tmp_path) == {path.name: path.read_bytes()}


@pytest.mark.parametrize("kind", Kind)
def test_batch_templates_of_the_sites_own_come_along_with_all_they_include(tiny, kind, hub, tmp_path):
    tiny.write_text(f"{TINY}template: site.sh.j2\n")
    (tiny.parent / "parts").mkdir()
    templates = {
        "parts/modules.j2": "module load squashfs\n",
        "site.sh.j2": '{% extends "slurm.sh.j2" %}\n{% block setup %}\n{% include "parts/modules.j2" %}\n'
        "{{ super() }}\n# '''\n{% include \"above.j2\" %}\n{% endblock %}\n\n",
    }
    for name, text in templates.items():
        (tiny.parent / name).write_text(text)
    (tiny.parent.parent / "above.j2").write_text("# above\n")
    found = files_of(tiny, kind, tmp_path)
    expected = {"tiny.yaml": tiny.read_text(), "above.j2": "# above\n", **templates}
    assert found == {name: text.encode() for name, text in expected.items()}


def test_a_cluster_file_beside_the_configuration_counts(tiny, hub, tmp_path):
    beside = tmp_path / "hub/tiny.yaml"
    beside.write_text("edited since")
    assert hub(script_of(tiny, Kind.JUPYTERHUB)).LauncherSpawner.cluster_files == [str(beside)]
    assert beside.read_text() == "edited since"


def test_what_was_written_at_an_earlier_start_is_written_anew(tiny, hub):
    hub(script_of(tiny, Kind.JUPYTERHUB))
    tiny.write_text(f"{TINY}title: Another\n")
    config = hub(script_of(tiny, Kind.JUPYTERHUB))
    assert Path(config.LauncherSpawner.cluster_files[0]).read_text().endswith("title: Another\n")


def through_yaml(text: str) -> str:
    """Return a text that went through a block of YAML, indented once more."""
    lines = "".join(f"    {line}\n" if line else "\n" for line in text.split("\n"))
    return yaml.safe_load(f"a:\n  b: |\n{lines}")["a"]["b"]


odd = st.sampled_from(
    "{{ .Values.hub }}|{{|}}|{{{|{%|---|...|'''|\"\"\"|'|\"|\\| |  |#|: |%|a|\t|\n|\n\n|\r\n|\r"
    "|\u00fc|\U0001f600|\u2028|\u0085|\xa0|\ufeff".split("|")
)
texts = st.one_of(st.lists(odd, max_size=12).map("".join), st.text(st.characters(exclude_categories=["Cs"])))


@given(texts)
def test_any_text_survives_as_python_and_as_base64(text):
    file = Embedded("any", text)
    assert eval(file.python) == text
    code = through_yaml(f"value = {file.python}\n")
    names: dict[str, str] = {}
    exec(code, names)
    assert names["value"] == text
    assert "{{" not in file.python


@hypothesis.settings(max_examples=15)
@given(st.lists(odd, max_size=8).map("".join), st.sampled_from(["", "\n", "\n\n", "\n \n"]), st.booleans())
def test_odd_text_in_a_cluster_file_survives_both_charts(tmp_path_factory, text, end, windows):
    directory = tmp_path_factory.mktemp("odd")
    path = directory / "tiny.yaml"
    comment = "".join(f"# {line}\n" for line in re.split("[\r\n\x85\u2028]", text))
    script = "".join(f"  {line}\n" for line in text.replace("\r", "").split("\n"))
    script = re.sub("[\t\x85\u2028\ufeff]", "", script)
    prologue = f"  : <<'END'\n{script}  END\n"
    content = f"---\n{comment}{TINY}prologue: |\n{prologue}# the end{end}"
    path.write_text(content.replace("\n", "\r\n") if windows else content, newline="")
    load_cluster(path)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SITE.items():
            patch.setenv(name, value)
        for kind in Kind:
            assert files_of(path, kind, directory) == {"tiny.yaml": path.read_bytes()}


# ---- the command


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(command, [str(each) for each in arguments])


def test_it_prints_what_it_makes(run, tiny):
    for kind in Kind:
        assert run(kind, tiny).stdout == export(kind, tiny).content


def test_json_holds_the_kind_the_cluster_and_values_or_python(run, tiny):
    told = json.loads(run("jupyterhub", tiny, "--json").stdout)
    content = export(Kind.JUPYTERHUB, tiny).content
    assert told == {"kind": "jupyterhub", "cluster": "tiny", "content": content}
    told = json.loads(run("z2jh", tiny, "--json", "--nested").stdout)
    values = values_of(tiny, Kind.Z2JH, nested=True)
    assert told == {"kind": "z2jh", "cluster": "tiny", "values": values}


def test_a_file_is_replaced_as_a_whole_and_only_if_told_so(run, tiny, tmp_path):
    output = tmp_path / "values.yaml"
    assert run("z2jh", tiny, "-o", output).stdout == ""
    assert output.read_text() == export(Kind.Z2JH, tiny).content
    output.write_text("precious")
    refused = run("z2jh", tiny, "-o", output).exception
    assert isinstance(refused, UsageError)
    assert "--force" in refused.todo
    assert output.read_text() == "precious"
    run("z2jh", tiny, "-o", output, "--force")
    assert output.read_text() == export(Kind.Z2JH, tiny).content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clusters", "values.yaml"]


def test_a_file_that_can_not_be_written_is_said_so(tmp_path):
    with pytest.raises(UsageError, match="can't be written"):
        write(tmp_path / "nowhere/values.yaml", "", replace=False)


@pytest.mark.parametrize("arguments", [["jupyterhub", "--nested"], ["z2jh", "--force"]])
def test_options_that_do_not_go_together_are_refused(run, tiny, arguments):
    assert isinstance(run(arguments[0], tiny, arguments[1]).exception, UsageError)


def test_a_broken_cluster_file_is_told_with_all_its_problems(tiny, monkeypatch, capsys):
    tiny.write_text(TINY.replace("/users/{user}", "users").replace("10.0.0.0/8", "nowhere"))
    monkeypatch.setattr(sys, "argv", ["launcher", "export", "jupyterhub", str(tiny)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert re.search(r"tiny\.yaml:3:\d+: home: ", told.err)
    assert re.search(r"tiny\.yaml:\d+:\d+: node_addresses\.0: ", told.err)


def test_without_what_reads_cluster_files_it_says_what_to_install(tiny):
    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from launcher.cli.export import export\n"
        f"export(['z2jh', {str(tiny)!r}], standalone_mode=False)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingPart: What reads cluster files is not installed" in ended.stderr
