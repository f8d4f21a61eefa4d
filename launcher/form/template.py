"""The form's markup: the site's own template, or ours."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from logging import Logger, LoggerAdapter
from traceback import extract_tb
from typing import Any, Self

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
)

from launcher.form.notices import Notice

TEMPLATE = "launcher_form.html"
"""A site's own is sought under this name in JupyterHub's `template_paths`."""
OURS = f"launcher/{TEMPLATE}"
"""The name by which a site's template extends ours."""


class FormTemplate:
    """The template of the form; a mistake in a site's own locks nobody out.

    Args:
        loader: Finds a site's templates, if there are any.
        log: Hears once of each mistake in a site's template.

    Attributes:
        problem: What was wrong with the site's template when it was last used: `file:line: what`.
    """

    def __init__(self, loader: BaseLoader | None, log: Logger | LoggerAdapter[Any]) -> None:
        ours = PackageLoader("launcher.form")
        self._environment = Environment(
            loader=ChoiceLoader([PrefixLoader({"launcher": ours}), *([loader] if loader else [])]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.get_template(OURS)  # takes 50 ms, which whoever asks first need not wait for
        self._log = log
        self.problem = ""

    @classmethod
    def of(cls, settings: MutableMapping[str, Any], log: Logger | LoggerAdapter[Any]) -> Self:
        """Return the one that all spawners of a hub share."""
        if "launcher_form_template" not in settings:
            hub = settings.get("jinja2_env_sync")
            settings["launcher_form_template"] = cls(hub.loader if hub else None, log)
        template: Self = settings["launcher_form_template"]
        return template

    def render(self, variables: Mapping[str, Any], *, admin: bool) -> str:
        """Return the form; with our markup, if the site's has a mistake.

        Args:
            variables: What the template sees.
            admin: Whether to tell of such a mistake above the form.
        """
        try:
            page = self._environment.select_template([TEMPLATE, OURS]).render(variables)
        except Exception as error:  # noqa: BLE001 - a template is a program, and may fail like one
            problem = _problem(error)
            if problem != self.problem:
                self._log.error("The site's form can't be used; ours is shown instead: %s", problem)
            self.problem = problem
            told = [Notice(f"This site's own form has a mistake, so this is not it. {problem}", "danger")]
            notices = [*(told if admin else []), *variables["notices"]]
            return self._environment.get_template(OURS).render({**variables, "notices": notices})
        self.problem = ""
        return page


def _problem(error: Exception) -> str:
    """Return where a template has a mistake, and which; Jinja puts its lines into the traceback."""
    if isinstance(error, RecursionError):
        return f'{TEMPLATE}: extends or includes itself; to extend ours, write {{% extends "{OURS}" %}}'
    lines = [each for each in extract_tb(error.__traceback__) if each.filename.endswith((".html", ".j2"))]
    place = f"{lines[-1].filename}:{lines[-1].lineno}" if lines else TEMPLATE
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return f"{place}: {message}"
