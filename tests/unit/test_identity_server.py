"""The sandbox's identity provider as a browser and a client meet it."""

import asyncio
import base64
import hashlib
import html
import logging
import re
import socket

import httpx
import jwt
import pytest

from launcher.errors import SandboxError
from launcher.sandbox.identity import AUDIENCE, Client, IdentityProvider, handlers

HUB = "http://127.0.0.1:2"
CALLBACK = f"{HUB}/hub/oauth_callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
QUERY = {
    "client_id": "hub",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "scope": "openid",
    "state": "a=b&c d",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
ALICE = {"username": "alice", "password": " wonder land"}


@pytest.fixture
async def provider():
    provider = IdentityProvider(
        passwords={"alice": " wonder land", "bob": "builder"},
        clients=[
            Client("hub", "hub-secret", (CALLBACK,), post_logout_redirect_uris=(f"{HUB}/hub/login",)),
            Client("robot", "robot-secret", grants=frozenset({"client_credentials"})),
        ],
    )
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
async def browser(provider):
    async with httpx.AsyncClient(base_url=provider.issuer) as client:
        yield client


def form_of(page):
    token = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
    return {"_xsrf": token[1]}


async def log_in(browser, account=ALICE, **changes):
    query = {**QUERY, **changes}
    page = await browser.get("/authorize", params=query)
    return await browser.post("/authorize", params=query, data={**form_of(page), **account})


def answer_of(response):
    assert response.status_code == 303
    location = httpx.URL(response.headers["location"])
    assert str(location.copy_with(query=None)) == CALLBACK
    return dict(location.params)


async def redeem(browser, answer):
    form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": CALLBACK}
    return await browser.post("/token", data={**form, "code_verifier": VERIFIER}, auth=("hub", "hub-secret"))


async def test_discovery_names_every_endpoint_and_what_it_can_do(provider, browser):
    metadata = (await browser.get("/.well-known/openid-configuration")).json()
    assert metadata["issuer"] == provider.issuer
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    for endpoint in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint"):
        assert (await browser.get(metadata[endpoint])).status_code in {200, 400, 401, 405}
    assert (await browser.get(metadata["jwks_uri"])).json() == provider.jwks


async def test_the_published_keys_hold_nothing_private(provider):
    assert [set(key) for key in provider.jwks["keys"]] == [{"kty", "n", "e", "kid", "use", "alg"}]


async def test_a_person_logs_in_and_the_client_gets_tokens(provider, browser):
    answer = answer_of(await log_in(browser))
    assert answer["state"] == QUERY["state"]
    response = await redeem(browser, answer)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    token = response.json()["access_token"]
    public = jwt.PyJWKSet.from_dict(provider.jwks)[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, public, audience=AUDIENCE, issuer=provider.issuer)["sub"] == "alice"
    for method in ("GET", "POST"):
        user = await browser.request(method, "/userinfo", headers={"Authorization": f"bearer {token}"})
        assert user.json() == {"sub": "alice", "preferred_username": "alice"}


async def test_the_log_in_page_can_be_used_by_everyone_and_runs_nothing(browser):
    page = await browser.get("/authorize", params=QUERY)
    assert page.status_code == 200
    assert "Sandbox identity provider" in page.text
    for field in ("username", "password"):
        assert f'<label for="{field}">' in page.text
        assert f'id="{field}" name="{field}"' in page.text
    assert '<button type="submit">' in page.text
    assert 'name="viewport"' in page.text
    assert "prefers-color-scheme: dark" in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'nonce-")
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("name", ["alice", "nobody", '"><script>alert(1)</script>'])
async def test_a_wrong_password_is_said_and_the_name_is_kept(browser, name):
    page = await log_in(browser, {"username": name, "password": "hunter2"})
    assert page.status_code == 403
    assert 'role="alert"' in page.text
    assert "Wrong user name or password." in page.text
    assert f'value="{html.escape(name)}"' in page.text.replace("&#x27;", "'")
    assert "<script>" not in page.text
    assert "hunter2" not in page.text
    again = await browser.post("/authorize", params=QUERY, data={**form_of(page), **ALICE})
    assert "code" in answer_of(again)


async def test_a_form_that_another_site_sends_logs_nobody_in(browser):
    page = await browser.get("/authorize", params=QUERY)
    token = form_of(page)
    browser.cookies.clear()
    for forged in ({}, {"_xsrf": "guess"}, token):
        answer = await browser.post("/authorize", params=QUERY, data={**ALICE, **forged})
        assert answer.status_code == 403
        assert "This page had expired." in answer.text
        assert 'value="alice"' in answer.text
        browser.cookies.clear()


async def test_a_password_in_the_address_is_not_looked_at(browser):
    page = await browser.get("/authorize", params=QUERY)
    answer = await browser.post("/authorize", params={**QUERY, **ALICE}, data=form_of(page))
    assert answer.status_code == 403


async def test_a_browser_that_is_logged_in_is_not_asked_again(browser):
    await log_in(browser)
    assert "code" in answer_of(await browser.get("/authorize", params=QUERY))
    assert "code" in answer_of(await browser.get("/authorize", params={**QUERY, "prompt": "none"}))


async def test_the_client_can_have_the_password_asked_again(browser):
    await log_in(browser)
    page = await browser.get("/authorize", params={**QUERY, "prompt": "login"})
    assert page.status_code == 200
    assert "code" in answer_of(await log_in(browser, prompt="login"))


async def test_the_client_can_have_nobody_asked(browser):
    answer = answer_of(await browser.get("/authorize", params={**QUERY, "prompt": "none"}))
    assert (answer["error"], answer["state"]) == ("login_required", QUERY["state"])


async def test_another_person_can_take_over_the_browser(browser):
    await log_in(browser)
    old = {cookie.name: cookie.value for cookie in browser.cookies.jar if cookie.path == "/authorize"}
    await log_in(browser, {"username": "bob", "password": "builder"}, prompt="login")
    async with httpx.AsyncClient(base_url=browser.base_url, cookies=old) as before:
        assert (await before.get("/authorize", params=QUERY)).status_code == 200


async def test_cookies_go_to_no_script_to_no_other_site_and_to_no_other_port(provider, browser):
    page = await browser.get("/authorize", params=QUERY)
    answer = await browser.post("/authorize", params=QUERY, data={**form_of(page), **ALICE})
    cookies = page.headers.get_list("set-cookie") + answer.headers.get_list("set-cookie")
    assert len(cookies) == 3
    port = provider.issuer.rpartition(":")[2]
    for cookie in cookies:
        assert cookie.startswith(f"sandbox-identity-{port}")
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        # A browser sends a cookie to all ports of a host, but only under its path.
        assert re.search(r"Path=/(authorize|logout)(;|$)", cookie)


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x=1"},
        {"redirect_uri": "http://evil.example/"},
        {"redirect_uri": "//evil.example"},
        {"redirect_uri": ""},
        {"client_id": "nobody"},
        {"client_id": "robot"},
        {"client_id": ["hub", "hub"]},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_is_redirected_to_an_address_that_is_not_registered(browser, method, change):
    await log_in(browser)
    page = await browser.request(method, "/authorize", params={**QUERY, **change})
    assert page.status_code == 400
    assert "location" not in page.headers
    assert "This log-in can&#x27;t go on" in page.text


async def test_other_mistakes_go_back_to_the_client_with_its_state(browser):
    answer = answer_of(await browser.get("/authorize", params={**QUERY, "code_challenge_method": "plain"}))
    assert (answer["error"], answer["state"]) == ("invalid_request", QUERY["state"])


@pytest.mark.parametrize(
    ("request_body", "status", "error"),
    [
        ({"data": {"grant_type": "client_credentials"}}, 401, "invalid_client"),
        ({"data": {"grant_type": "refresh_token"}, "auth": ("hub", "hub-secret")}, 400, "invalid_grant"),
        ({"json": {"grant_type": "client_credentials"}}, 400, "invalid_request"),
        ({"data": {"grant_type": ["refresh_token"] * 2}}, 400, "invalid_request"),
        ({"data": {str(n): "x" for n in range(99)}}, 400, "invalid_request"),
    ],
)
async def test_the_token_endpoint_refuses_in_json(browser, request_body, status, error):
    response = await browser.post("/token", **request_body)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.headers.get("www-authenticate", "").startswith("Basic") is (status == 401)
    assert response.headers["cache-control"] == "no-store"


async def test_userinfo_asks_for_a_token(browser):
    response = await browser.get("/userinfo")
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_token"
    assert response.headers["www-authenticate"].startswith("Bearer ")


async def test_logging_out_ends_the_session_and_goes_to_registered_addresses_only(browser):
    await log_in(browser)
    assert (await browser.get("/logout")).status_code == 200
    assert (await browser.get("/authorize", params=QUERY)).status_code == 200

    there = {"post_logout_redirect_uri": f"{HUB}/hub/login", "state": "s"}
    gone = await browser.get("/logout", params=there)
    assert (gone.status_code, gone.headers["location"]) == (303, f"{HUB}/hub/login?state=s")

    await log_in(browser)
    page = await browser.post("/logout", data={"post_logout_redirect_uri": CALLBACK})
    assert page.status_code == 400
    assert "location" not in page.headers
    assert (await browser.get("/authorize", params=QUERY)).status_code == 200


async def test_a_session_ends_on_the_server_not_only_in_the_browser(browser):
    await log_in(browser)
    kept = {cookie.name: cookie.value for cookie in browser.cookies.jar if cookie.path == "/authorize"}
    await browser.get("/logout")
    async with httpx.AsyncClient(base_url=browser.base_url, cookies=kept) as thief:
        assert (await thief.get("/authorize", params=QUERY)).status_code == 200


async def test_requests_are_counted_by_path(provider, browser):
    for _ in range(3):
        await browser.post("/token")
    assert provider.requests == {"/token": 3}


async def as_robot(browser, **changes):
    form = {"grant_type": "client_credentials", **changes}
    return await browser.post("/token", data=form, auth=("robot", "robot-secret"))


async def test_token_requests_are_counted_by_grant_and_name(provider, browser):
    await as_robot(browser)
    await as_robot(browser, grant_type="password")
    await browser.post("/token")
    assert provider.token_requests == {
        ("client_credentials", "service-account-robot"): 1,
        ("password", ""): 1,
        ("", ""): 1,
    }


async def test_the_token_endpoint_can_fail_in_many_ways(provider, browser):
    with provider.faults.error():
        answer = await as_robot(browser)
        assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    with provider.faults.without_token():
        answer = await as_robot(browser)
        assert (answer.status_code, "access_token" in answer.json(), "expires_in" in answer.json()) == (
            *(200, False),
            True,
        )
    with provider.faults.delay(0.01):
        assert (await as_robot(browser)).status_code == 200
    for fault in (provider.faults.drop, provider.faults.truncate):
        with fault(), pytest.raises(httpx.RemoteProtocolError):
            await as_robot(browser)
    with provider.faults.error(user="alice"):
        assert (await as_robot(browser)).status_code == 200


async def test_a_token_that_was_granted_before_a_stop_stays_good_after_it(provider, browser):
    answer = answer_of(await log_in(browser))
    tokens = (await redeem(browser, answer)).json()
    hanging = asyncio.create_task(as_robot(browser))
    fault = provider.faults.hang()
    await asyncio.wait_for(fault.acted.wait(), 30)
    await provider.stop()
    with pytest.raises(httpx.RemoteProtocolError):
        await hanging
    with pytest.raises(httpx.ConnectError):
        await as_robot(browser)
    fault.remove()
    await provider.start()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await browser.get("/userinfo", headers=bearer)).json()["sub"] == "alice"


