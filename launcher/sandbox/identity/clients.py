"""Who may ask the provider for what: OAuth 2.0 (RFC 6749) and OpenID Connect Core 1.0, the requests' half.

Only what RFC 9700 recommends is on offer: codes with PKCE S256, rotated refresh tokens, client
credentials. A general provider library has the older options too, each to be switched off again.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from launcher.sandbox.identity.sessions import Session

SCOPES = ("openid", "profile")
"""What can be asked for; other scopes are ignored, as OpenID Connect Core §3.1.2.1 recommends."""

_S256_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_SECONDS = re.compile(r"[0-9]{1,9}")


class Refusal(Exception):
    """An error answer of RFC 6749 (§4.1.2.1, §5.2) or RFC 6750 (§3.1).

    Args:
        error: The code that the specification defines.
        description: A sentence for the client's developer; it repeats nothing that was sent.
        status: The HTTP status, where the answer isn't a redirect.
    """

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status

    @property
    def fields(self) -> dict[str, str]:
        """The answer's JSON."""
        return {"error": self.error, "error_description": self.description}


@dataclass(frozen=True)
class Client:
    """A program that is registered with the provider.

    Attributes:
        id: Its public name.
        secret: Its password.
        redirect_uris: Where codes may be sent; matched exactly. May be empty for a service account.
        grants: The values of `grant_type` that it may use.
        post_logout_redirect_uris: Where a browser may be sent after logging out; matched exactly.
        token_lifetime: Seconds for which its access tokens are good; None for the provider's usual.
        account: The name in the tokens that it gets for itself; "" for the one that Keycloak gives.
    """

    id: str
    secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    grants: frozenset[str] = frozenset({"authorization_code", "refresh_token"})
    post_logout_redirect_uris: tuple[str, ...] = ()
    token_lifetime: float | None = None
    account: str = ""

    @property
    def name(self) -> str:
        """The name in the tokens that it gets for itself."""
        return self.account or f"service-account-{self.id}"


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked request to log a person in (OpenID Connect Core §3.1.2.1).

    Attributes:
        client: Who asks.
        redirect_uri: Where the code goes.
        scopes: Those of `SCOPES` that were asked for.
        challenge: The PKCE challenge, S256 (RFC 7636 §4.2).
        nonce: Comes back in the ID token.
        prompt: `login` asks for the password in any case, `none` never.
        max_age: Seconds for which an earlier log-in is good enough, or None for any.
    """

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    nonce: str | None
    prompt: frozenset[str]
    max_age: int | None

    def accepts(self, session: Session, now: float) -> bool:
        """Tell whether this session will do, or the person must give the password again."""
        recent = self.max_age is None or now - session.since <= self.max_age
        return recent and "login" not in self.prompt


class Clients:
    """The registered clients, and what each may ask for."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self._clients = {client.id: client for client in clients}

    def destination(self, query: Mapping[str, str]) -> str:
        """Return the address that the answer to an authorization request goes to.

        Raises:
            Refusal: The client or the address isn't registered. The person must be told, and nothing may
                be redirected (RFC 6749 §4.1.2.1).
        """
        client = self._clients.get(query.get("client_id", ""))
        if client is None:
            raise Refusal("invalid_request", "The client_id is missing or not registered.")
        address = query.get("redirect_uri", "")
        if address not in client.redirect_uris:
            raise Refusal("invalid_request", "The redirect_uri is missing or not registered for this client.")
        return address

    def authorization_request(self, query: Mapping[str, str]) -> AuthorizationRequest:
        """Check an authorization request, whose answer, good or bad, goes to its `destination`.

        Raises:
            Refusal: What is wrong with it.
        """
        redirect_uri = self.destination(query)
        client = self._clients[query["client_id"]]
        _check_response(query)
        if "authorization_code" not in client.grants:
            raise Refusal("unauthorized_client", "This client may not ask for codes.")
        challenge = query.get("code_challenge", "")
        if query.get("code_challenge_method") != "S256" or not _S256_CHALLENGE.fullmatch(challenge):
            raise Refusal("invalid_request", "PKCE with code_challenge_method S256 is required.")
        prompt = frozenset(query.get("prompt", "").split())
        if "none" in prompt and len(prompt) > 1:
            raise Refusal("invalid_request", "The prompt none stands alone.")
        max_age = query.get("max_age")
        if max_age is not None and not _SECONDS.fullmatch(max_age):
            raise Refusal("invalid_request", "The max_age is not a number of seconds.")
        return AuthorizationRequest(
            client=client,
            redirect_uri=redirect_uri,
            scopes=known_scopes(query),
            challenge=challenge,
            nonce=query.get("nonce"),
            prompt=prompt,
            max_age=None if max_age is None else int(max_age),
        )

    def authenticated(self, form: Mapping[str, str], authorization: str) -> Client:
        """Return the client that proved itself by HTTP Basic or in the form (RFC 6749 §2.3.1).

        Args:
            form: A token request's parameters.
            authorization: Its Authorization header.

        Raises:
            Refusal: `invalid_client`; `invalid_request` if it tried both ways.
        """
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization:
            if secret:
                raise Refusal("invalid_request", "The client authenticates in two ways at once.")
            client_id, secret = _basic(authorization)
        client = self._clients.get(client_id)
        if client is None or not hmac.compare_digest(secret.encode(), client.secret.encode()):
            raise Refusal("invalid_client", "The client is not known, or its secret is wrong.", status=401)
        return client

    def named(self, form: Mapping[str, str], authorization: str) -> Client | None:
        """Return the client that a token request says it is of, proven or not."""
        return self._clients.get(_basic(authorization)[0] if authorization else form.get("client_id", ""))

    def may_return_after_logout(self, address: str) -> bool:
        """Tell whether a client registered this address for browsers that have logged out."""
        return any(address in client.post_logout_redirect_uris for client in self._clients.values())


def parameters(text: str) -> dict[str, str]:
    """Return the parameters of a query or a form.

    One without a value counts as absent, and none may come twice (RFC 6749 §3.1, §3.2).

    Raises:
        Refusal: `invalid_request`.
    """
    try:
        pairs = parse_qsl(text, max_num_fields=50)
    except ValueError:
        raise Refusal("invalid_request", "There are too many parameters.") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refusal("invalid_request", "A parameter is given more than once.")
    return found


def known_scopes(query: Mapping[str, str]) -> tuple[str, ...]:
    """Return the scopes asked for that exist; `profile` where there are none (RFC 6749 §3.3)."""
    asked = query.get("scope", "").split()
    return tuple(scope for scope in SCOPES if scope in asked) or ("profile",)


def _check_response(query: Mapping[str, str]) -> None:
    """Refuse what OpenID Connect lets a client ask for and this provider doesn't do."""
    for name in ("request", "request_uri"):
        if name in query:
            raise Refusal(f"{name}_not_supported", "Send the parameters themselves.")
    if "response_type" not in query:
        raise Refusal("invalid_request", "The response_type is missing.")
    if query["response_type"] != "code":
        raise Refusal("unsupported_response_type", "The only response_type is code.")
    if query.get("response_mode", "query") != "query":
        raise Refusal("invalid_request", "The only response_mode is query.")


def _basic(authorization: str) -> tuple[str, str]:
    """Return user and password of HTTP Basic, each form-encoded as RFC 6749 §2.3.1 asks."""
    scheme, _, value = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        user = password = ""
    return (unquote_plus(user), unquote_plus(password)) if scheme.lower() == "basic" else ("", "")
