"""The provider's HTTP answers."""

import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest, url_concat
from tornado.web import Application, HTTPError, RequestHandler

from launcher.sandbox.faults import Answer, Asked
from launcher.sandbox.identity.authority import GRANTS, Authority
from launcher.sandbox.identity.clients import SCOPES, AuthorizationRequest, Clients, Refusal, parameters
from launcher.sandbox.identity.faults import Faults
from launcher.sandbox.identity.keys import ALGORITHM
from launcher.sandbox.identity.sessions import Sessions
from launcher.sandbox.serving import Handling, respond

log = logging.getLogger(__name__)

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Parts:
    """What the handlers work with."""

    issuer: str
    jwks: dict[str, Any]
    clients: Clients
    sessions: Sessions
    authority: Authority
    requests: Counter[str]
    token_requests: Counter[tuple[str, str]]
    faults: Faults
    handling: Handling
    clock: Callable[[], float]

    def cookie(self, purpose: str) -> str:
        """Return a cookie's name; it holds the port, as all ports of a host share their cookies."""
        return f"sandbox-identity-{self.issuer.rpartition(':')[2]}-{purpose}"


def application(parts: Parts) -> Application:
    """Return the provider as a tornado application."""
    routes = [
        ("/.well-known/openid-configuration", Discovery),
        ("/jwks", Keys),
        ("/authorize", Authorize),
        ("/token", Token),
        ("/userinfo", UserInfo),
        ("/logout", Logout),
    ]
    return Application(
        [(path, handler, {"parts": parts}) for path, handler in routes],
        template_path=str(Path(__file__).parent / "pages"),
        # One called `_xsrf` could hide the hub's own.
        xsrf_cookie_name=parts.cookie("form"),
        xsrf_cookie_kwargs={"path": "/authorize", "httponly": True, "samesite": "Lax"},
        log_function=_log_request,
    )


def _form(request: HTTPServerRequest) -> dict[str, str]:
    if not request.headers.get("Content-Type", "").startswith(_FORM):
        raise Refusal("invalid_request", f"The body must be {_FORM}.")
    return parameters(request.body.decode(errors="replace"))


def _log_request(handler: RequestHandler) -> None:
    """Log without the query: it may hold an ID token."""
    log.info("%s %s: %d", handler.request.method, handler.request.path, handler.get_status())


class _Handler(RequestHandler):
    def initialize(self, parts: Parts) -> None:
        self.parts = parts

    def prepare(self) -> None:
        self.parts.requests[self.request.path] += 1

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")

    def refuse(self, refusal: Refusal, challenge: str) -> None:
        """Answer with an OAuth error in JSON."""
        self.set_status(refusal.status)
        self.set_header("WWW-Authenticate", challenge)
        self.finish(refusal.fields)


class _Page(_Handler):
    def show(self, template: str, *, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> None:
        """Answer with a page that runs nothing and fits in no frame."""
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; "
        self.set_header("Content-Security-Policy", policy + "frame-ancestors 'none'")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_status(status)
        self.render(template, nonce=nonce, **values)

    @property
    def session_id(self) -> str:
        """What the browser says its session is."""
        return self.get_cookie(self.parts.cookie(self.request.path[1:])) or ""

    def remember(self, session_id: str) -> None:
        """Have the browser keep its session, or forget it if that is empty.

        There is one cookie for each path that needs it: the hub, and all that it proxies, would be sent
        one for every path.
        """
        for page in ("authorize", "logout"):
            name, path = self.parts.cookie(page), f"/{page}"
            if session_id:
                self.set_cookie(name, session_id, path=path, httponly=True, samesite="Lax")
            else:
                self.clear_cookie(name, path=path)


class Discovery(_Handler):
    """OpenID Connect Discovery 1.0 §3."""

    def get(self) -> None:
        """Answer with the provider's metadata."""
        issuer = self.parts.issuer
        self.finish(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "jwks_uri": f"{issuer}/jwks",
                "end_session_endpoint": f"{issuer}/logout",
                "scopes_supported": SCOPES,
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": GRANTS,
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "preferred_username"],
                "request_uri_parameter_supported": False,
            }
        )


class Keys(_Handler):
    """RFC 7517 §5."""

    def get(self) -> None:
        """Answer with the public key set."""
        self.finish(self.parts.jwks)


