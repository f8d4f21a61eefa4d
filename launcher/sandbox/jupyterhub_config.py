"""JupyterHub's configuration in the sandbox. What differs from run to run comes from the environment."""

import json
import os

from traitlets.config import get_config

from launcher.firecrest.tokens import refresh_user

c = get_config()
_PREFIX = "LAUNCHER_SANDBOX_"
site = {
    name.removeprefix(_PREFIX).lower(): value
    for name, value in os.environ.items()
    if name.startswith(_PREFIX)
}

c.JupyterHub.bind_url = site["local_url"]
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{site['hub_port']}"
c.JupyterHub.db_url = f"sqlite:///{site['directory']}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{site['directory']}/cookie_secret"

# The proxy is a program of its own, so that a restart of the hub cuts nobody's connection.
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{site['proxy_api_port']}"
# Servers report their activity themselves. To read it out of the proxy, too, keeps everybody waiting for some
# two milliseconds a server.
c.JupyterHub.last_activity_interval = 0

# The demo alone stops everybody's servers when it ends; a site's hub must leave them running.
c.JupyterHub.cleanup_servers = True
# No limit: a server whose job waits in the queue is a pending start, and so many waiting jobs as a limit
# allows would lock everybody else out.
c.JupyterHub.concurrent_spawn_limit = 0

c.JupyterHub.authenticator_class = "oauthenticator.generic.GenericOAuthenticator"
c.GenericOAuthenticator.client_id = site["client_id"]
c.GenericOAuthenticator.client_secret = os.environ["OAUTH_CLIENT_SECRET"]
c.GenericOAuthenticator.oauth_callback_url = f"{site['url'].rstrip('/')}/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = f"{site['issuer']}/authorize"
c.GenericOAuthenticator.token_url = f"{site['issuer']}/token"
c.GenericOAuthenticator.userdata_url = f"{site['issuer']}/userinfo"
c.GenericOAuthenticator.logout_redirect_url = f"{site['issuer']}/logout"
c.GenericOAuthenticator.scope = ["openid", "profile"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.login_service = "the sandbox"
c.GenericOAuthenticator.enable_auth_state = True
c.GenericOAuthenticator.refresh_user_hook = refresh_user
c.GenericOAuthenticator.auth_refresh_age = 60
# A start renews tokens itself and, where a log-in has expired, shows a link to log in again; the hub's own
# look before each start would show an error.
c.GenericOAuthenticator.refresh_pre_spawn = False
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {site["admin"]} - {""}

c.JupyterHub.spawner_class = "launcher"
c.LauncherSpawner.cluster_files = [site["cluster_file"]]
# Above the longest queue, because a start takes as long as its job waits: those ahead may run for 4 hours.
c.LauncherSpawner.start_timeout = 5 * 3600
# Only a safety net: servers say themselves that they live and that they end. The jitter spreads these looks,
# so that a hub that comes back does not take them all at the same moment.
c.LauncherSpawner.poll_interval = 300
c.LauncherSpawner.poll_jitter = 0.5
# No limit: with one, the hub ends itself after so many starts in a row that timed out or met an error of the
# hub's own, and a queue that is full for long is enough for that.
c.LauncherSpawner.consecutive_failure_limit = 0
# Compute nodes reach the hub through its public URL, as on a real site. There it must be https, because
# tickets and API tokens travel to it; here nothing leaves this machine.
c.LauncherSpawner.hub_connect_url = site["local_url"].rstrip("/")
# Jobs and servers of this machine are quick to end, and to answer.
c.LauncherSpawner.stop_timeout = 15
c.LauncherSpawner.http_timeout = 10

for name, traits in json.loads(os.environ["TRAITS"]).items():
    c[name].update(traits)
