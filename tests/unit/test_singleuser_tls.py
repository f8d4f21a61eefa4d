"""The files that a server proves itself with have no name, and no process but it has them."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from certipy import Certipy

from launcher.errors import HubUnreachable
from launcher.protocol import Tls
from launcher.singleuser.tls import Credentials, trusting


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
