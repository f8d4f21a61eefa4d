"""What a user asks for: the form, and the check of whatever comes from a form, a link or the REST API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import Unicode, default
from traitlets.config import LoggingConfigurable

from launcher.clusters import Cluster, ClusterFile, LaunchRequest, options_from_form, parse_options
from launcher.errors import InvalidOptions
from launcher.spawner import failure
from launcher.spawner.accounts import AccountBook
from launcher.spawner.cluster_file import LiveClusterFile
from launcher.spawner.form import SENT, NothingChosenError, Sent, form_variables
from launcher.spawner.form_files import static_url
from launcher.spawner.form_template import FormTemplate
from launcher.spawner.jobs import UserJobs


class UserOptions(LoggingConfigurable):
    """The part of a spawner that knows what its user may ask for, and has asked for."""

    user: Any
    hub: Any
    orm_spawner: Any

    cluster_file = Unicode(help="Path of the cluster file.").tag(config=True)

    _request: LaunchRequest | None = None
    _version: ClusterFile | None = None

    @property
    def live_cluster_file(self) -> LiveClusterFile:
        """The cluster file, which follows its edits."""
        return LiveClusterFile.of(self.user.settings, Path(self.cluster_file), self.log)

    @property
    def cluster(self) -> Cluster:
        """What the cluster file says now, or said when it last was without a mistake."""
        return self.live_cluster_file.current.cluster

    def _parse(self, options: Any, *, from_link: bool = False) -> LaunchRequest:
        cluster = self.cluster
        accounts = self._accounts.known(self.user, cluster)
        return parse_options(cluster, options, user=self.user.name, accounts=accounts, from_link=from_link)

    @property
    def _accounts(self) -> AccountBook:
        return AccountBook.of(self.user.settings)

    async def get_options_form(self) -> str:
        """Return the form, filled in with what was just sent, or else with what was chosen last."""
        with failure.shown():
            cluster = self.cluster
            jobs = UserJobs(cluster, self.user)
            accounts, problem = await self._accounts.ask(self.user, cluster, jobs.accounts)
        variables = form_variables(
            cluster,
            self.user.name,
            now=datetime.now(UTC),
            accounts=accounts,
            accounts_problem=problem,
            remembered=self.orm_spawner.user_options,
            sent=SENT.get(),
        )
        variables["style_url"] = static_url(self.hub.base_url, "form.css")
        variables["script_url"] = static_url(self.hub.base_url, "form.js")
        return FormTemplate.of(self.user.settings, self.log).render(variables, admin=self.user.admin)

    @default("options_from_form")
    def _options_from_form(self) -> Any:
        return lambda form: self._from_page(options_from_form(form))

    def options_from_query(self, query_data: Mapping[str, list[Any]]) -> dict[str, Any]:
        """Return the options that a link chooses; JupyterHub starts the server with them at once."""
        options = options_from_form(query_data)
        if not options:
            raise NothingChosenError
        return self._from_page(options, from_link=True)

    def _from_page(self, options: dict[str, Any], *, from_link: bool = False) -> dict[str, Any]:
        """Check what a page sent, and keep it for the form that JupyterHub shows if nothing comes of it."""
        with failure.shown():
            links = self.cluster.links
            # What a link may not choose is not filled in either: one press of Start would choose it.
            shown = {name: value for name, value in options.items() if not from_link or name in links}
            SENT.set(Sent(shown))
            try:
                return dict(self._parse(options, from_link=from_link).options)
            except InvalidOptions as error:
                SENT.set(Sent(shown, error.fields))
                refused = failure.from_error(error)
                # The form itself says it, beside the fields.
                refused.jupyterhub_message = refused.jupyterhub_html_message = ""
                raise refused from None

    @default("apply_user_options")
    def _apply_user_options(self) -> Any:
        def apply(_: Spawner, options: Mapping[str, Any]) -> None:
            self._request = None
            with failure.shown():
                self._version = self.live_cluster_file.current
                self._request = self._parse(options)

        return apply
