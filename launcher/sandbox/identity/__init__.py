"""The sandbox's OpenID Connect provider: what a centre's Keycloak is to its JupyterHub and FirecREST.

It runs inside the process that makes it, keeps everything in memory, and listens on 127.0.0.1 only.
"""

from launcher.sandbox.identity.authority import AUDIENCE, REFRESH_LIFETIME
from launcher.sandbox.identity.clients import Client
from launcher.sandbox.identity.faults import Faults
from launcher.sandbox.identity.server import IdentityProvider

__all__ = ["AUDIENCE", "REFRESH_LIFETIME", "Client", "Faults", "IdentityProvider"]
