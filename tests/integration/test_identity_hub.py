"""A real JupyterHub, and the real FirecREST client, get their tokens from the sandbox's identity provider."""

import asyncio
import json
import os
import re
import secrets
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import firecrest
import httpx
import jwt
import pytest

from launcher.sandbox.identity import AUDIENCE, Client, IdentityProvider

ALICE = {"username": "alice", "password": "wonderland"}

CONFIG = """
import os

from jupyterhub.proxy import Proxy

ISSUER, HUB = os.environ["ISSUER"], os.environ["HUB"]


class NoProxy(Proxy):
    should_start = False

    async def get_all_routes(self):
        return {}

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.bind_url = os.environ["UNUSED"]
c.JupyterHub.hub_bind_url = HUB
c.JupyterHub.services = [{"name": "test", "api_token": os.environ["TEST_TOKEN"]}]
c.JupyterHub.load_roles = [{
    "name": "test", "services": ["test"], "scopes": ["admin:auth_state", "admin:users", "admin:servers"]
}]

c.JupyterHub.authenticator_class = "generic-oauth"
c.Authenticator.enable_auth_state = True
c.Authenticator.auto_login = True
c.Authenticator.auth_refresh_age = 1
c.GenericOAuthenticator.login_service = "the sandbox"
c.GenericOAuthenticator.client_id = "hub"
c.GenericOAuthenticator.oauth_callback_url = f"{HUB}/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = f"{ISSUER}/authorize"
c.GenericOAuthenticator.token_url = f"{ISSUER}/token"
c.GenericOAuthenticator.userdata_url = f"{ISSUER}/userinfo"
c.GenericOAuthenticator.logout_redirect_url = f"{ISSUER}/logout?post_logout_redirect_uri={HUB}/hub/login"
c.GenericOAuthenticator.scope = ["openid", "profile"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.allow_all = True
"""

RENEWING = """
import asyncio
import json
import time
from collections import defaultdict
from pathlib import Path

import jwt
from jupyterhub.spawner import Spawner
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError

locks = defaultdict(asyncio.Lock)


async def fresh_auth_state(user, seconds=60):
    async with locks[user.name]:
        state = await user.get_auth_state()
        if not state:
            return None
        token = jwt.decode(state["access_token"], options={"verify_signature": False})
        if token["exp"] - time.time() >= seconds:
            return state
        oauth = user.authenticator
        try:
            answer = await oauth.get_token_info(
                None, oauth.build_refresh_token_request_params(state["refresh_token"])
            )
        except HTTPClientError as error:
            if error.code == 400:
                return None
            raise
        state = oauth.build_auth_state_dict(answer, state[oauth.user_auth_state_key])
        await user.save_auth_state(state)
        return state


async def refresh_user(authenticator, user, auth_state):
    return await fresh_auth_state(user) is not None


class TokenSpawner(Spawner):
    async def start(self):
        state = await fresh_auth_state(self.user)
        Path("token.json").write_text(json.dumps(state["access_token"]))
        raise HTTPError(409, "this spawner only looks at its token")

    async def poll(self):
        return 0

    async def stop(self, now=False):
        pass


c.JupyterHub.spawner_class = TokenSpawner
c.GenericOAuthenticator.refresh_user_hook = refresh_user
"""


class Clock:
    """The provider's clock, which a test can put forward."""

    ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


@dataclass
class Site:
    """A provider in this process, and a hub that uses it in another."""

    provider: IdentityProvider
    clock: Clock
    hub: str
    directory: Path
    test_token: str
    secret: str

    @asynccontextmanager
    async def browser(self):
        # Like a browser, it has one cookie jar for all ports of 127.0.0.1.
        async with httpx.AsyncClient(base_url=self.hub, follow_redirects=True, timeout=60) as client:
            yield client

    async def api(self, method, path):
        async with httpx.AsyncClient(
            headers={"Authorization": f"token {self.test_token}"}, timeout=60
        ) as client:
            return await client.request(method, f"{self.hub}/hub/api{path}")

    async def auth_state(self):
        return (await self.api("GET", "/users/alice")).json()["auth_state"]

    def claims(self, token):
        public = jwt.PyJWKSet.from_dict(self.provider.jwks)[jwt.get_unverified_header(token)["kid"]]
        # The provider's clock may be ahead of this one.
        leeway = {"verify_exp": False, "verify_iat": False}
        return jwt.decode(token, public, audience=AUDIENCE, issuer=self.provider.issuer, options=leeway)


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def site_of(directory, config, token_lifetime):
    hub, secret, clock, test_token = free_address(), secrets.token_urlsafe(32), Clock(), secrets.token_hex(16)
    provider = IdentityProvider(
        passwords={ALICE["username"]: ALICE["password"]},
        clients=[
            Client(
                "hub", secret, (f"{hub}/hub/oauth_callback",), post_logout_redirect_uris=(f"{hub}/hub/login",)
            )
        ],
        token_lifetime=token_lifetime,
        clock=clock,
    )
    await provider.start()
    (directory / "config.py").write_text(config)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "ISSUER": provider.issuer,
        "HUB": hub,
        "UNUSED": free_address(),
        "TEST_TOKEN": test_token,
        "OAUTH_CLIENT_SECRET": secret,
        "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
    }
    with (directory / "hub.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jupyterhub", "-f", "config.py"),
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        await answering(f"{hub}/hub/health", process)
        yield Site(provider, clock, hub, directory, test_token, secret)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await provider.stop()


