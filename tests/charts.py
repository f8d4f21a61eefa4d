"""What two Helm charts make of their values, without Helm.

Both are read from the charts' templates: neither evaluates a value again as a template. Only what a hub
gets to see is imitated: its script and its files; PyYAML stands for the parsers on the way.
"""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path
from typing import Any

import yaml

F7T4JHUB_SPAWNER = set(
    "host partition reservation constraint srun cmd prelaunchCmds workdir jobName port nodeNameTemplate "
    "customStateGetHost http_timeout start_timeout optionsForm".split()
)
"""All of them stand in the chart's script without a default."""

_F7T4JHUB = """\
import os
from oauthenticator.generic import GenericOAuthenticator

c = get_config()
c.Authenticator.allow_all = True
c.Authenticator.auth_refresh_age = 250
c.Authenticator.enable_auth_state = True
c.CryptKeeper.keys = ["0" * 64]
c.JupyterHub.authenticator_class = GenericOAuthenticator
c.GenericOAuthenticator.client_id = os.environ.get("KC_CLIENT_ID", "<client-id>")
c.GenericOAuthenticator.client_secret = os.environ.get("KC_CLIENT_SECRET", "<client-secret>")
c.GenericOAuthenticator.oauth_callback_url = "{callback}"
c.GenericOAuthenticator.authorize_url = "{provider}/authorize"
c.GenericOAuthenticator.token_url = "{provider}/token"
c.GenericOAuthenticator.userdata_url = "{provider}/userinfo"
c.GenericOAuthenticator.username_key = "preferred_username"
c.GenericOAuthenticator.scope = ["openid", "profile", "firecrest"]
c.JupyterHub.spawner_class = "firecrestspawner.spawner.SlurmSpawner"
c.Spawner.req_host = '{host}'
c.Spawner.req_reservation = "{reservation}"
c.Spawner.req_constraint = "{constraint}"
c.Spawner.node_name_template = '{nodeNameTemplate}'
c.Spawner.req_partition = '{partition}'
c.Spawner.req_srun = '{srun}'
c.Spawner.workdir = '{workdir}'
c.Spawner.batch_script = \"\"\"#!/bin/bash
#SBATCH --job-name={jobName}
{prelaunchCmds}
export JUPYTERHUB_API_URL="http://hub.example.org/hub/api"
\"\"\"
c.Spawner.custom_state_gethost = {customStateGetHost}
c.Spawner.cmd = '{cmd}'
c.Spawner.http_timeout = {http_timeout}
c.Spawner.options_form = \"\"\"
{optionsForm}
\"\"\"
def spawner_options_form(formdata, spawner):
    return formdata

c.Spawner.options_from_form = spawner_options_form
c.Spawner.poll_interval = 300
c.Spawner.port = {port}
c.Spawner.start_timeout = {start_timeout}
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.auth_token = os.environ["CONFIGPROXY_AUTH_TOKEN"]
c.ConfigurableHTTPProxy.api_url = "{proxy_api}"

{extraConfig}
"""

_Z2JH = """\
import os

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.ConfigurableHTTPProxy.api_url = {proxy_api!r}
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.concurrent_spawn_limit = 64
c.Spawner.consecutive_failure_limit = 5
c.CryptKeeper.keys = ["0" * 64]
for app, cfg in {config!r}.items():
    c[app].update(cfg)
for key, config_py in sorted({extra!r}.items()):
    exec(config_py)
"""


def f7t4jhub(
    values: dict[str, Any],
    callback: str = "https://hub.example.org/hub/oauth_callback",
    proxy_api: str = "http://127.0.0.1:8001",
    provider: str = "https://login.example.org",
) -> str:
    """Return the script that the chart makes, once it went through its ConfigMap."""
    config = values["config"]
    site = {"callback": callback, "proxy_api": proxy_api, "provider": provider}
    script = _F7T4JHUB.format(**config["spawner"], extraConfig=config["extraConfig"], **site)
    indented = "\n" + "".join(f"    {line}\n" for line in script.split("\n"))
    manifest = f"data:\n  jupyterhub-config: |\n    {indented}\n"
    return str(yaml.safe_load(manifest)["data"]["jupyterhub-config"])


def z2jh(values: dict[str, Any], proxy_api: str = "http://127.0.0.1:8001") -> str:
    """Return what the chart's script does with values, which come to it through a Secret."""
    hub = yaml.safe_load(yaml.safe_dump(values))["hub"]
    return _Z2JH.format(proxy_api=proxy_api, config=hub["config"], extra=hub["extraConfig"])


def z2jh_files(values: dict[str, Any]) -> dict[Path, bytes]:
    """Return what lies at which path once the chart has made its Secret of hub.extraFiles."""
    found = {}
    for key, file in values["hub"]["extraFiles"].items():
        if "stringData" in file:
            text = textwrap.indent(file["stringData"].removesuffix("\n"), "  ", lambda _: True)
            content = yaml.safe_load(f'stringData:\n  "{key}": |\n' + textwrap.indent(text, "  ") + "\n")
            found[Path(file["mountPath"])] = content["stringData"][key].encode()
        else:
            found[Path(file["mountPath"])] = base64.b64decode("".join(file["binaryData"].split()))
    return found