class Authorize(_Page):
    """The authorization endpoint, which is also the log-in page (OpenID Connect Core §3.1.2)."""

    def get(self) -> None:
        """Send the browser back with a code, or ask for the password first."""
        request = self._checked()
        if request is None:
            return
        session = self.parts.sessions.find(self.session_id)
        if session and request.accepts(session, self.parts.clock()):
            self._return(code=self.parts.authority.code(request, session))
        elif "none" in request.prompt:
            self._return(error="login_required", error_description="Nobody is logged in.")
        else:
            self._ask(request)

    def post(self) -> None:
        """Check the password and send the browser back with a code."""
        request = self._checked()
        if request is None:
            return
        user = self.get_body_argument("username", "")
        try:
            self.check_xsrf_cookie()
        except HTTPError:
            self._ask(request, user, problem="This page had expired. Please log in again.")
            return
        sessions = self.parts.sessions
        session_id = sessions.log_in(user, self.get_body_argument("password", "", strip=False))
        session = sessions.find(session_id or "")
        if session_id is None or session is None:
            self._ask(request, user, problem="Wrong user name or password.")
            return
        sessions.log_out(self.session_id)
        self.remember(session_id)
        self._return(code=self.parts.authority.code(request, session))

    def _checked(self) -> AuthorizationRequest | None:
        """Return the request that the query makes; None if it was refused, and answered."""
        try:
            query = parameters(self.request.query)
            self._destination = self.parts.clients.destination(query)
        except Refusal as refusal:
            self.show(
                "message.html",
                status=HTTPStatus.BAD_REQUEST,
                title="This log-in can't go on",
                text=refusal.description,
                todo="Go back to the site you came from and try again. If it happens again, "
                "the site is not registered here as it should be.",
            )
            return None
        self._state = query.get("state")
        try:
            return self.parts.clients.authorization_request(query)
        except Refusal as refusal:
            self._return(error=refusal.error, error_description=refusal.description)
            return None

    def _return(self, **answer: str) -> None:
        """Send the browser back to the client; 303, so that the password isn't sent on (RFC 9700 §4.12)."""
        if self._state is not None:
            answer["state"] = self._state
        self.redirect(url_concat(self._destination, answer), status=HTTPStatus.SEE_OTHER)

    def _ask(self, request: AuthorizationRequest, user: str = "", problem: str = "") -> None:
        status = HTTPStatus.FORBIDDEN if problem else HTTPStatus.OK
        self.show("login.html", status=status, client=request.client.id, user=user, problem=problem)


class Token(_Handler):
    """The token endpoint (RFC 6749 §3.2)."""

    async def post(self) -> None:
        """Exchange a code, a refresh token or a client's own secret for tokens."""
        parts, path = self.parts, self.request.path
        authorization = self.request.headers.get("Authorization", "")
        form: dict[str, str] | Refusal
        try:
            form = _form(self.request)
            asker = parts.authority.asker(form, authorization)
        except Refusal as refusal:
            form, asker = refusal, ("", "")
        parts.token_requests[asker] += 1

        async def exchange() -> Answer:
            try:
                if isinstance(form, Refusal):
                    raise form
                return Answer(200, parts.authority.tokens(form, authorization))
            except Refusal as refusal:
                if refusal.error == "invalid_client":
                    self.set_header("WWW-Authenticate", 'Basic realm="sandbox"')
                return Answer(refusal.status, refusal.fields)

        await respond(self, Asked("POST", path, path, asker[1], exchange), parts.faults, parts.handling)


class UserInfo(_Handler):
    """The userinfo endpoint (OpenID Connect Core §5.3)."""

    def get(self) -> None:
        """Tell whose the access token is."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        try:
            self.finish(self.parts.authority.claims(token.strip() if scheme.lower() == "bearer" else ""))
        except Refusal as refusal:
            self.refuse(refusal, f'Bearer realm="sandbox", error="{refusal.error}"')

    def post(self) -> None:
        """Do the same, as OpenID Connect asks."""
        self.get()


class Logout(_Page):
    """OpenID Connect RP-Initiated Logout 1.0 §2."""

    def get(self) -> None:
        """End the browser's session; tokens that clients already hold stay good."""
        self.parts.sessions.log_out(self.session_id)
        self.remember("")
        address = self.get_argument("post_logout_redirect_uri", "")
        if self.parts.clients.may_return_after_logout(address):
            state = self.get_argument("state", None)
            answer = {} if state is None else {"state": state}
            self.redirect(url_concat(address, answer), status=HTTPStatus.SEE_OTHER)
            return
        self.show(
            "message.html",
            status=HTTPStatus.BAD_REQUEST if address else HTTPStatus.OK,
            title="You are logged out",
            text="The address to go on to is not registered, so the journey ends here." if address else "",
            todo="You can close this page.",
        )

    def post(self) -> None:
        """Do the same, as OpenID Connect asks."""
        self.get()
