"""What the hub asks a server directly: is it still this launch's, and will it end?"""

from __future__ import annotations

import asyncio
import hmac
import ssl
from contextlib import AbstractAsyncContextManager
from functools import cache

import httpx

from launcher.protocol import (
    PROBE_PATH,
    SIGNATURE_HEADER,
    STOP_PATH,
    Stop,
    encode,
    new_nonce,
    probe_proof,
    stop_proof,
)

_TIMEOUT = 5.0
_PROOF_LENGTH = 64
# A hub that was restarted asks all servers, and each answer costs it some milliseconds.
_at_once = asyncio.Semaphore(32)


async def proves(base_url: str, launch_key: str, context: ssl.SSLContext | None) -> bool:
    """Tell whether a server answers and proves that it is this launch's.

    A port that was freed may be another user's: a mere answer proves nothing.

    Args:
        base_url: The server's URL with its prefix, ending in `/`.
        launch_key: The launch key, 64 hexadecimal digits.
        context: As of `certificates.client_context`.
    """
    nonce = new_nonce()
    request = _client(context).stream("GET", f"{base_url}{PROBE_PATH}", params={"nonce": nonce})
    return await _proven(request, httpx.codes.OK, probe_proof(launch_key, nonce))


async def stop(base_url: str, launch_key: str, context: ssl.SSLContext | None) -> bool:
    """Ask a server to end, as at SIGTERM; tell whether it is this launch's and will.

    Args:
        base_url: The server's URL with its prefix, ending in `/`.
        launch_key: The launch key, 64 hexadecimal digits.
        context: As of `certificates.client_context`.
    """
    nonce = new_nonce()
    request = _client(context).stream(
        "POST",
        f"{base_url}{STOP_PATH}",
        content=encode(Stop(nonce)),
        headers={"Content-Type": "application/json", SIGNATURE_HEADER: stop_proof(launch_key, nonce)},
    )
    return await _proven(request, httpx.codes.ACCEPTED, probe_proof(launch_key, nonce))


async def _proven(request: AbstractAsyncContextManager[httpx.Response], status: int, proof: str) -> bool:
    """Read no more of an answer than a proof has, and no longer: user code may send anything."""
    said = b""
    try:
        async with _at_once, asyncio.timeout(_TIMEOUT), request as answer:
            async for part in answer.aiter_raw():
                said += part
                if len(said) >= _PROOF_LENGTH:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        return False
    return answer.status_code == status and hmac.compare_digest(said, proof.encode())


@cache
def _client(context: ssl.SSLContext | None) -> httpx.AsyncClient:
    """Return the client of all servers: each is another host, and the hub may ask all of them at once."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    verify = context or False  # without one there is no TLS, and the proof is an HMAC all the same
    return httpx.AsyncClient(verify=verify, timeout=_TIMEOUT, trust_env=False, limits=limits)
