"""Does a hub work? Do what a person does with a browser, or a program with a token, and report each step."""

from launcher.check.report import Report, Step
from launcher.check.run import check, smoke

__all__ = ["Report", "Step", "check", "smoke"]
