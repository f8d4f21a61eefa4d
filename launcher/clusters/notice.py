"""What users are told above the form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from launcher.clusters.values import Line, Moment
from launcher.yaml_file.part import Part, Place


class Announcement(Part):
    """A message that users see above the form."""

    text: Line = Field(min_length=1)
    """What it says."""
    level: Literal["info", "warning", "danger"] = "info"
    """How it looks."""
    until: Moment | None = None
    """It is shown until then."""


class Maintenance(Part):
    """A time in which no job runs."""

    start: Moment
    """Its beginning, with a zone, such as 2026-12-01T06:00:00+01:00."""
    end: Moment
    """Its end, with a zone."""
    text: Line = ""
    """One line for people."""

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that it ends after it begins."""
        if self.end <= self.start:
            yield ("end",), "is not after start"
