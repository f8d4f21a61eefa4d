"""What the provider gives: OAuth 2.0 (RFC 6749) and OpenID Connect Core 1.0, the tokens' half."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from launcher.sandbox.identity.clients import (
    SCOPES,
    AuthorizationRequest,
    Client,
    Clients,
    Refusal,
    known_scopes,
)
from launcher.sandbox.identity.keys import SigningKey
from launcher.sandbox.identity.sessions import Session

AUDIENCE = "firecrest"
"""`aud` of every access token: the service that it is for."""

GRANTS = ("authorization_code", "refresh_token", "client_credentials")
"""What can be exchanged for an access token."""

CODE_LIFETIME = 60.0
"""Seconds in which a code must be redeemed."""

REFRESH_LIFETIME = 12 * 3600.0
"""Seconds for which a refresh token is usually good when nobody uses it."""


@dataclass
class _Grant:
    """One person's log-in to one client, and the code or refresh token that stands for it now."""

    request: AuthorizationRequest
    session: Session
    kind: str
    credential: str = field(repr=False)
    expires: float


class Authority:
    """Issues codes and tokens, and remembers the ones that are good.

    Args:
        issuer: The provider's address, `iss` of every token.
        key: Signs the tokens.
        clients: Who may ask.
        token_lifetime: Seconds for which an access token is good, cut to a whole number.
        refresh_lifetime: Seconds for which a refresh token is good when nobody uses it.
        clock: Gives the time in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        issuer: str,
        key: SigningKey,
        clients: Clients,
        token_lifetime: float,
        refresh_lifetime: float = REFRESH_LIFETIME,
        clock: Callable[[], float],
    ) -> None:
        self._issuer = issuer
        self._key = key
        self._clients = clients
        self._token_lifetime = token_lifetime
        self._refresh_lifetime = refresh_lifetime
        self._clock = clock
        self._grants: dict[str, _Grant] = {}

    def code(self, request: AuthorizationRequest, session: Session) -> str:
        """Return a code with which the client can fetch its tokens once."""
        now = self._clock()
        self._grants = {key: grant for key, grant in self._grants.items() if now < grant.expires}
        grant_id = secrets.token_urlsafe(16)
        grant = _Grant(request, session, "authorization_code", _credential(grant_id), now + CODE_LIFETIME)
        self._grants[grant_id] = grant
        return grant.credential

    def logged_in(self, client: Client, session: Session) -> dict[str, Any]:
        """Return the tokens that a client has of somebody who has just logged in, without their browser."""
        request = AuthorizationRequest(client, client.redirect_uris[0], SCOPES, "", None, frozenset(), None)
        grant_id = secrets.token_urlsafe(16)
        grant = self._grants[grant_id] = _Grant(request, session, "refresh_token", "", 0.0)
        return self._continued(grant_id, grant, SCOPES)

    def tokens(self, form: Mapping[str, str], authorization: str = "") -> dict[str, Any]:
        """Answer a token request (RFC 6749 §5.1).

        Args:
            form: The request's parameters.
            authorization: Its Authorization header.

        Raises:
            Refusal: The error answer of RFC 6749 §5.2.
        """
        client = self._clients.authenticated(form, authorization)
        kind = form.get("grant_type", "")
        if kind not in GRANTS:
            error = "unsupported_grant_type" if kind else "invalid_request"
            raise Refusal(error, f"The grant_type must be one of {', '.join(GRANTS)}.")
        if kind not in client.grants:
            raise Refusal("unauthorized_client", "This client may not use this grant_type.")
        if kind == "client_credentials":
            # FirecREST reads the account from preferred_username.
            return self._answer(client, client.name, known_scopes(form))
        if kind == "authorization_code":
            return self._from_code(client, form)
        return self._from_refresh_token(client, form)

    def asker(self, form: Mapping[str, str], authorization: str = "") -> tuple[str, str]:
        """Return a token request's grant type and the name in its token, each "" if it can't be told."""
        kind = form.get("grant_type", "")
        if kind == "client_credentials":
            client = self._clients.named(form, authorization)
            return kind, client.name if client else ""
        credential = form.get("code" if kind == "authorization_code" else "refresh_token", "")
        grant = self._grants.get(credential.partition(".")[0])
        return kind, grant.session.user if grant else ""

    def expire_refresh_tokens(self, user: str | None = None) -> None:
        """End the time of the refresh tokens of a user, or of all; access tokens stay good."""
        for grant in self._grants.values():
            if grant.kind == "refresh_token" and user in (None, grant.session.user):
                grant.expires = self._clock()

    def claims(self, access_token: str) -> dict[str, Any]:
        """Return what the userinfo endpoint tells about an access token's owner.

        Raises:
            Refusal: The error answer of RFC 6750 §3.1.
        """
        try:
            claims = self._key.read(access_token, issuer=self._issuer, audience=AUDIENCE)
        except jwt.InvalidTokenError:
            raise Refusal("invalid_token", "The access token is not valid here.", status=401) from None
        if claims["exp"] <= self._clock():
            raise Refusal("invalid_token", "The access token has expired.", status=401)
        if "openid" not in claims["scope"].split():
            raise Refusal("insufficient_scope", "The access token lacks the scope openid.", status=403)
        return {name: claims[name] for name in ("sub", "preferred_username")}

    def _from_code(self, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        grant_id, grant = self._redeem(client, "authorization_code", form.get("code", ""))
        request = grant.request
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if form.get("redirect_uri") != request.redirect_uri or challenge != request.challenge:
            # Whoever doesn't know what the code was asked with has stolen it.
            del self._grants[grant_id]
            raise Refusal("invalid_grant", "The redirect_uri or the code_verifier is not the code's.")
        return self._continued(grant_id, grant, request.scopes, nonce=request.nonce)

    def _from_refresh_token(self, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        grant_id, grant = self._redeem(client, "refresh_token", form.get("refresh_token", ""))
        granted = grant.request.scopes
        scopes = tuple(form.get("scope", "").split()) or granted
        if not set(scopes) <= set(granted):
            raise Refusal("invalid_scope", "More is asked for than was granted.")
        return self._continued(grant_id, grant, scopes)

    def _redeem(self, client: Client, kind: str, credential: str) -> tuple[str, _Grant]:
        """Find the grant that a code or a refresh token stands for.

        One that comes a second time was copied: the whole grant ends (RFC 6749 §4.1.2, RFC 9700 §4.14.2).
        """
        grant_id = credential.partition(".")[0]
        grant = self._grants.get(grant_id)
        if grant is not None and grant.request.client == client:
            current = self._clock() < grant.expires and grant.kind == kind
            if current and hmac.compare_digest(credential.encode(), grant.credential.encode()):
                return grant_id, grant
            del self._grants[grant_id]
        raise Refusal("invalid_grant", "It is unknown, has expired, or was used before.")

    def _continued(
        self, grant_id: str, grant: _Grant, scopes: tuple[str, ...], nonce: str | None = None
    ) -> dict[str, Any]:
        """Answer with a person's tokens, and make the grant's next refresh token the only good one."""
        client, session = grant.request.client, grant.session
        grant.kind, grant.credential = "refresh_token", _credential(grant_id)
        grant.expires = self._clock() + self._refresh_lifetime
        answer = self._answer(client, session.user, scopes)
        if "refresh_token" in client.grants:
            answer["refresh_token"] = grant.credential
        if "openid" in scopes:
            claims = {**self._about(client, session.user), "aud": client.id, "auth_time": int(session.since)}
            answer["id_token"] = self._key.sign(claims if nonce is None else {**claims, "nonce": nonce})
        return answer

    def _answer(self, client: Client, user: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        scope = " ".join(scopes)
        jti = secrets.token_urlsafe(16)
        claims = {**self._about(client, user), "aud": AUDIENCE, "azp": client.id, "jti": jti, "scope": scope}
        return {
            "access_token": self._key.sign(claims),
            "token_type": "Bearer",
            "expires_in": self._lifetime(client),
            "scope": scope,
        }

    def _lifetime(self, client: Client) -> int:
        return int(self._token_lifetime if client.token_lifetime is None else client.token_lifetime)

    def _about(self, client: Client, user: str) -> dict[str, Any]:
        """Return the claims that access and ID tokens share (RFC 9068 §2.2, OpenID Connect Core §2)."""
        now = int(self._clock())
        return {
            "iss": self._issuer,
            "sub": user,
            "preferred_username": user,
            "iat": now,
            "exp": now + self._lifetime(client),
        }


def _credential(grant_id: str) -> str:
    """Return a new code or refresh token; the grant's id in it tells a used one from a made-up one."""
    return f"{grant_id}.{secrets.token_urlsafe(32)}"
