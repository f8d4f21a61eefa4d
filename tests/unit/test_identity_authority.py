"""What the sandbox's identity provider grants, with a clock that the tests turn."""

import base64
import hashlib
from dataclasses import replace

import jwt
import pytest

from launcher.sandbox.identity.authority import AUDIENCE, CODE_LIFETIME, REFRESH_LIFETIME, Authority
from launcher.sandbox.identity.clients import Client, Clients, Refusal
from launcher.sandbox.identity.keys import SigningKey
from launcher.sandbox.identity.sessions import SESSION_LIFETIME, Session, Sessions

ISSUER = "http://127.0.0.1:1"
CALLBACK = "http://127.0.0.1:2/hub/oauth_callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
HUB = Client("hub", "hub-secret", (CALLBACK,))
ROBOT = Client("robot", "robot-secret", grants=frozenset({"client_credentials"}))
QUERY = {
    "client_id": "hub",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "scope": "openid profile email",
    "nonce": "n-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
HUB_FORM = {"client_id": "hub", "client_secret": "hub-secret"}
ROBOT_FORM = {"client_id": "robot", "client_secret": "robot-secret", "grant_type": "client_credentials"}


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def key():
    return SigningKey()


@pytest.fixture
def clients():
    return Clients([HUB, ROBOT])


@pytest.fixture
def authority(key, clients, clock):
    return Authority(issuer=ISSUER, key=key, clients=clients, token_lifetime=300.0, clock=clock)


@pytest.fixture
def code(authority, clients, clock):
    return authority.code(clients.authorization_request(QUERY), Session("alice", clock.now - 10))


def code_form(code, **changes):
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    return {**HUB_FORM, **form, "code_verifier": VERIFIER, **changes}


def refresh_form(token, **changes):
    return {**HUB_FORM, "grant_type": "refresh_token", "refresh_token": token, **changes}


def decoded(token, key, audience):
    public = jwt.PyJWKSet.from_dict(key.jwks)[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, public, audience=audience, issuer=ISSUER, options={"verify_exp": False})


def refused(error, status=400):
    def same(refusal):
        return (refusal.error, refusal.status) == (error, status)

    return pytest.raises(Refusal, check=same)


def test_a_code_gives_an_access_token_that_says_whose_it_is_and_who_asked(authority, code, key, clock):
    answer = authority.tokens(code_form(code))
    claims = decoded(answer["access_token"], key, AUDIENCE)
    assert len(claims.pop("jti")) > 16
    assert claims == {
        "iss": ISSUER,
        "sub": "alice",
        "preferred_username": "alice",
        "aud": "firecrest",
        "azp": "hub",
        "scope": "openid profile",
        "iat": clock.now,
        "exp": clock.now + 300,
    }
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 300, "openid profile")


def test_a_code_gives_an_id_token_with_the_nonce_and_the_time_of_the_log_in(authority, code, key, clock):
    claims = decoded(authority.tokens(code_form(code))["id_token"], key, "hub")
    assert claims["nonce"] == "n-1"
    assert claims["auth_time"] == clock.now - 10
    assert claims["sub"] == "alice"


def test_no_id_token_without_the_scope_openid(authority, clients, clock):
    request = clients.authorization_request({**QUERY, "scope": "email"})
    answer = authority.tokens(code_form(authority.code(request, Session("alice", clock.now))))
    assert answer["scope"] == "profile"
    assert "id_token" not in answer
    with refused("insufficient_scope", 403):
        authority.claims(answer["access_token"])


def test_a_client_without_the_grant_gets_no_refresh_token(key, clock):
    clients = Clients([replace(HUB, grants=frozenset({"authorization_code"}))])
    authority = Authority(issuer=ISSUER, key=key, clients=clients, token_lifetime=300.0, clock=clock)
    code = authority.code(clients.authorization_request(QUERY), Session("alice", clock.now))
    assert "refresh_token" not in authority.tokens(code_form(code))


def test_a_code_is_good_once_and_its_second_use_ends_what_it_gave(authority, code):
    first = authority.tokens(code_form(code))
    with refused("invalid_grant"):
        authority.tokens(code_form(code))
    with refused("invalid_grant"):
        authority.tokens(refresh_form(first["refresh_token"]))


def test_a_code_expires(authority, code, clock):
    clock.now += CODE_LIFETIME
    with refused("invalid_grant"):
        authority.tokens(code_form(code))


@pytest.mark.parametrize(
    "change",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": ""},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": ""},
    ],
)
def test_a_code_tried_with_the_wrong_verifier_or_address_is_spent(authority, code, change):
    with refused("invalid_grant"):
        authority.tokens(code_form(code, **change))
    with refused("invalid_grant"):
        authority.tokens(code_form(code))


