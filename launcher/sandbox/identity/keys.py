"""The provider's key pair, and the tokens signed with it."""

import secrets
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ALGORITHM = "RS256"
"""The one signature in use (RFC 7518 §3.3); every OpenID Connect client must know it."""


class SigningKey:
    """An RSA key pair that lives as long as the object; making one takes some tenths of a second."""

    def __init__(self) -> None:
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._private.public_key()
        self._id = secrets.token_hex(8)

    @property
    def jwks(self) -> dict[str, Any]:
        """The public half as a JSON Web Key Set (RFC 7517 §5)."""
        numbers = RSAAlgorithm.to_jwk(self._public, as_dict=True)
        key = {name: numbers[name] for name in ("kty", "n", "e")}
        return {"keys": [{**key, "kid": self._id, "use": "sig", "alg": ALGORITHM}]}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the claims as a signed JWT that names this key in its header."""
        return jwt.encode(dict(claims), self._private, algorithm=ALGORITHM, headers={"kid": self._id})

    def read(self, token: str, *, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token that this key signed, expired or not.

        Raises:
            jwt.InvalidTokenError: The token is forged, malformed, or meant for someone else.
        """
        return jwt.decode(
            token,
            self._public,
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=audience,
            # The caller compares times: only it knows which clock is right.
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "sub", "scope"]},
        )
