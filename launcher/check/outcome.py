"""What people and programs see of a check on a terminal."""

from __future__ import annotations

import click

from launcher.check.report import Report, Step
from launcher.errors import CheckFailed


def say(step: Step) -> None:
    """Print a step that was taken, for whoever waits."""
    click.echo(f"{step.name}: {'ok' if step.ok else 'FAILED'}", err=True)


def tell(report: Report, *, as_json: bool) -> None:
    """Print a report.

    Raises:
        CheckFailed: If a step did not hold.
    """
    click.echo(report.to_json() if as_json else report.table())
    failed = next((step for step in report.steps if not step.ok), None)
    if failed or not report.ok:
        raise CheckFailed(
            f"The step '{failed.name}' did not hold." if failed else "The check was interrupted.",
            why=failed.detail if failed else "",
        )
