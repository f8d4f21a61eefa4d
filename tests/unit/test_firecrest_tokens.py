"""A user's access token: renewed in time, once, and never lost."""

import asyncio
import contextlib
import time
from io import BytesIO

import jwt
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import HTTPTimeoutError
from tornado.web import HTTPError

from launcher.errors import FirecrestError
from launcher.firecrest.tokens import access_token, refresh_user

pytestmark = pytest.mark.usefixtures("virtual_time")

LOG_IN_AGAIN = "Log in again, then press Start once more."


def token(seconds, **claims):
    return jwt.encode({"exp": time.time() + seconds, **claims}, "k" * 32, algorithm="HS256")


class Provider:
    """Stands in for OAuthenticator and the identity provider behind it, which rotates refresh tokens."""

    user_auth_state_key = "oauth_user"

    def __init__(self):
        self.renewals = []
        self.error = None
        self.rotates = True
        self.lifetime = 300

    def build_refresh_token_request_params(self, refresh_token):
        return {"grant_type": "refresh_token", "refresh_token": refresh_token}

    async def get_token_info(self, handler, params):
        assert handler is None
        self.renewals.append(params["refresh_token"])
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        number = len(self.renewals)
        rotated = {"refresh_token": f"refresh-{number}"} if self.rotates else {}
        return {"access_token": token(self.lifetime, number=number), **rotated}

    def build_auth_state_dict(self, token_info, user_info):
        return {
            "access_token": token_info["access_token"],
            "refresh_token": token_info["refresh_token"],
            "oauth_user": user_info,
        }


class User:
    """Stands in for JupyterHub's user, whose database answers late."""

    def __init__(self, authenticator, state):
        self.authenticator = authenticator
        self.state = state
        self.saves = 0

    async def get_auth_state(self):
        await asyncio.sleep(0)
        return self.state and dict(self.state)

    async def save_auth_state(self, state):
        await asyncio.sleep(0)
        self.saves += 1
        self.state = state


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def user(provider):
    """Somebody whose token is about to expire."""
    return User(
        provider, {"access_token": token(59), "refresh_token": "refresh-0", "oauth_user": {"sub": "alice"}}
    )


async def refused(user):
    with pytest.raises(FirecrestError) as error:
        await access_token(user)
    return error.value


class TestRenewal:
    async def test_a_token_that_is_good_for_a_while_is_used_as_it_is(self, user, provider):
        user.state["access_token"] = fresh = token(120)
        assert await access_token(user) == fresh
        assert provider.renewals == []

    @pytest.mark.parametrize("seconds", [59, 1, -1000])
    async def test_one_that_is_not_is_renewed_before_firecrest_refuses_it(self, user, provider, seconds):
        user.state["access_token"] = token(seconds)
        renewed = await access_token(user)
        assert jwt.decode(renewed, options={"verify_signature": False})["exp"] > time.time() + 100
        assert provider.renewals == ["refresh-0"]

    async def test_what_came_with_it_is_saved_too(self, user):
        renewed = await access_token(user)
        assert user.state == {
            "access_token": renewed,
            "refresh_token": "refresh-1",
            "oauth_user": {"sub": "alice"},
        }

    async def test_many_at_once_spend_a_refresh_token_once(self, user, provider):
        tokens = await asyncio.gather(*(access_token(user) for _ in range(50)))
        assert len(set(tokens)) == 1
        assert provider.renewals == ["refresh-0"]
        assert user.saves == 1

    async def test_two_users_do_not_wait_for_each_other(self, user, provider):
        slow = asyncio.Event()

        class Slow(Provider):
            async def get_token_info(self, handler, params):
                await slow.wait()
                return await super().get_token_info(handler, params)

        waiting = asyncio.create_task(access_token(User(Slow(), dict(user.state))))
        async with asyncio.timeout(10):
            await access_token(user)
            assert not waiting.done()
            slow.set()
            await waiting

    async def test_the_next_renewal_brings_the_rotated_refresh_token(self, user, provider):
        await access_token(user)
        await asyncio.sleep(250)
        await access_token(user)
        assert provider.renewals == ["refresh-0", "refresh-1"]

    async def test_there_is_one_a_lifetime(self, user, provider):
        for _ in range(3600):
            await access_token(user)
            await asyncio.sleep(1)
        assert len(provider.renewals) == 3600 / (300 - 60)

    async def test_one_that_firecrest_refuses_is_renewed_though_it_seems_good(self, user, provider):
        user.state["access_token"] = refused = token(200)
        renewed = await access_token(user, refused)
        assert renewed != refused
        assert await access_token(user) == renewed
        assert provider.renewals == ["refresh-0"]

    async def test_many_whose_token_was_refused_spend_one_refresh_token(self, user, provider):
        user.state["access_token"] = refused = token(200)
        tokens = await asyncio.gather(*(access_token(user, refused) for _ in range(20)))
        assert len(set(tokens)) == 1
        assert provider.renewals == ["refresh-0"]

    @pytest.mark.parametrize("lifetime", [30, 60, -3600])
    async def test_a_short_life_or_a_clock_that_is_wrong_costs_a_request_in_ten_seconds(
        self, user, provider, lifetime
    ):
        provider.lifetime = lifetime
        for _ in range(600):
            assert await access_token(user)
            await asyncio.sleep(1)
        assert len(provider.renewals) <= 61

    async def test_so_does_a_firecrest_that_refuses_every_token(self, user, provider):
        for _ in range(600):
            await access_token(user, await access_token(user))
            await asyncio.sleep(1)
        assert len(provider.renewals) <= 61

    async def test_a_provider_that_does_not_rotate_leaves_the_old_one(self, user, provider):
        provider.rotates = False
        await access_token(user)
        assert user.state["refresh_token"] == "refresh-0"

    async def test_an_authenticator_may_build_its_state_asynchronously(self, user, provider):
        build = provider.build_auth_state_dict

        async def later(token_info, user_info):
            return build(token_info, user_info)

        provider.build_auth_state_dict = later
        assert await access_token(user) == user.state["access_token"]

    @pytest.mark.parametrize(
        "opaque", ["opaque", "a.b.c", "é", jwt.encode({"sub": "alice"}, "k" * 32)], ids=repr
    )
    async def test_a_token_that_does_not_tell_its_end_is_firecrests_to_judge(self, user, provider, opaque):
        user.state["access_token"] = opaque
        assert await access_token(user) == opaque
        assert provider.renewals == []

    @pytest.mark.parametrize("steps", range(8))
    async def test_who_is_cancelled_takes_no_refresh_token_along(self, user, provider, steps):
        """A refresh token that was spent while the new one was not saved would lock the user out."""
        first = asyncio.create_task(access_token(user))
        for _ in range(steps):
            await asyncio.sleep(0)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        async with asyncio.timeout(10):
            assert await access_token(user) == user.state["access_token"]
        assert provider.renewals == ["refresh-0"]
        assert user.state["refresh_token"] == "refresh-1"


