"""What the hub asks a server directly: is it still this launch's, and will it end?"""

from __future__ import annotations

import asyncio
import hmac
import ssl
from http import HTTPStatus
from typing import Any

from tornado.simple_httpclient import SimpleAsyncHTTPClient

from launcher.patience import within
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
_CLOSED_AFTER = 30.0
"""Seconds after which a connection is closed on which nobody waits for an answer any more."""
_PROOF_LENGTH = 64
_LONGEST_HEAD = 16 * 1024
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
    proof = probe_proof(launch_key, nonce)
    return await _proven("GET", f"{base_url}{PROBE_PATH}?nonce={nonce}", context, HTTPStatus.OK, proof)


async def stop(base_url: str, launch_key: str, context: ssl.SSLContext | None) -> bool:
    """Ask a server to end, as at SIGTERM; tell whether it is this launch's and will.

    Args:
        base_url: The server's URL with its prefix, ending in `/`.
        launch_key: The launch key, 64 hexadecimal digits.
        context: As of `certificates.client_context`.
    """
    nonce = new_nonce()
    url, proof = f"{base_url}{STOP_PATH}", probe_proof(launch_key, nonce)
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: stop_proof(launch_key, nonce)}
    request = {"body": encode(Stop(nonce)), "headers": headers}
    return await _proven("POST", url, context, HTTPStatus.ACCEPTED, proof, **request)


async def _proven(
    method: str, url: str, context: ssl.SSLContext | None, status: HTTPStatus, proof: str, **request: Any
) -> bool:
    """Read no more of an answer than one with a proof has, and no longer: user code may send anything."""
    client = SimpleAsyncHTTPClient(
        force_instance=True, max_header_size=_LONGEST_HEAD, max_body_size=_PROOF_LENGTH
    )
    try:
        async with _at_once:
            answering = client.fetch(
                url,
                method=method,
                connect_timeout=_CLOSED_AFTER,
                request_timeout=_CLOSED_AFTER,
                ssl_options=context,
                validate_cert=False,  # without a context there is no TLS, and the proof is an HMAC anyway
                decompress_response=False,
                follow_redirects=False,
                **request,
            )
            answering.add_done_callback(lambda done: done.cancelled() or done.exception())
            answer = await within(_TIMEOUT, asyncio.shield(answering))
    except Exception:  # noqa: BLE001 - whatever breaks over what user code has sent, it is no proof
        return False
    finally:
        client.close()
    return answer.code == status and hmac.compare_digest(answer.body, proof.encode())
