"""A field of the form, as its template sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.clusters import Field


@dataclass(frozen=True)
class Control:
    """A field of the form.

    Attributes:
        field: What may be chosen.
        id: Its id in the page.
        name: What it is sent as.
        value: What is filled in.
        error: What is wrong with it, or nothing.
        environments: Titles of the environments that it belongs to; none if it belongs to all.
    """

    field: Field
    id: str
    name: str
    value: str
    error: str = ""
    environments: tuple[str, ...] = ()

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
