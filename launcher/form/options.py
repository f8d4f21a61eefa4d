"""What a user asks for: the form, and the check of whatever comes from a form, a link or the REST API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import List, Unicode, default
from traitlets.config import LoggingConfigurable

from launcher.clusters import Cluster, ClusterFile, LaunchRequest, options_from_form, parse_options
from launcher.clusters.offer import Offer
from launcher.errors import InvalidOptions
from launcher.firecrest.jobs import Access
from launcher.form.accounts import AccountBook
from launcher.form.files import static_url
from launcher.form.last_session import LastSessions
from launcher.form.page import Offered, form_variables
from launcher.form.sent import CLUSTER, SENT, NothingChosenError, Sent, sent_options
from launcher.form.template import FormTemplate
from launcher.words import failure


@dataclass(frozen=True)
class Chosen:
    """What a user may have.

    Attributes:
        version: The chosen cluster's file, as it was when the options were checked.
        request: The launch; its options do not name the cluster.
    """

    version: ClusterFile
    request: LaunchRequest

    @property
    def options(self) -> dict[str, Any]:
        """The options that `UserOptions.choose` takes again."""
        return {CLUSTER: self.version.cluster.name, **self.request.options}


class UserOptions(LoggingConfigurable):
    """The part of a spawner that knows what its user may ask for, and has asked for."""

    user: Any
    name: Any
    hub: Any
    orm_spawner: Any

    cluster_files = List(
        Unicode(),
        help="""
        Paths of the cluster files. A directory stands for all `*.yaml` in it when the hub starts. With
        several, users choose; the first is chosen at first.
        """,
    ).tag(config=True)

    _chosen: Chosen | None = None

    @property
    def _offer(self) -> Offer:
        return Offer.of(self.user.settings, self.cluster_files, self.log)

    def version_of(self, cluster_name: str) -> ClusterFile:
        """Return the version of a cluster's file that is in use.

        Raises:
            InvalidFile: If there is none.
        """
        return self._offer.version_of(cluster_name)

    def choose(self, options: Any, *, from_link: bool = False) -> Chosen:
        """Check options from a form, the REST API, a link or an earlier start.

        Args:
            options: What came in, with the name of the cluster; without it the first is meant.
            from_link: Whether they come from a link, which may choose only what the cluster file lists.

        Raises:
            InvalidOptions: With what is wrong, by field.
            InvalidFile: If no cluster can be chosen.
        """
        name = None
        if isinstance(options, Mapping):
            options = dict(options)
            name = options.pop(CLUSTER, None)
        version = self._offer.choose(name)
        request = parse_options(
            version.cluster,
            options,
            user=self.cluster_user,
            accounts=self._accounts.known(self.user, version.cluster),
            from_link=from_link,
        )
        return Chosen(version, request)

    def checked(self, options: Any) -> Chosen | None:
        """Check the options of a start; return None for one that goes on with what was checked before."""
        return self.choose(options)

    @property
    def cluster_user(self) -> str:
        """The user's name on the clusters."""
        return Access.of(self.user.settings).identity(self.user).name or str(self.user.name)

    @property
    def _accounts(self) -> AccountBook:
        return AccountBook.of(self.user.settings)

    async def get_options_form(self) -> str:
        """Return the form, filled in with what was just sent, or else with what was chosen last."""
        with failure.shown():
            usable = self._offer.usable.values()
            offered = await asyncio.gather(*(self._offered(version.cluster) for version in usable))
        variables = form_variables(
            offered,
            self.cluster_user,
            now=datetime.now(UTC),
            withheld=self._offer.withheld,
            admin=self.user.admin,
            remembered=self.orm_spawner.user_options,
            sent=SENT.get(),
            ended=LastSessions.of(self.user.settings).told(self.user, self.name),
        )
        variables["style_url"] = static_url(self.hub.base_url, "form.css")
        variables["script_url"] = static_url(self.hub.base_url, "form.js")
        return FormTemplate.of(self.user.settings, self.log).render(variables, admin=self.user.admin)

    async def _offered(self, cluster: Cluster) -> Offered:
        jobs = Access.of(self.user.settings).jobs(cluster, self.user)
        return Offered(cluster, *await self._accounts.ask(self.user, cluster, jobs.accounts))

    @default("options_from_form")
    def _options_from_form(self) -> Any:
        def check(form: Mapping[str, list[Any]]) -> dict[str, Any]:
            options = sent_options(form, self._offer.first)
            with _sent(options):
                return self.choose(options).options

        return check

    def options_from_query(self, query_data: Mapping[str, list[Any]]) -> dict[str, Any]:
        """Return the options that a link chooses; JupyterHub starts the server with them at once."""
        options = options_from_form(query_data)
        if not options:
            raise NothingChosenError
        with _sent({}):
            cluster = self._offer.choose(options.get(CLUSTER)).cluster
        # What a link may not choose is not filled in either: one press of Start would choose it.
        fillable = {CLUSTER, *cluster.links}
        with _sent({name: value for name, value in options.items() if name in fillable}):
            if options.keys() == {CLUSTER}:
                raise NothingChosenError
            return self.choose(options, from_link=True).options

    @default("apply_user_options")
    def _apply_user_options(self) -> Any:
        def apply(_: Spawner, options: Mapping[str, Any]) -> None:
            self._chosen = None
            with failure.shown():
                self._chosen = self.checked(options)

        return apply


@contextmanager
def _sent(shown: Mapping[str, Any]) -> Iterator[None]:
    """Keep what a page sent, and what is wrong with it, for the form that JupyterHub answers with."""
    SENT.set(Sent(shown))
    with failure.shown():
        try:
            yield
        except InvalidOptions as error:
            SENT.set(Sent(shown, error.fields))
            refused = failure.from_error(error)
            # The form itself says it, beside the fields.
            refused.jupyterhub_message = refused.jupyterhub_html_message = ""
            raise refused from None