def test_a_code_is_worth_nothing_to_another_client_and_stays_good(key, clock):
    clients = Clients([HUB, replace(HUB, id="other", secret="other-secret")])
    authority = Authority(issuer=ISSUER, key=key, clients=clients, token_lifetime=300.0, clock=clock)
    code = authority.code(clients.authorization_request(QUERY), Session("alice", clock.now))
    with refused("invalid_grant"):
        authority.tokens(code_form(code, client_id="other", client_secret="other-secret"))
    assert authority.tokens(code_form(code))


def test_a_refresh_token_gives_a_new_access_token_and_its_successor(authority, code, key, clock):
    first = authority.tokens(code_form(code))
    clock.now += 250
    second = authority.tokens(refresh_form(first["refresh_token"]))
    assert decoded(second["access_token"], key, AUDIENCE)["exp"] == clock.now + 300
    renewed = decoded(second["id_token"], key, "hub")
    assert (renewed["auth_time"], "nonce" in renewed) == (clock.now - 260, False)
    assert authority.tokens(refresh_form(second["refresh_token"]))


def test_a_refresh_token_used_twice_ends_the_whole_log_in(authority, code):
    first = authority.tokens(code_form(code))["refresh_token"]
    second = authority.tokens(refresh_form(first))["refresh_token"]
    for token in (first, second):
        with refused("invalid_grant"):
            authority.tokens(refresh_form(token))


def test_a_refresh_token_that_nobody_uses_expires(authority, code, clock):
    token = authority.tokens(code_form(code))["refresh_token"]
    clock.now += REFRESH_LIFETIME
    with refused("invalid_grant"):
        authority.tokens(refresh_form(token))


def test_how_long_a_refresh_token_lasts_can_be_set(key, clients, clock):
    authority = Authority(
        issuer=ISSUER, key=key, clients=clients, token_lifetime=300.0, refresh_lifetime=60.0, clock=clock
    )
    code = authority.code(clients.authorization_request(QUERY), Session("alice", clock.now))
    token = authority.tokens(code_form(code))["refresh_token"]
    clock.now += 59
    token = authority.tokens(refresh_form(token))["refresh_token"]
    clock.now += 60
    with refused("invalid_grant"):
        authority.tokens(refresh_form(token))


def test_one_persons_refresh_tokens_can_be_made_to_expire(authority, clients, clock):
    tokens = {}
    for name in ("alice", "bob"):
        code = authority.code(clients.authorization_request(QUERY), Session(name, clock.now))
        tokens[name] = authority.tokens(code_form(code))
    authority.expire_refresh_tokens("alice")
    assert authority.tokens(refresh_form(tokens["bob"]["refresh_token"]))
    with refused("invalid_grant"):
        authority.tokens(refresh_form(tokens["alice"]["refresh_token"]))
    assert authority.claims(tokens["alice"]["access_token"])["sub"] == "alice"


@pytest.mark.parametrize("token", ["", "made-up", "made.up", "é"])
def test_a_made_up_refresh_token_is_refused(authority, code, token):
    with refused("invalid_grant"):
        authority.tokens(refresh_form(token))


def test_a_refresh_may_ask_for_less_but_not_for_more(authority, code):
    token = authority.tokens(code_form(code))["refresh_token"]
    with refused("invalid_scope"):
        authority.tokens(refresh_form(token, scope="openid admin"))
    less = authority.tokens(refresh_form(token, scope="profile"))
    assert less["scope"] == "profile"
    assert authority.tokens(refresh_form(less["refresh_token"]))["scope"] == "openid profile"


def test_a_service_account_is_named_as_keycloak_names_it(authority, key):
    answer = authority.tokens(ROBOT_FORM)
    claims = decoded(answer["access_token"], key, AUDIENCE)
    assert claims["preferred_username"] == claims["sub"] == "service-account-robot"
    assert claims["azp"] == "robot"
    assert answer.keys() == {"access_token", "token_type", "expires_in", "scope"}


def test_a_service_account_can_have_a_lifetime_and_a_name_of_its_own(key, clock):
    clients = Clients([replace(ROBOT, token_lifetime=45.5, account="alice")])
    authority = Authority(issuer=ISSUER, key=key, clients=clients, token_lifetime=300.0, clock=clock)
    answer = authority.tokens(ROBOT_FORM)
    claims = decoded(answer["access_token"], key, AUDIENCE)
    assert (claims["preferred_username"], claims["exp"] - claims["iat"], answer["expires_in"]) == (
        *("alice", 45),
        45,
    )


