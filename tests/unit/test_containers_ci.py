"""The pipelines that build, scan and publish containers: their files, and what their scripts do."""

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pipelines import (
    CURL,
    GITHUB,
    GITLAB,
    Scripts,
    installed,
    lines_with,
    owners_of_actions,
    schema_findings,
    shell_findings,
    shell_of,
)
from registry import PASSWORD, USER, registry

from launcher.builder.container.recipe import containers_directory
from launcher.cli.build_container import container

CONTAINERS = containers_directory()
CI = CONTAINERS / "ci"
SCRIPTS = ("build", "scan", "publish")
LAID_OUT = "hub/v7/x86_64"
ID = "5f" * 32
ENGINES = ("buildah", "podman", "docker")


class TestFiles:
    @pytest.mark.parametrize("name", [GITLAB, GITHUB])
    def test_they_fit_the_published_schema(self, name):
        assert not schema_findings(CI / name)

    @pytest.mark.parametrize("name", [GITLAB, GITHUB, "build"])
    def test_bash_and_shellcheck_take_their_shell(self, name):
        assert not shell_findings(CI / name)

    @pytest.mark.parametrize(
        "dockerfile", sorted(CONTAINERS.glob("*/Dockerfile")), ids=lambda path: path.parent.name
    )
    def test_hadolint_takes_the_dockerfiles(self, dockerfile):
        done = subprocess.run(
            [installed("hadolint"), dockerfile], env={}, cwd="/", capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    @pytest.mark.parametrize("name", [GITLAB, GITHUB])
    def test_each_checks_builds_for_both_processors_scans_and_publishes(self, name):
        text = (CI / name).read_text()
        assert re.search(r"gh200|aarch64", text)
        assert re.search(r"zen2|x86_64", text)
        shell = "\n".join(shell_of(CI / name))
        for command in (
            "hadolint containers/*/Dockerfile",
            "shellcheck containers/ci/build",
            "launcher build container --check",
        ):
            assert command in shell
        places = [shell.index(f"containers/ci/{script} images") for script in SCRIPTS]
        assert places == sorted(places)

    def test_actions_are_pinned_by_commit(self):
        assert owners_of_actions(CI / GITHUB) == {"actions", "sigstore"}

    def test_what_a_workflow_is_given_reaches_no_shell_as_text(self):
        assert not [script for script in shell_of(CI / GITHUB) if "${{" in script]

    def test_only_what_publishes_may_write(self):
        allowed = [
            line for line in lines_with("write", CI / GITHUB) if line.startswith(("packages", "id-token"))
        ]
        before, publishes = (CI / GITHUB).read_text().split("\n  publish:\n")
        assert len(allowed) == 2
        assert ": write" not in before
        assert all(line in publishes for line in allowed)

    def test_a_token_is_in_no_argument(self):
        lines = lines_with("TOKEN", *(CI / name for name in (GITLAB, GITHUB, "build")))
        # It goes into a file, whose path is no secret.
        assert {line.split()[0] for line in lines if "$TOKEN" in line} == {"printf"}
        assert [line for line in lines if "$REGISTRY_TOKEN" in line] == [
            """trap 'rm -f "$REGISTRY_TOKEN"' EXIT""",
            """printf '%s\\n' "$TOKEN" > "$REGISTRY_TOKEN\"""",
        ]

    @pytest.mark.parametrize("script", SCRIPTS)
    def test_the_scripts_can_be_run(self, script):
        assert os.access(CI / script, os.X_OK)


LAUNCHER = f"""#!/bin/sh
echo "launcher $*" >> "$SAID"
[ -z "${{FAILS:-}}" ] || exit 7
while [ $# -gt 0 ]; do
    [ "$1" = --output ] && output=$2
    [ "$1" = --engine ] && engine=$2
    shift
done
papers=$output/hub-6.0-x86_64-0b5e55ed.container
echo '{{"components": []}}' > "$papers.sbom.cdx.json"
echo '{{"predicate": {{"buildDefinition": {{}}}}}}' > "$papers.provenance.json"
cat << END
{{"name": "hub", "engine": "${{engine:-buildah}}", "id": "{ID}",
 "sbom": "$papers.sbom.cdx.json", "provenance": "$papers.provenance.json"}}
END
"""
ENGINE = """#!/bin/sh
echo "${0##*/} $*" >> "$SAID"
"""
PYTHON = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'


@pytest.fixture
def ci(tmp_path, monkeypatch):
    """Return a function that runs a script with stand-ins for what it calls, and returns what these got."""
    monkeypatch.chdir(tmp_path)
    stand_ins = {"launcher": LAUNCHER, "curl": CURL, "python3": PYTHON, **dict.fromkeys(ENGINES, ENGINE)}
    return Scripts(CI, tmp_path, stand_ins, {"RECIPE": "hub", "TAG": "v7", "ARCH": "x86_64"})


class TestBuild:
    def test_a_container_is_laid_out_by_its_name_with_its_papers(self, ci):
        (built,) = ci("build")
        assert re.fullmatch(
            r"launcher build container hub --arch x86_64 --tag localhost/hub:v7"
            r" --output images/build\.\w{6}/made --json",
            built,
        )
        assert sorted(path.name for path in Path("images", LAID_OUT).iterdir()) == [
            "hub-6.0-x86_64-0b5e55ed.container.provenance.json",
            "hub-6.0-x86_64-0b5e55ed.container.sbom.cdx.json",
            "image.json",
        ]
        assert [path.name for path in Path("images").iterdir()] == ["hub"]

    def test_without_an_architecture_it_is_for_this_machine(self, ci):
        (built,) = ci("build", ARCH="")
        arch = os.uname().machine
        assert f" --arch {arch} " in built
        assert Path("images/hub/v7", arch, "image.json").is_file()

    def test_what_the_pins_name_is_fetched(self, ci):
        code_server, interpreter, built = ci(
            "build",
            CODE_SERVER_URL="https://example.org/code-server-4.139.1-linux-arm64.tar.gz",
            INTERPRETER_URL="https://example.org/cpython.tar.gz",
        )
        assert code_server == "curl https://example.org/code-server-4.139.1-linux-arm64.tar.gz"
        assert interpreter == "curl https://example.org/cpython.tar.gz"
        code_server = r"images/\S+/code-server-4\.139\.1-linux-arm64\.tar\.gz"
        assert re.search(rf" --code-server {code_server} --interpreter \S+/cpython\.tar\.gz ", built)

    def test_engine_base_and_format_can_be_chosen(self, ci):
        (built,) = ci("build", ENGINE="podman", BASE="example.org/base:1", FORMAT="sqsh")
        assert built.endswith(" --engine podman --base example.org/base:1 --format sqsh --json")

    def test_the_launcher_knows_what_it_is_told(self, ci):
        url = "https://example.org/code-server.tar.gz"
        *_, built = ci(
            "build", ENGINE="podman", BASE="example.org/base:1", FORMAT="sqsh", CODE_SERVER_URL=url
        )
        known = {option for parameter in container.params for option in parameter.opts}
        assert {word for word in built.split() if word.startswith("--")} <= known

    @pytest.mark.parametrize(
        ("engine", "saves"),
        [
            ("buildah", f"push --quiet {ID} oci-archive:"),
            ("podman", "save --quiet --format oci-archive --output "),
            ("docker", "save --output "),
        ],
    )
    def test_the_image_itself_is_kept_for_another_machine(self, ci, engine, saves):
        _, saved = ci("build", ENGINE=engine, ARCHIVE="yes")
        assert saved.startswith(f"{engine} {saves}")
        assert "/made/image.tar" in saved

    @pytest.mark.parametrize("name", ["RECIPE", "TAG"])
    @pytest.mark.parametrize("value", ["", "feature/x", "v 7", "$(id)", "-x"])
    def test_what_no_name_can_be_is_refused(self, ci, name, value):
        assert ci("build", 2, **{name: value}) == [
            f"{name} must be set to a name of letters, digits, '_', '.' and '-'."
        ]

    def test_what_failed_leaves_nothing_to_publish(self, ci):
        ci("build", 7, FAILS="yes")
        assert not list(Path("images").iterdir())

    def test_what_is_built_again_takes_the_place_of_the_first(self, ci):
        ci("build")
        Path("images", LAID_OUT, "image.tar").touch()
        ci("build")
        assert not Path("images", LAID_OUT, "image.tar").exists()


def component(name: str, version: str, *, base: bool = False) -> dict[str, object]:
    """Return a package as a bill of materials lists it."""
    said = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
    return {**said, "properties": [{"name": "firecrest-launcher:from", "value": "base"}]} if base else said


def bill(*components: object, name: str = "hub") -> Path:
    """Write a bill of materials; return its path."""
    path = Path("images", name, "v7/x86_64", f"{name}.sbom.cdx.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"bomFormat": "CycloneDX", "components": components}))
    return path


class TestScan:
    def test_what_is_new_enough_passes(self, ci):
        path = bill(component("tornado", "6.5.1"), component("jupyterhub", "6.0.0"))
        done = ci.run("scan")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{path}: 2 packages, and 0 of the base.\n"

    def test_a_package_below_its_floor_fails_with_the_reason(self, ci):
        bill(component("tornado", "6.4.1"), component("jupyterhub", "6.0.0"))
        bill(component("tornado", "6.5.1"), name="pytorch")
        done = ci.run("scan")
        assert done.returncode == 1
        assert re.search(r"\n  tornado 6\.4\.1 is older than 6\.5\.0: .+ \(CVE-.+\)\.\n", done.stdout)

    def test_an_old_package_of_the_base_is_only_a_warning(self, ci):
        bill(component("tornado", "6.5.1"), component("jupyterlab", "4.2.5", base=True))
        done = ci.run("scan")
        assert done.returncode == 0
        assert (
            ": 1 packages, and 1 of the base.\n  Warning: the base's jupyterlab 4.2.5 is older" in done.stdout
        )

    @pytest.mark.parametrize("first", [True, False])
    def test_the_same_package_in_the_base_hides_none_of_ours(self, ci, first):
        both = [component("tornado", "6.4.1"), component("tornado", "6.5.1", base=True)]
        bill(*(both if first else reversed(both)))
        assert ci.run("scan").returncode == 1

    def test_json_says_the_same(self, ci):
        path = bill(component("Tornado", "6.4.1"), component("jupyterlab", "4.2.5", base=True))
        done = ci.run("scan", "--json")
        said = json.loads(done.stdout)
        (found,) = said["bills"]
        assert done.returncode == 1
        assert (said["passed"], found["bill"], found["problem"], found["packages"]) == (
            False,
            str(path),
            "",
            1,
        )
        assert [each["name"] for each in found["below"]] == ["tornado"]
        assert set(found["below"][0]) == {"name", "version", "at_least", "because", "source"}
        assert [each["name"] for each in found["base"]["below"]] == ["jupyterlab"]

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"\xff\xfe{",
            b"[" * 100_000,
            b"null",
            b"[]",
            b'{"components": 7}',
            b'{"components": [7, null, {"purl": 7}]}',
            b'{"components": [{"purl": "pkg:deb/debian/x@1", "name": "x", "version": "1"}]}',
        ],
    )
    def test_a_bill_that_proves_nothing_fails_in_plain_words(self, ci, text):
        path = bill()
        path.write_bytes(text)
        done = ci.run("scan")
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout in (
            f"{path}: is no JSON.\n",
            f"{path}: names no package that the launcher installed.\n",
        )

    def test_a_package_below_its_floor_is_found_among_nonsense(self, ci):
        odd = {"purl": "pkg:pypi/x", "name": None, "version": {}, "properties": [7, {"name": []}]}
        bill(odd, {**component("tornado", "6.4.1"), "properties": {"firecrest-launcher:from": "base"}})
        assert ci.run("scan").returncode == 1

    def test_what_a_bill_says_reaches_the_terminal_as_text(self, ci):
        bill(component("tornado", "\x1b[2J6.4.1"))
        assert "\x1b" not in ci.run("scan").stdout

    def test_nothing_to_do_is_a_mistake(self, ci):
        assert ci("scan", 1) == ["There is no bill of materials (*.sbom.cdx.json) below images."]

    def test_a_python_without_the_launcher_says_what_to_install(self, ci):
        ci.add("python3", '#!/bin/sh\nexec /usr/bin/env -i "$REAL" -I -S "$@"\n')
        bill(component("tornado", "6.5.1"))
        (said,) = ci("scan", 1, REAL=sys.executable)
        assert said.endswith(" lacks launcher: pip install 'firecrest-launcher[build]'")