class TestLogInAgain:
    @pytest.mark.parametrize("state", [None, {}, {"access_token": ""}, {"refresh_token": "refresh-0"}])
    async def test_without_a_token(self, user, state):
        user.state = state
        error = await refused(user)
        assert (error.status, error.todo) == (401, LOG_IN_AGAIN)

    async def test_without_a_refresh_token_once_the_token_is_over(self, user):
        del user.state["refresh_token"]
        assert (await refused(user)).status == 401

    async def test_with_an_authenticator_that_renews_nothing(self, user):
        user.authenticator = object()
        assert (await refused(user)).status == 401

    async def test_when_the_refresh_token_is_over(self, user, provider):
        provider.error = HTTPClientError(
            400, response=answer(400, b'{"error":"invalid_grant","hint":"refresh-0"}')
        )
        error = await refused(user)
        assert (error.status, error.todo) == (401, LOG_IN_AGAIN)
        assert "refresh-0" not in str(error)
        assert user.saves == 0


class TestNoAnswer:
    @pytest.mark.parametrize(
        "problem",
        [
            ConnectionRefusedError(111, "Connection refused"),
            TimeoutError(),
            HTTPTimeoutError("Timeout while connecting"),
            HTTPClientError(599),
            HTTPClientError(500),
            HTTPClientError(502),
            HTTPClientError(503),
            HTTPClientError(401),
            HTTPClientError(403),
            HTTPClientError(429),
            ValueError("no JSON: <html>s3cret</html>"),
            TypeError("argument of type 'NoneType' is not iterable"),
            HTTPError(500, "Bad response: {'id_token': 's3cret'}"),
        ],
        ids=lambda problem: f"{type(problem).__name__} {getattr(problem, 'code', '')}",
    )
    async def test_a_provider_that_is_away_is_no_reason_to_log_in_again(self, user, provider, problem):
        before = dict(user.state)
        provider.error = problem
        error = await refused(user)
        assert error.status is None
        assert "identity provider" in error.what
        assert "s3cret" not in str(error)
        assert user.state == before

    async def test_it_is_asked_at_most_once_in_ten_seconds(self, user, provider):
        provider.error = ConnectionRefusedError()
        for _ in range(600):
            await refused(user)
            await asyncio.sleep(1)
        assert 30 <= len(provider.renewals) <= 61

    async def test_once_it_answers_again_so_does_this(self, user, provider):
        provider.error = ConnectionRefusedError()
        await refused(user)
        provider.error = None
        await asyncio.sleep(11)
        assert await access_token(user)

    async def test_a_new_log_in_needs_no_patience(self, user, provider):
        provider.error = HTTPClientError(400)
        await refused(user)
        user.state = {**user.state, "access_token": (fresh := token(300))}
        assert await access_token(user) == fresh


class TestHook:
    """JupyterHub logs a user out when the hook returns False."""

    async def test_a_renewed_log_in_is_good(self, user, provider):
        assert await refresh_user(provider, user, user.state) is True
        assert provider.renewals == ["refresh-0"]

    async def test_one_that_is_over_is_not(self, user, provider):
        provider.error = HTTPClientError(400)
        assert await refresh_user(provider, user, user.state) is False

    async def test_a_provider_that_is_away_logs_nobody_out(self, user, provider):
        provider.error = HTTPClientError(503)
        assert await refresh_user(provider, user, user.state) is True

    @pytest.mark.parametrize("state", [None, {}])
    async def test_without_a_state_there_is_nothing_to_renew(self, user, provider, state):
        assert await refresh_user(provider, user, state) is False


def answer(code, body):
    return HTTPResponse(HTTPRequest("http://127.0.0.1:1/token"), code, buffer=BytesIO(body))
