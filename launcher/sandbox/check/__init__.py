"""Does a hub work? Do over HTTP what a person does with a browser, and report each step."""

from launcher.sandbox.check.report import Report, Step
from launcher.sandbox.check.run import check

__all__ = ["Report", "Step", "check"]