async def test_refresh_tokens_can_be_made_to_expire(provider, browser):
    tokens = (await redeem(browser, answer_of(await log_in(browser)))).json()
    provider.expire_refresh_tokens()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = await browser.post("/token", data=form, auth=("hub", "hub-secret"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_logs_hold_no_secret(browser, caplog):
    caplog.set_level(logging.DEBUG)
    answer = answer_of(await log_in(browser))
    await browser.post("/token", data={"grant_type": "client_credentials"}, auth=("robot", "robot-secret"))
    await browser.get("/logout", params={"id_token_hint": "e30.secret.jwt"})
    own = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert [line for line in own if line.startswith("POST")] == ["POST /authorize: 303", "POST /token: 200"]
    for secret in (answer["code"], ALICE["password"], "robot-secret", "e30.secret.jwt"):
        assert secret not in "\n".join(own)
    assert handlers.log.name in {record.name for record in caplog.records}


async def test_a_taken_port_is_said(provider):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=f"127.0.0.1:{port}"):
            await IdentityProvider(passwords={}, clients=[]).start(port)


async def test_a_fixed_port_is_used_and_free_again_after_a_stop():
    provider = IdentityProvider(passwords={}, clients=[])
    await provider.start()
    port = int(provider.issuer.rpartition(":")[2])
    await provider.stop()
    await provider.stop()
    await provider.start(port)
    assert provider.issuer == f"http://127.0.0.1:{port}"
    await provider.stop()
