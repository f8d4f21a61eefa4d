"""The options form: what a cluster file lets a user choose, filled in, as its template sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from launcher.clusters import Cluster, Field, UserAccounts, fields, parse_options
from launcher.clusters.fields import MAX_TYPED
from launcher.errors import InvalidOptions
from launcher.spawner.notices import Notice, notices


@dataclass(frozen=True)
class Sent:
    """What a page sent.

    Attributes:
        options: What can be shown again, untrusted.
        errors: Field name → what is wrong with it.
    """

    options: Mapping[str, Any]
    errors: Mapping[str, str] = field(default_factory=dict)


SENT: ContextVar[Sent | None] = ContextVar("sent", default=None)
"""What the request that is being answered has sent.

JupyterHub answers a form that could not be used with the form of the user's default server, whichever server
it was for. Each request is a task of its own, so nobody, and no other server, ever sees what it sent.
"""


class NothingChosenError(Exception):
    """A link that chooses nothing: the form is shown as it would be without one, and nothing starts."""

    jupyterhub_message = ""


@dataclass(frozen=True)
class Control:
    """A field of the form.

    Attributes:
        field: What may be chosen.
        value: What is filled in.
        error: What is wrong with it, or nothing.
        environments: Titles of the environments that it belongs to; none if it belongs to all.
    """

    field: Field
    value: str
    error: str = ""
    environments: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its id in the page."""
        return f"launcher-{self.field.name.replace('_', '-')}"

    @property
    def described_by(self) -> str:
        """Ids of the texts that describe it."""
        texts = {
            "only": self.environments,
            "hint": self.field.hint,
            "choices": self.choices_have_hints,
            "note": True,
            "problem": True,
        }
        return " ".join(f"{self.id}-{name}" for name, there in texts.items() if there)

    @property
    def choices_have_hints(self) -> bool:
        """Whether one of its choices has a hint."""
        return any(option.hint for option in self.field.options)

    @property
    def pattern(self) -> str:
        """The pattern as browsers take it: in their regular expressions a class can't end in a bare '-'."""
        return re.sub(r"(?<!\\)-\]", r"\\-]", self.field.pattern)

    @property
    def changed(self) -> bool:
        """Whether it is not as it is at first."""
        return self.value != self.field.default


@dataclass(frozen=True)
class Problem:
    """One line of the summary of errors.

    Attributes:
        text: What is wrong.
        label: With what; empty for all of it.
        control: Id of the field, or empty if the form has none for it.
    """

    text: str
    label: str = ""
    control: str = ""


def form_variables(
    cluster: Cluster,
    user: str,
    *,
    now: datetime,
    accounts: UserAccounts | None = None,
    accounts_problem: str = "",
    remembered: Any = None,
    sent: Sent | None = None,
) -> dict[str, Any]:
    """Return what the form's template sees.

    Args:
        cluster: The cluster file.
        user: The user's name.
        now: The time, with a zone.
        accounts: The user's accounts, if they are known.
        accounts_problem: Why they are not.
        remembered: The options of the user's last start; what is no longer possible is left out.
        sent: What the page sent that is being answered; it is shown as it was.
    """
    offered = {field.name: field for field in fields(cluster, user, accounts)}
    if sent:
        values = {name: _shown(value) for name, value in sent.options.items()}
    else:
        values = _possible(cluster, user, accounts, offered, remembered)
    errors = sent.errors if sent else {}
    controls = [
        _control(cluster, field, values.get(field.name, field.default), errors.get(field.name, ""))
        for field in offered.values()
        if not field.fixed
    ]
    problems = [
        Problem(control.error, control.field.label, control.id) for control in controls if control.error
    ]
    shown = {control.field.name for control in controls}
    problems += [Problem(text, name) for name, text in errors.items() if name not in shown]
    told = list(notices(cluster, now))
    if accounts_problem:
        advice = "You can name one under “Advanced”; otherwise your default account is used."
        told.append(Notice(f"{accounts_problem} {advice}", "warning"))
    advanced = [control for control in controls if control.field.advanced]
    return {
        "cluster": cluster,
        "user": user,
        "notices": told,
        "problems": problems,
        "controls": [control for control in controls if not control.field.advanced],
        "advanced": advanced,
        "advanced_open": any(control.error or control.changed for control in advanced),
        "focus": next((control.id for control in controls if control.error), ""),
    }


def _control(cluster: Cluster, field: Field, value: str, error: str) -> Control:
    if field.kind == "list" and all(value != option.value for option in field.options):
        value = field.default
    titles = {each.id: each.name for each in cluster.environments}
    everywhere = not field.environments or set(field.environments) == titles.keys()
    return Control(
        field, value, error, () if everywhere else tuple(titles[each] for each in field.environments)
    )


def _possible(
    cluster: Cluster,
    user: str,
    accounts: UserAccounts | None,
    offered: Mapping[str, Field],
    remembered: Any,
) -> dict[str, str]:
    """Return earlier options without those that can't be chosen any more."""
    options = dict(remembered) if isinstance(remembered, Mapping) else {}
    options = {name: value for name, value in options.items() if name in offered}
    while True:
        try:
            request = parse_options(cluster, options, user=user, accounts=accounts)
        except InvalidOptions as error:
            kept = {name: value for name, value in options.items() if name not in error.fields}
            if kept == options:  # what is wrong is that something needed has no default
                return {name: _shown(value) for name, value in options.items()}
            options = kept
        else:
            return {name: str(value) for name, value in request.options.items()}


def _shown(value: Any) -> str:
    """Return a value as it can stand in a field: it may be of any type and length."""
    return str(value)[:MAX_TYPED] if isinstance(value, str | int) else ""
