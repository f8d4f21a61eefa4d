"""A direct question to a server: is it still the one of this launch?"""

from __future__ import annotations

import hmac

import httpx

from launcher.protocol import PROBE_PATH, new_nonce, probe_proof

_TIMEOUT = 5.0


async def answers(base_url: str, launch_key: str) -> bool:
    """Tell whether a server answers and proves that it is this launch's.

    A port that was freed may be another user's: a mere answer proves nothing.

    Args:
        base_url: The server's URL with its prefix, ending in `/`.
        launch_key: The launch key, 64 hexadecimal digits.
    """
    nonce = new_nonce()
    try:
        async with httpx.AsyncClient(verify=False, timeout=_TIMEOUT, trust_env=False) as client:  # noqa: S501 - the proof is the HMAC
            answer = await client.get(f"{base_url}{PROBE_PATH}", params={"nonce": nonce})
    except (httpx.HTTPError, ValueError):
        return False
    proof = answer.text[:64] if answer.status_code == 200 else ""
    return hmac.compare_digest(proof.encode(), probe_proof(launch_key, nonce).encode())