def test_it_can_be_told_for_whom_a_token_is_wanted(authority, code):
    assert authority.asker(code_form(code)) == ("authorization_code", "alice")
    token = authority.tokens(code_form(code))["refresh_token"]
    assert authority.asker(refresh_form(token)) == ("refresh_token", "alice")
    assert authority.asker(refresh_form("made.up")) == ("refresh_token", "")
    assert authority.asker(ROBOT_FORM) == ("client_credentials", "service-account-robot")
    basic = base64.b64encode(b"robot:wrong").decode()
    asked = authority.asker({"grant_type": "client_credentials"}, f"Basic {basic}")
    assert asked == ("client_credentials", "service-account-robot")
    assert authority.asker({}) == ("", "")


def test_http_basic_proves_a_client_too(authority):
    credentials = base64.b64encode(b"robot:robot%2Dsecret").decode()
    assert authority.tokens({"grant_type": "client_credentials"}, f"Basic {credentials}")


@pytest.mark.parametrize(
    ("form", "authorization"),
    [
        ({**ROBOT_FORM, "client_secret": "wrong"}, ""),
        ({**ROBOT_FORM, "client_secret": "é"}, ""),
        ({**ROBOT_FORM, "client_secret": ""}, ""),
        ({**ROBOT_FORM, "client_id": "nobody"}, ""),
        ({"grant_type": "client_credentials"}, ""),
        ({"grant_type": "client_credentials"}, "Basic !!"),
        ({"grant_type": "client_credentials"}, "Bearer cm9ib3Q6cm9ib3Qtc2VjcmV0"),
        ({"grant_type": "client_credentials"}, "Basic " + base64.b64encode(b"robot:no").decode()),
    ],
)
def test_a_client_that_does_not_prove_itself_is_refused(authority, form, authorization):
    with refused("invalid_client", 401):
        authority.tokens(form, authorization)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (HUB_FORM, "invalid_request"),
        ({**HUB_FORM, "grant_type": "password"}, "unsupported_grant_type"),
        ({**HUB_FORM, "grant_type": "client_credentials"}, "unauthorized_client"),
        ({**ROBOT_FORM, "grant_type": "refresh_token"}, "unauthorized_client"),
    ],
)
def test_a_grant_that_a_client_may_not_use_is_refused(authority, form, error):
    with refused(error):
        authority.tokens(form)


def test_a_client_may_not_authenticate_twice(authority):
    with refused("invalid_request"):
        authority.tokens(ROBOT_FORM, "Basic cm9ib3Q6cm9ib3Qtc2VjcmV0")


def test_userinfo_tells_who_it_is_until_the_token_expires(authority, code, clock):
    token = authority.tokens(code_form(code))["access_token"]
    clock.now += 299
    assert authority.claims(token) == {"sub": "alice", "preferred_username": "alice"}
    clock.now += 1
    with refused("invalid_token", 401):
        authority.claims(token)


def test_userinfo_takes_no_id_token_and_no_token_of_another_key(authority, code, clients, clock):
    other = Authority(issuer=ISSUER, key=SigningKey(), clients=clients, token_lifetime=300.0, clock=clock)
    foreign = other.tokens({**ROBOT_FORM, "scope": "openid"})["access_token"]
    for token in (authority.tokens(code_form(code))["id_token"], foreign, "", "a.b.c"):
        with refused("invalid_token", 401):
            authority.claims(token)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "x"}, "request_not_supported"),
        ({"request_uri": "x"}, "request_uri_not_supported"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "\n"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
    ],
)
def test_a_bad_authorization_request_is_refused_by_name(clients, change, error):
    query = {name: value for name, value in {**QUERY, **change}.items() if value is not None}
    with refused(error):
        clients.authorization_request(query)


def test_a_client_without_the_code_grant_may_not_ask_for_one():
    with refused("unauthorized_client"):
        Clients([replace(ROBOT, id="hub", redirect_uris=(CALLBACK,))]).authorization_request(QUERY)


@pytest.mark.parametrize(
    ("prompt", "since", "accepted"),
    [
        ({}, -9e5, True),
        ({"prompt": "login"}, 0, False),
        ({"max_age": "60"}, -60, True),
        ({"max_age": "60"}, -61, False),
    ],
)
def test_a_client_decides_how_old_a_log_in_may_be(clients, clock, prompt, since, accepted):
    request = clients.authorization_request({**QUERY, **prompt})
    assert request.accepts(Session("alice", clock.now + since), clock.now) is accepted


def test_a_session_needs_the_right_password_and_ends(clock):
    sessions = Sessions({"alice": "wonder"}, clock)
    assert sessions.log_in("alice", "Wonder") is None
    assert sessions.log_in("nobody", "") is None
    first, second = sessions.log_in("alice", "wonder"), sessions.log_in("alice", "wonder")
    assert sessions.find(first) == Session("alice", clock.now)
    sessions.log_out(first)
    assert sessions.find(first) is None
    clock.now += SESSION_LIFETIME
    assert sessions.find(second) is None


def test_a_client_shows_no_secret():
    assert "hub-secret" not in repr(HUB)