async def answering(url, process):
    async with httpx.AsyncClient() as client:
        while process.returncode is None:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    pytest.fail("the hub ended by itself")


async def log_in(browser, **account):
    page = await browser.get("/hub/home")
    assert "Sandbox identity provider" in page.text
    form = {"_xsrf": re.search(r'name="_xsrf" value="([^"]+)"', page.text)[1], **ALICE, **account}
    return await browser.post(page.url, data=form)


@pytest.fixture
async def site(tmp_path):
    async with site_of(tmp_path, CONFIG, token_lifetime=300.0) as site:
        yield site


async def test_a_person_logs_in_to_the_hub_and_out_of_both(site):
    async with site.browser() as browser:
        rejected = await log_in(browser, password="looking-glass")
        assert rejected.status_code == 403
        form = {"_xsrf": re.search(r'name="_xsrf" value="([^"]+)"', rejected.text)[1], **ALICE}
        home = await browser.post(rejected.url, data=form)
        assert (home.status_code, home.url.path) == (200, "/hub/home")
        assert "alice" in home.text
        user = await browser.get(
            "/hub/api/user", headers={"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/")}
        )
        assert user.json()["name"] == "alice"

        state = await site.auth_state()
        assert site.claims(state["access_token"])["preferred_username"] == "alice"
        assert state["refresh_token"]
        assert state["oauth_user"]["preferred_username"] == "alice"

        left = await browser.get("/hub/logout")
        assert "Sandbox identity provider" in left.text
        assert "Sandbox identity provider" in (await browser.get("/hub/home")).text

    log = (site.directory / "hub.log").read_text()
    assert "User logged in: alice" in log
    for secret in (state["access_token"], state["refresh_token"], site.secret, ALICE["password"]):
        assert secret not in log


async def test_the_hub_left_to_itself_renews_a_token_once_it_has_expired(site):
    async with site.browser() as browser:
        await log_in(browser)
        before = await site.auth_state()
        site.clock.ahead = 301.0
        while site.provider.requests["/token"] < 2:
            assert (await browser.get("/hub/home")).url.path == "/hub/home"
            await asyncio.sleep(0.2)
        after = await site.auth_state()
        assert site.claims(after["access_token"])["iat"] >= site.claims(before["access_token"])["exp"]
        assert after["refresh_token"] != before["refresh_token"]
        assert "alice" in (await browser.get("/hub/home")).text


async def test_a_hook_renews_a_token_before_firecrest_would_refuse_it_however_many_ask_at_once(tmp_path):
    # With 60 s wanted, a token of 61 s is too old after one second.
    async with site_of(tmp_path, CONFIG + RENEWING, token_lifetime=61.0) as site, site.browser() as browser:
        await log_in(browser)
        before = await site.auth_state()
        await asyncio.sleep(2)
        pages = await asyncio.gather(*(browser.get("/hub/home") for _ in range(6)))
        assert {(page.status_code, page.url.path) for page in pages} == {(200, "/hub/home")}
        assert (await site.auth_state())["refresh_token"] != before["refresh_token"]

        await asyncio.sleep(2)
        assert (await site.api("POST", "/users/alice/server")).status_code == 409
        token = json.loads((tmp_path / "token.json").read_text())
        assert token == (await site.auth_state())["access_token"]
        assert site.claims(token)["iat"] > site.claims(before["access_token"])["iat"]
        assert (await browser.get("/hub/home")).url.path == "/hub/home"


async def test_the_firecrest_client_gets_its_token():
    provider = IdentityProvider(
        passwords={}, clients=[Client("robot", "s3cret", grants=frozenset({"client_credentials"}))]
    )
    await provider.start()
    try:
        for method in ("client_secret_post", "client_secret_basic"):
            right, wrong = (
                firecrest.ClientCredentialsAuth(
                    "robot", secret, f"{provider.issuer}/token", client_auth_method=method
                )
                for secret in ("s3cret", "guess")
            )
            token = await asyncio.to_thread(right.get_access_token)
            assert await asyncio.to_thread(right.get_access_token) == token
            claims = jwt.decode(token, options={"verify_signature": False})
            assert claims["preferred_username"] == "service-account-robot"
            with pytest.raises(firecrest.ClientsCredentialsException):
                await asyncio.to_thread(wrong.get_access_token)
        assert provider.requests["/token"] == 4
    finally:
        await provider.stop()
