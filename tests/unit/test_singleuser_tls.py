"""Whom a job trusts; and the files that a server proves itself with, which no process but it has."""

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from certipy import Certipy
from claims import ANSWER
from support import missing, program

from launcher.errors import HubUnreachable
from launcher.protocol import Tls, encode
from launcher.singleuser import tls
from launcher.singleuser.tls import Credentials, machine_authorities, sought_in_vain, trusting

# JupyterLab's place is taken by a module that asks the hub, as the server's own requests do, and tells what
# the server and its user's programs have.
UP_TO_JUPYTERLAB = """
import json, os, sys, types, urllib.request
def serve(session):
    hub = os.environ["HUB"]
    with urllib.request.urlopen(urllib.request.Request(hub, b"{}")) as answer:
        print(json.dumps([answer.status, dict(os.environ), session.environments.user]))
module = types.ModuleType("launcher.singleuser.server")
module.serve = serve
sys.modules["launcher.singleuser.server"] = module
from launcher.singleuser import ahead, main
ahead.MODULES = ()
sys.exit(main([]))
"""

# A machine that has authorities nowhere but where SLES has them, or nowhere at all.
FOREIGN = """
bundle=$1; shift
for directory in /etc/ssl /usr/lib/ssl /etc/pki /var/lib/ca-certificates "$(dirname "$1")" "$2"; do
    [ ! -d "$directory" ] || mount -t tmpfs none "$directory"
done
shift 2
[ -z "$bundle" ] || cp "$bundle" /etc/ssl/ca-bundle.pem
exec "$@"
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    store = Certipy(store_dir=str(tmp_path_factory.mktemp("store")))
    store.create_ca("ca")
    return store


@pytest.fixture(scope="module")
def given(authority):
    pair = authority.create_signed_pair("node", "ca", alt_names=["DNS:localhost"])["files"]
    trusted = authority.store.get_record("ca")["files"]["cert"]
    return Tls(*(Path(path).read_text() for path in (pair["key"], pair["cert"], trusted)))


class TestCredentials:
    def test_jupyterhub_finds_what_the_hub_gave(self, given):
        environment = Credentials(given).environment
        assert {name: Path(path).read_text() for name, path in environment.items()} == {
            "JUPYTERHUB_SSL_KEYFILE": given.key,
            "JUPYTERHUB_SSL_CERTFILE": given.certificate,
            "JUPYTERHUB_SSL_CLIENT_CA": given.authority,
        }

    def test_the_files_may_be_read_again_and_again(self, given):
        (path, *_) = Credentials(given).environment.values()
        assert Path(path).read_text() == Path(path).read_text() == given.key

    def test_no_directory_shows_them_and_only_their_owner_may_read_them(self, given):
        for path in Credentials(given).environment.values():
            status = Path(path).stat()
            assert status.st_nlink == 0
            assert status.st_mode & 0o077 == 0

    def test_what_the_server_starts_does_not_have_them(self, given):
        paths = [*Credentials(given).environment.values()]
        look = "import json, os, sys; print(json.dumps([os.path.exists(path) for path in sys.argv[1:]]))"
        done = subprocess.run([sys.executable, "-c", look, *paths], capture_output=True, check=True)
        assert json.loads(done.stdout) == [False] * 3

    def test_the_hub_is_asked_with_the_certificate_and_no_authority_of_the_system_is_trusted(self, given):
        context = Credentials(given).context()
        assert [each["subject"][0][0][1] for each in context.get_ca_certs()] == ["ca"]
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


class TestTrusting:
    def test_without_a_file_the_system_is_trusted(self):
        assert trusting("") is None

    def test_a_file_is_all_that_is_trusted(self, authority):
        context = trusting(authority.store.get_record("ca")["files"]["cert"])
        assert [each["subject"][0][0][1] for each in context.get_ca_certs()] == ["ca"]

    @pytest.mark.parametrize("content", [None, "", "no certificate"])
    def test_a_file_that_is_none_is_told_with_its_name(self, tmp_path, content):
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(HubUnreachable) as error:
            trusting(str(path))
        assert error.value.what.startswith(f"{path}, the file of certificates")
        assert "hub_ca of the cluster file" in error.value.todo


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A Python that looks for authorities where nothing is; the machine may have them in three places."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    usual = ssl.get_default_verify_paths()._replace(
        openssl_cafile=f"{tmp_path}/usual/cert.pem", openssl_capath=f"{tmp_path}/usual/certs"
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: usual)
    monkeypatch.setattr(tls, "_BUNDLES", tuple(f"{tmp_path}/{name}.pem" for name in "abc"))
    (tmp_path / "usual/certs").mkdir(parents=True)
    return tmp_path


class TestTheMachinesAuthorities:
    def test_the_first_bundle_that_there_is_is_trusted(self, machine):
        for name in "cb":
            (machine / f"{name}.pem").touch()
            assert machine_authorities({}) == {"SSL_CERT_FILE": f"{machine}/{name}.pem"}
            assert machine_authorities({}, "/dev/null") == machine_authorities({})

    @pytest.mark.parametrize("name", ["cert.pem", "certs/0179095f.0", "certs/0179095f.12"])
    def test_a_python_that_finds_its_own_is_left_alone(self, machine, name):
        (machine / "a.pem").touch()
        (machine / "usual" / name).touch()
        assert machine_authorities({}) == {}
        assert sought_in_vain() == []

    @pytest.mark.parametrize("name", ["certs/ca-bundle.crt", "certs/0179095f.r0", "certs/README.1"])
    def test_files_in_a_directory_by_other_names_than_openssl_looks_for_are_none(self, machine, name):
        (machine / "a.pem").touch()
        (machine / "usual" / name).touch()
        assert machine_authorities({}) == {"SSL_CERT_FILE": f"{machine}/a.pem"}

    @pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
    def test_what_the_job_says_itself_counts(self, machine, monkeypatch, name):
        (machine / "a.pem").touch()
        assert machine_authorities({name: "/site"}) == {}
        monkeypatch.setenv(name, "/site")
        assert sought_in_vain() == []

    def test_a_link_that_leads_nowhere_is_none(self, machine):
        (machine / "a.pem").symlink_to("none")
        assert machine_authorities({}) == {}

    def test_what_the_hub_is_asked_with_stands_in_for_those_of_a_machine_without_any(self, machine):
        assert machine_authorities({}, "/dev/null") == {"SSL_CERT_FILE": "/dev/null"}

    def test_where_there_are_none_it_is_known_where_they_were_sought(self, machine):
        (machine / "usual/certs").rmdir()
        assert machine_authorities({}) == {}
        assert sought_in_vain() == [f"{machine}/{name}.pem" for name in ("usual/cert", "a", "b", "c")]


class TestAnotherSystemsPython:
    """Its OpenSSL looks for certificates where this machine, a mount namespace of its own, has none."""

    @pytest.fixture
    def run(self, hub, authority, tmp_path):
        unshare = [program("unshare"), "--mount", "--map-root-user"]
        if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
            missing("no mount namespace can be made", "sysctl user.max_user_namespaces")
        files = authority.create_signed_pair("hub", "ca", alt_names=["IP:127.0.0.1"], overwrite=True)["files"]
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files["cert"], files["key"])
        hub._server.socket = context.wrap_socket(hub._server.socket, server_side=True)
        hub._server.handle_error = lambda *_: None
        hub.answers = [(200, encode(ANSWER)), (200, b"{}")]
        url = hub.url.replace("http:", "https:")
        usual = ssl.get_default_verify_paths()

        def singleuser(bundle, **environment):
            places = [usual.openssl_cafile, usual.openssl_capath]
            python = [sys.executable, "-c", UP_TO_JUPYTERLAB]
            return subprocess.run(
                [*unshare, "sh", "-ec", FOREIGN, "sh", bundle, *places, *python],
                env={
                    "HOME": str(tmp_path),
                    "PATH": os.environ["PATH"],
                    "LAUNCHER_TICKET": "0" * 64,
                    "LAUNCHER_HUB_URL": url,
                    "LAUNCHER_CLAIM_TIMEOUT": "0",
                    "HUB": url,
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        return singleuser

    @pytest.fixture
    def ca(self, authority):
        return authority.store.get_record("ca")["files"]["cert"]

    def test_claim_and_server_trust_the_machines_and_the_users_programs_hear_nothing_of_it(self, run, ca):
        done = run(ca)
        assert (done.returncode, done.stderr) == (0, "")
        status, server, user = json.loads(done.stdout)
        assert status == 200
        assert server["SSL_CERT_FILE"] == "/etc/ssl/ca-bundle.pem"
        assert "SSL_CERT_FILE" not in user

    def test_where_the_machine_has_none_hub_ca_is_trusted_by_the_server_too(self, run, ca):
        done = run("", LAUNCHER_HUB_CA=ca)
        assert (done.returncode, done.stderr) == (0, "")
        status, server, user = json.loads(done.stdout)
        assert (status, server["SSL_CERT_FILE"], "SSL_CERT_FILE" in user) == (200, ca, False)

    def test_what_the_job_says_itself_is_for_all(self, run, ca):
        done = run("", SSL_CERT_FILE=ca)
        assert (done.returncode, done.stderr) == (0, "")
        _, server, user = json.loads(done.stdout)
        assert server["SSL_CERT_FILE"] == user["SSL_CERT_FILE"] == ca

    def test_where_there_are_none_at_all_it_is_told_with_what_to_set(self, run):
        done = run("")
        assert done.returncode == 20
        assert "This machine has no CA certificates where they were sought: " in done.stderr
        assert "/etc/pki/tls/certs/ca-bundle.crt" in done.stderr
        assert "hub_ca of the cluster file must name the certificates" in done.stderr
