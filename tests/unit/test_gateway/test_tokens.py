"""Whose token is taken, and what the others are told."""

from collections.abc import Callable

import httpx
import pytest

from launcher.sandbox.gateway import Gateway

from .kit import OTHER_KEY, error, mint


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (lambda: "", "Not authenticated"),
        (lambda: "Basic YWxpY2U6cGFzcw==", "Not authenticated"),
        (lambda: "Bearer", "Not authenticated"),
        (lambda: "Bearer garbage", "Access token is invalid."),
        (lambda: "Bearer a.b.c", "Access token is invalid."),
        (lambda: f"Bearer {mint('alice', key=OTHER_KEY)}", "Access token is invalid."),
        (lambda: f"Bearer {mint('alice', iss='http://elsewhere')}", "Access token is invalid."),
        (lambda: f"Bearer {mint('alice', key=None, algorithm='none')}", "Access token is invalid."),
        (lambda: f"Bearer {mint('alice', key='s' * 32, algorithm='HS256')}", "Access token is invalid."),
        (lambda: f"Bearer {mint('alice', key=OTHER_KEY, kid='k2')}", "Token's public key not found."),
        (lambda: f"Bearer {mint('alice', kid=None)}", "Token's public key not found."),
        (lambda: f"Bearer {mint('alice', seconds=-1)}", "Access token expired"),
        (
            lambda: f"Bearer {mint('alice', seconds=20)}",
            "Access token expires too soon (less than 30s remaining).",
        ),
    ],
)
async def test_a_token_that_is_not_good_is_refused_with_the_reason(
    gateway: Gateway, header: Callable[[], str], message: str
) -> None:
    async with httpx.AsyncClient(verify=False) as session:
        answer = await session.get(f"{gateway.url}/compute/sandbox/jobs", headers={"Authorization": header()})
    assert (answer.status_code, answer.json()) == (401, error(message, user=None))


async def test_a_token_must_name_a_user(gateway: Gateway) -> None:
    async with httpx.AsyncClient(verify=False) as session:
        answer = await session.get(
            f"{gateway.url}/compute/sandbox/jobs", headers={"Authorization": f"Bearer {mint(None)}"}
        )
    message = "Authentication token 'preferred_username' claim is missing"
    assert (answer.status_code, answer.json()) == (400, error(message, user=None))
