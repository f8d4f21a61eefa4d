"""Whose token it is: RS256 access tokens of the sandbox's identity provider."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from launcher.sandbox.gateway.answers import Refusal

MIN_TOKEN_TTL = 30
"""Seconds: a token that ends sooner is refused (`minTokenTtl` of the real server's settings)."""


class Tokens:
    """Checks bearer tokens.

    Args:
        jwks: Gives the JSON Web Key Set of the provider.
        issuer: What tokens must name as their issuer.
    """

    def __init__(self, jwks: Callable[[], Mapping[str, Any]], issuer: str) -> None:
        self._jwks = jwks
        self._issuer = issuer

    def user(self, authorization: str) -> str:
        """The `preferred_username` of an `Authorization` header's token.

        Raises:
            Refusal: 401 with the reason, or 400 if the token names nobody.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(401, "Not authenticated")
        try:
            claims = self._claims(token.strip())
        except jwt.ExpiredSignatureError:
            raise Refusal(401, "Access token expired") from None
        except jwt.PyJWTError:
            raise Refusal(401, "Access token is invalid.") from None
        if claims["exp"] - time.time() < MIN_TOKEN_TTL:
            raise Refusal(401, f"Access token expires too soon (less than {MIN_TOKEN_TTL}s remaining).")
        user = claims.get("preferred_username")
        if not isinstance(user, str) or not user:
            raise Refusal(400, "Authentication token 'preferred_username' claim is missing")
        return user

    def _claims(self, token: str) -> dict[str, Any]:
        kid = jwt.get_unverified_header(token).get("kid")
        keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(dict(self._jwks())).keys}
        if kid is None or kid not in keys:
            raise Refusal(401, "Token's public key not found.")
        return jwt.decode(
            token,
            keys[kid],
            algorithms=["RS256"],
            issuer=self._issuer,
            options={"require": ["exp"], "verify_aud": False},
        )
