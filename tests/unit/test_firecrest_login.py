"""Client credentials: one request a token, however many wait for it, and its secret is shown to nobody."""

import asyncio
import base64
import time

import httpx
import jwt
import pytest

from launcher.errors import FirecrestError, UsageError
from launcher.firecrest.login import ClientCredentials, UserLogin

URL = "https://idp.example.org/token"
VALUES = {"token_url": URL, "client_id": "watcher", "client_secret": "s3cret"}

NO_TOKENS = [
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("late"),
    httpx.Response(401, json={"error": "invalid_client", "hint": "s3cret"}),
    httpx.Response(500, text="s3cret"),
    httpx.Response(302, headers={"Location": "https://elsewhere.example.org/"}),
    httpx.Response(200, text="<html>s3cret</html>"),
    httpx.Response(200, json={"token": "s3cret"}),
    httpx.Response(200, json=["s3cret"]),
    httpx.Response(200, json=None),
]


class Provider:
    """A token endpoint.

    Attributes:
        requests: What arrived.
        lifetime: Seconds that a token is good for.
        answer: What it answers instead of a token: a response or an error.
        seconds: How long an answer takes.
    """

    def __init__(self):
        self.requests = []
        self.lifetime = 300
        self.answer = None
        self.seconds = 0.1

    async def __call__(self, request):
        self.requests.append(request)
        await asyncio.sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or httpx.Response(200, json={"access_token": self.token()})

    def token(self):
        claims = {"exp": time.time() + self.lifetime, "number": len(self.requests)}
        return jwt.encode(claims, "k" * 32, algorithm="HS256")


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
async def service(provider, virtual_time):
    credentials = ClientCredentials("service account", VALUES, everybody=True)
    await credentials._http.aclose()
    credentials._http = httpx.AsyncClient(transport=httpx.MockTransport(provider))
    async with credentials._http:
        yield credentials


async def refused(call):
    with pytest.raises(FirecrestError) as error:
        await call
    return error.value


class TestToken:
    async def test_it_is_asked_for_as_rfc_6749_says(self, service, provider):
        assert await service.token()
        (request,) = provider.requests
        assert (request.method, str(request.url)) == ("POST", URL)
        assert request.content == b"grant_type=client_credentials"
        basic = base64.b64encode(b"watcher:s3cret").decode()
        assert request.headers["Authorization"] == f"Basic {basic}"

    async def test_one_request_is_enough_however_many_wait(self, service, provider):
        provider.seconds = 5
        tokens = await asyncio.gather(*(service.token() for _ in range(100)))
        assert len(set(tokens)) == 1
        assert len(provider.requests) == 1

    async def test_one_a_lifetime(self, service, provider):
        for _ in range(3600):
            await service.token()
            await asyncio.sleep(1)
        assert len(provider.requests) == 3600 / (300 - 60)

    async def test_it_always_has_a_minute_left(self, service):
        for _ in range(100):
            token = await service.token()
            expires = jwt.decode(token, options={"verify_signature": False})["exp"]
            assert expires - time.time() >= 59
            await asyncio.sleep(7)

    async def test_one_that_firecrest_refuses_is_replaced(self, service, provider):
        token = await service.token()
        await asyncio.sleep(20)
        other = await service.token(refused=token)
        assert other != token
        assert await service.token() == other
        assert len(provider.requests) == 2

    async def test_many_whose_token_was_refused_get_one_new_one(self, service, provider):
        token = await service.token()
        await asyncio.sleep(20)
        tokens = await asyncio.gather(*(service.token(refused=token) for _ in range(20)))
        assert len(set(tokens)) == 1
        assert len(provider.requests) == 2

    async def test_a_firecrest_that_refuses_every_token_costs_few_requests(self, service, provider):
        for _ in range(600):
            await service.token(refused=await service.token())
            await asyncio.sleep(1)
        assert len(provider.requests) <= 61

    @pytest.mark.parametrize("lifetime", [1, 45, 60, -3600])
    async def test_neither_does_a_short_life_or_a_clock_that_is_wrong(self, service, provider, lifetime):
        provider.lifetime = lifetime
        for _ in range(600):
            assert await service.token()
            await asyncio.sleep(1)
        assert len(provider.requests) <= 61

    async def test_who_gives_up_leaves_the_way_free_for_the_next(self, service, provider):
        provider.seconds = 15
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await service.token()
        provider.seconds = 0
        assert await service.token()


class TestNoToken:
    @pytest.mark.parametrize(
        "answer", NO_TOKENS, ids=lambda answer: str(getattr(answer, "status_code", answer))
    )
    async def test_whatever_comes_instead_is_one_error_without_a_secret(self, service, provider, answer):
        provider.answer = answer
        error = await refused(service.token())
        assert error.status is None
        assert "identity provider" in error.what
        assert "s3cret" not in f"{error} {error!r} {error.__cause__!r}"

    async def test_an_endpoint_that_fails_is_asked_at_most_once_in_ten_seconds(self, service, provider):
        provider.answer = httpx.Response(503)
        for _ in range(600):
            await refused(service.token())
            await asyncio.sleep(1)
        assert 30 <= len(provider.requests) <= 61

    async def test_all_who_wait_hear_of_one_failure(self, service, provider):
        provider.answer, provider.seconds = httpx.ConnectError("refused"), 5
        errors = await asyncio.gather(*(refused(service.token()) for _ in range(50)))
        assert {error.what for error in errors} == {errors[0].what}
        assert len(provider.requests) == 1

    async def test_once_it_answers_again_there_is_a_token(self, service, provider):
        provider.answer = httpx.Response(503)
        await refused(service.token())
        provider.answer = None
        await asyncio.sleep(11)
        assert await service.token()

    async def test_a_token_that_is_good_needs_no_endpoint(self, service, provider):
        token = await service.token()
        provider.answer = httpx.Response(503)
        await asyncio.sleep(200)
        assert await service.token() == token


class TestConfiguration:
    @pytest.mark.parametrize(
        "values",
        [
            {},
            {**VALUES, "client_secret": ""},
            {**VALUES, "client_secret": 5},
            {**VALUES, "scope": "openid"},
            {name: value for name, value in VALUES.items() if name != "token_url"},
        ],
        ids=repr,
    )
    def test_one_that_is_not_whole_is_refused_without_its_secret(self, values):
        with pytest.raises(UsageError) as error:
            ClientCredentials("service account", values, everybody=True)
        assert "s3cret" not in str(error.value)
        assert "service account" in str(error.value)

    async def test_no_secret_shows_in_what_it_is_called(self, service):
        await service.token()
        assert not {"s3cret", await service.token()} & set(f"{service!r} {service} {service.key}".split())
        assert "s3cret" not in f"{service!r} {service} {service.key} {service.name}"

    async def test_one_that_users_launch_with_has_their_name_on_the_cluster(self, service):
        account = ClientCredentials("account of carol", {**VALUES, "username": "svc-carol"}, everybody=False)
        assert (account.name, account.everybody) == ("svc-carol", False)
        assert (service.name, service.everybody) == ("", True)
        await account._http.aclose()


class TestUserLogin:
    async def test_it_is_the_users_own_token(self):
        token = jwt.encode({"exp": time.time() + 300}, "k" * 32)

        class User:
            name = "alice"

            async def get_auth_state(self):
                return {"access_token": token}

        login = UserLogin(User())
        assert (login.key, login.name, login.everybody) == ("user alice", "alice", False)
        assert await login.token() == token