COSIGN = """#!/bin/sh
echo "cosign $*" >> "$SAID"
while [ $# -gt 1 ]; do
    [ "$1" = --predicate ] && cat "$2" >> "$SAID"
    shift
done
"""


def manifest(of: str = ID) -> bytes:
    """Return the manifest of an image."""
    return json.dumps({"schemaVersion": 2, "config": {"digest": f"sha256:{of}"}}).encode()


@pytest.fixture
def site(ci, tmp_path):
    """A registry, and `publish` told of it; the engines put what they push there."""
    token = tmp_path / "token"
    token.write_text(f"{PASSWORD}\n")
    with registry() as held:
        variables = {
            "REGISTRY": held.host,
            "NAMESPACE": "somebody/something",
            "REGISTRY_USER": USER,
            "REGISTRY_TOKEN": str(token),
        }

        def publish(status: int = 0, **others: str) -> list[str]:
            return ci("publish", status, **{**variables, **others})

        yield SimpleNamespace(
            registry=held,
            publish=publish,
            variables=variables,
            repository="somebody/something/hub",
            tag="v7-x86_64",
        )


@pytest.fixture
def pushes(ci, site):
    """Have what the engines push arrive in the registry: the image `ID`, unless `PUSHES` names another."""
    text = f"""#!{sys.executable}
import os, sys, urllib.request
name = os.path.basename(sys.argv[0])
with open(os.environ["SAID"], "a") as said:
    print(name, *sys.argv[1:], file=said)
if sys.argv[1] == "push":
    host, _, path = sys.argv[-1].removeprefix("docker://").partition("/")
    repository, _, tag = path.rpartition(":")
    body = {manifest("@")!r}.replace(b"@", os.environ.get("PUSHES", {ID!r}).encode())
    url = f"http://{{host}}/v2/{{repository}}/manifests/{{tag}}"
    urllib.request.urlopen(urllib.request.Request(url, body, method="PUT")).close()
"""
    for engine in ENGINES:
        ci.add(engine, text)
    # What a real engine does to log in is not this stand-in's business.
    site.registry.closed = False
    return site


