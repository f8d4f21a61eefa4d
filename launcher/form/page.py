"""The options form: what the clusters of a hub let a user choose, filled in, as its template sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from launcher.clusters import Cluster, UserAccounts, fields, parse_options
from launcher.clusters.fields import MAX_TYPED
from launcher.errors import InvalidOptions
from launcher.form.control import Control, Problem
from launcher.form.notices import Notice, accounts_unknown, last_session, notices, withheld_cluster
from launcher.form.sent import CLUSTER, Sent, sent_name
from launcher.words.ended import Ended


@dataclass(frozen=True)
class Offered:
    """A cluster that a user may choose.

    Attributes:
        cluster: What its file says.
        accounts: The user's accounts there, if they are known.
        accounts_problem: Why they are not.
    """

    cluster: Cluster
    accounts: UserAccounts | None = None
    accounts_problem: str = ""


@dataclass(frozen=True)
class Panel:
    """A cluster's part of the form.

    Attributes:
        cluster: What its file says.
        id: Id of what chooses it, where there are several.
        chosen: Whether it is chosen.
        notices: What its users are told.
        controls: The fields that most people need.
        advanced: The others.
    """

    cluster: Cluster
    id: str
    chosen: bool
    notices: Sequence[Notice]
    controls: Sequence[Control]
    advanced: Sequence[Control]

    @property
    def advanced_open(self) -> bool:
        """Whether something in `advanced` is wrong, or not as it is at first."""
        return any(control.error or control.changed for control in self.advanced)

    @property
    def all_controls(self) -> Sequence[Control]:
        """All fields, in the order of the form."""
        return [*self.controls, *self.advanced]


def form_variables(
    offered: Sequence[Offered],
    user: str,
    *,
    now: datetime,
    withheld: Sequence[str] = (),
    admin: bool = False,
    remembered: Any = None,
    sent: Sent | None = None,
    ended: Ended | None = None,
) -> dict[str, Any]:
    """Return what the form's template sees.

    Args:
        offered: The clusters to choose from, at least one.
        user: The user's name.
        now: The time, with a zone.
        withheld: Names of clusters that can't be offered now.
        admin: Whether the user may see why.
        remembered: The options of the user's last start; what is no longer possible is left out.
        sent: What the page sent that is being answered; it is shown as it was.
        ended: How the user's last session ended, if it did by itself.
    """
    several = len(offered) > 1
    given = sent.options if sent else remembered
    given = given if isinstance(given, Mapping) else {}
    names = [each.cluster.name for each in offered]
    meant = given.get(CLUSTER) or names[0]
    chosen = meant if meant in names else names[0]
    panels = []
    for position, each in enumerate(offered, 1):
        name = each.cluster.name
        own = {key: value for key, value in given.items() if key != CLUSTER} if name == meant else {}
        panels.append(
            _panel(
                each,
                user,
                now=now,
                position=position if several else 0,
                chosen=name == chosen,
                values=own if sent and name == meant else _possible(each, user, own),
                errors=sent.errors if sent and name == chosen else {},
            )
        )
    shown = next(panel for panel in panels if panel.chosen)
    told = [last_session(ended, now)] if ended else []
    told += [withheld_cluster(name, admin=admin) for name in withheld]
    variables = {
        "user": user,
        "panels": panels,
        "several": several,
        "notices": told,
        "problems": _problems(shown, sent.errors if sent else {}, several=several),
        "focus": next((control.id for control in shown.all_controls if control.error), ""),
    }
    if not several:
        # A site's own template that knows one cluster only can't be taken for one that knows several.
        variables |= {
            "cluster": shown.cluster,
            "notices": [*told, *shown.notices],
            "controls": shown.controls,
            "advanced": shown.advanced,
            "advanced_open": shown.advanced_open,
        }
    return variables


def _panel(
    offered: Offered,
    user: str,
    *,
    now: datetime,
    position: int,
    chosen: bool,
    values: Mapping[str, Any],
    errors: Mapping[str, str],
) -> Panel:
    """Return a cluster's part of the form; its position counts from 1, or is 0 if it is the only one."""
    cluster = offered.cluster
    titles = {each.id: each.name for each in cluster.environments}
    controls = []
    for field in fields(cluster, user, offered.accounts):
        if field.fixed:
            continue
        value = _shown(values[field.name]) if field.name in values else field.default
        if field.kind == "list" and all(value != option.value for option in field.options):
            value = field.default
        everywhere = not field.environments or set(field.environments) == titles.keys()
        controls.append(
            Control(
                field,
                id=f"launcher-{f'{position}-' if position else ''}{field.name.replace('_', '-')}",
                name=sent_name(cluster.name, field.name) if position else field.name,
                value=value,
                error=errors.get(field.name, ""),
                environments=() if everywhere else tuple(titles[each] for each in field.environments),
            )
        )
    told = list(notices(cluster, now))
    if offered.accounts_problem:
        told.append(accounts_unknown(offered.accounts_problem))
    return Panel(
        cluster,
        id=f"launcher-cluster-{position}",
        chosen=chosen,
        notices=told,
        controls=[control for control in controls if not control.field.advanced],
        advanced=[control for control in controls if control.field.advanced],
    )


def _problems(panel: Panel, errors: Mapping[str, str], *, several: bool) -> list[Problem]:
    """Return the summary of what is wrong: fields in the order of the form, then what it has no field for."""
    wrong = [control for control in panel.all_controls if control.error]
    problems = [Problem(control.error, control.field.label, control.id) for control in wrong]
    shown = {control.field.name for control in wrong}
    for name, text in errors.items():
        if name == CLUSTER:
            problems.append(Problem(text, "Cluster", panel.id if several else ""))
        elif name not in shown:
            problems.append(Problem(text, name))
    return problems


def _possible(offered: Offered, user: str, remembered: Mapping[str, Any]) -> dict[str, Any]:
    """Return earlier options without those that can't be chosen any more."""
    cluster, accounts = offered.cluster, offered.accounts
    names = {field.name for field in fields(cluster, user, accounts)}
    options = {name: value for name, value in remembered.items() if name in names}
    while True:
        try:
            request = parse_options(cluster, options, user=user, accounts=accounts)
        except InvalidOptions as error:
            kept = {name: value for name, value in options.items() if name not in error.fields}
            if kept == options:  # what is wrong is that something needed has no default
                return options
            options = kept
        else:
            return dict(request.options)


def _shown(value: Any) -> str:
    """Return a value as it can stand in a field: it may be of any type and length."""
    return str(value)[:MAX_TYPED] if isinstance(value, str | int) else ""
