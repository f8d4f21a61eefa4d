"""The hub's half: a JupyterHub spawner whose servers are Slurm jobs submitted through FirecREST.

Importing it adds to the hub's API what compute nodes need, `/hub/api/launcher/claim` and
`/hub/api/launcher/events`; for admins the page `/hub/launcher/clusters`, and as JSON
`/hub/api/launcher/clusters` and `/hub/api/launcher/launches`; to its pages, for everybody, the form's script
and style sheet. In a hub that starts, cluster files are looked at from then on.
"""

from jupyterhub import __version__ as _version
from jupyterhub import version_info as _version_info
from jupyterhub.apihandlers import default_handlers as _default_handlers

if _version_info[0] < 6:
    raise SystemExit(
        f"firecrest-launcher's spawner needs JupyterHub 6 or newer at the hub; this is {_version}. "
        "Compute nodes may run 5.5.1 or newer."
    )

from launcher.form.files import HANDLERS as _FORM_FILES
from launcher.spawner.admin_page import HANDLERS as _ADMIN_HANDLERS
from launcher.spawner.handlers import HANDLERS as _HANDLERS
from launcher.spawner.spawner import LauncherSpawner

# A request is compared with one handler after the other, and nodes send most of them.
_default_handlers[:0] = _HANDLERS
_default_handlers.extend(_ADMIN_HANDLERS + _FORM_FILES)

__all__ = ["LauncherSpawner"]