class TestPublish:
    @pytest.mark.parametrize(
        ("engine", "commands"),
        [
            ("buildah", ["buildah push {id} docker://{name}"]),
            ("podman", ["podman push {id} docker://{name}"]),
            ("docker", ["docker tag {id} {name}", "docker push {name}"]),
        ],
    )
    def test_the_image_that_was_verified_is_pushed_under_its_tag(self, ci, pushes, engine, commands):
        ci("build", ENGINE=engine)
        name = f"{pushes.registry.host}/{pushes.repository}:{pushes.tag}"
        assert pushes.publish() == [each.format(id=ID, name=name) for each in commands]

    def test_it_says_the_digest_that_the_registry_has(self, ci, pushes):
        ci("build")
        done = ci.run("publish", **pushes.variables)
        held = pushes.registry.manifests[pushes.repository, pushes.tag]
        digest = pushes.registry.hold(pushes.repository, "another", held)
        name = f"{pushes.registry.host}/{pushes.repository}:{pushes.tag}"
        assert done.stdout == f"{name}@{digest}\n"
        said = json.loads(Path("images", LAID_OUT, "image.json").read_text())
        assert (said["image"], said["digest"], said["id"]) == (name, digest, ID)

    @pytest.mark.parametrize(
        ("engine", "loads"),
        [("buildah", "pull --quiet oci-archive:"), ("podman", "load --input "), ("docker", "load --input ")],
    )
    def test_an_image_that_was_built_elsewhere_is_loaded_first(self, ci, pushes, engine, loads):
        ci("build", ENGINE=engine)
        Path("images", LAID_OUT, "image.tar").touch()
        assert pushes.publish()[0] == f"{engine} {loads}images/{LAID_OUT}/image.tar"

    def test_each_architecture_has_a_tag_of_its_own(self, ci, pushes):
        ci("build")
        ci("build", ARCH="aarch64")
        pushes.publish()
        tags = {tag for _, tag in pushes.registry.manifests if not tag.startswith("sha256:")}
        assert tags == {"v7-x86_64", "v7-aarch64"}

    def test_what_is_published_already_is_not_pushed_again(self, ci, pushes):
        ci("build")
        assert pushes.publish()
        assert pushes.publish() == []

    def test_a_tag_of_another_image_is_refused_before_anything_is_pushed(self, ci, pushes):
        ci("build")
        ci("build", ARCH="aarch64")
        digest = pushes.registry.hold(pushes.repository, pushes.tag, manifest("ab" * 32))
        name = f"{pushes.registry.host}/{pushes.repository}:{pushes.tag}"
        assert pushes.publish(1) == [
            f"{name} is another image, {digest}.",
            "What is published stays what it is: give the new image a new tag.",
        ]
        assert ci.told() == []

    def test_a_registry_that_has_something_else_afterwards_is_an_error(self, ci, pushes):
        ci("build")
        assert " is another image, " in pushes.publish(1, PUSHES="cd" * 32)[0]

    def test_an_image_that_never_arrived_is_an_error(self, ci, site):
        ci("build")
        (said,) = site.publish(1)
        assert said.endswith(f":{site.tag} was pushed, and {site.registry.host} does not have it.")

    def test_an_engine_that_fails_is_named(self, ci, site):
        ci.add("buildah", "#!/bin/sh\nexit 125\n")
        ci("build")
        assert site.publish(1) == ["buildah push failed: it ended with 125."]

    def test_it_logs_in_with_the_right_to_push(self, ci, site):
        ci("build")
        site.publish(1)
        assert set(site.registry.asked) == {f"repository:{site.repository}:pull,push"}

    def test_engines_and_cosign_log_in_by_a_file_that_nobody_else_reads(self, ci, site, tmp_path):
        kept = tmp_path / "kept"
        ci.add(
            "buildah",
            f'#!/bin/sh\nstat -c %a "$REGISTRY_AUTH_FILE" "$DOCKER_CONFIG" > {kept}\n'
            f'cat "$DOCKER_CONFIG/config.json" >> {kept}\necho "$DOCKER_CONFIG" >> "$SAID"\n',
        )
        ci("build")
        site.publish(1)
        mode, above, auths = kept.read_text().splitlines()
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        assert (mode, above) == ("600", "700")
        assert json.loads(auths) == {"auths": {site.registry.host: {"auth": auth}}}
        assert not Path(ci.told()[0]).exists()

    def test_the_token_is_in_no_argument_and_no_message(self, ci, pushes):
        ci("build")
        ci.add("cosign", COSIGN)
        done = ci.run("publish", **pushes.variables, SIGN="keyless")
        assert done.returncode == 0
        assert PASSWORD not in "".join([*ci.told(), done.stdout, done.stderr])

    @pytest.mark.parametrize("status", [401, 403, 500, 503])
    def test_a_registry_that_does_not_say_gets_nothing(self, ci, pushes, status):
        ci("build")
        pushes.registry.refuses = status
        (said,) = pushes.publish(1)
        name = f"{pushes.registry.host}/{pushes.repository}:{pushes.tag}"
        assert said.startswith(
            f"{pushes.registry.host} does not say whether it has {name}: HTTP Error {status}"
        )
        assert ci.told() == []

    def test_a_wrong_token_is_a_plain_message(self, ci, site, tmp_path):
        ci("build")
        (tmp_path / "token").write_text("another")
        (said,) = site.publish(1)
        assert said.endswith(": HTTP Error 401: Unauthorized.")

    def test_no_registry_is_a_plain_message(self, ci, site, unused_tcp_port):
        ci("build")
        (said,) = site.publish(1, REGISTRY=f"127.0.0.1:{unused_tcp_port}")
        assert said.endswith(": [Errno 111] Connection refused.")

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{}", '{"engine": "rm", "id": "' + ID + '"}', '{"engine": "podman", "id": "x; id"}'],
    )
    def test_what_no_build_said_is_refused(self, ci, site, text):
        ci("build")
        path = Path("images", LAID_OUT, "image.json")
        path.write_text(text)
        (said,) = site.publish(1)
        assert said.startswith(f"{path} ")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("REGISTRY", ""),
            ("REGISTRY", "https://example.org"),
            ("NAMESPACE", ""),
            ("NAMESPACE", "Somebody/Something"),
            ("NAMESPACE", "somebody//something"),
            ("NAMESPACE", "../something"),
            ("REGISTRY_USER", ""),
            ("REGISTRY_TOKEN", "/nowhere"),
        ],
    )
    def test_a_wrong_environment_is_told(self, ci, site, name, value):
        ci("build")
        assert name in site.publish(2, **{name: value})[-1]

    def test_nothing_to_do_is_a_mistake(self, site):
        assert site.publish(1) == ["There is no image below images."]


class TestSign:
    def test_nothing_is_signed_unless_asked_for(self, ci, pushes):
        ci("build")
        ci.add("cosign", COSIGN)
        assert not [each for each in pushes.publish() if each.startswith("cosign")]

    @pytest.mark.parametrize(
        ("sign", "key"), [("keyless", ""), ("env://COSIGN_PRIVATE_KEY", " --key env://COSIGN_PRIVATE_KEY")]
    )
    def test_it_is_signed_by_its_digest_with_its_papers(self, ci, pushes, sign, key):
        ci("build")
        ci.add("cosign", COSIGN)
        _, signed, sbom, bill_, provenance, predicate = pushes.publish(SIGN=sign)
        digest = pushes.registry.hold(pushes.repository, "another", manifest())
        name = f"{pushes.registry.host}/{pushes.repository}@{digest}"
        assert signed == f"cosign sign --yes{key} {name}"
        assert re.fullmatch(rf"cosign attest --yes{key} --type cyclonedx --predicate \S+ {name}", sbom)
        assert json.loads(bill_) == {"components": []}
        assert re.fullmatch(
            rf"cosign attest --yes{key} --type slsaprovenance1 --predicate \S+ {name}", provenance
        )
        # Not the statement: cosign makes its own about the image.
        assert json.loads(predicate) == {"buildDefinition": {}}

    def test_what_was_pushed_and_not_signed_can_be_signed_later(self, ci, pushes):
        ci("build")
        pushes.publish()
        ci.add("cosign", COSIGN)
        assert pushes.publish(SIGN="keyless")[0].startswith("cosign sign ")

    @pytest.mark.parametrize("paper", ["sbom.cdx", "provenance"])
    def test_without_papers_nothing_is_pushed(self, ci, pushes, paper):
        ci("build")
        ci.add("cosign", COSIGN)
        Path("images", LAID_OUT, f"hub-6.0-x86_64-0b5e55ed.container.{paper}.json").unlink()
        assert pushes.publish(1, SIGN="keyless") == [
            f"images/{LAID_OUT} holds no SBOM or no provenance, which SIGN asks for."
        ]
        assert ci.told() == []

    def test_without_cosign_nothing_is_pushed(self, ci, pushes):
        ci("build")
        assert pushes.publish(2, SIGN="keyless")[-1].endswith("SIGN is set, and cosign is not installed.")

    def test_a_key_itself_is_refused_and_not_shown(self, ci, pushes):
        ci("build")
        ci.add("cosign", COSIGN)
        said = pushes.publish(2, SIGN="-----BEGIN PRIVATE KEY-----\nMC4CAQ\n")
        assert said[-1].endswith("SIGN is to name a key, not to be one.")
        assert "MC4CAQ" not in "\n".join(said)
