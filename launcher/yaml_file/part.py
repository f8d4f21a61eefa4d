"""What the parts of a YAML file's model have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Place = tuple[str | int, ...]
"""Where something stands in a file: keys and positions, from the outside in."""


class Part(BaseModel):
    """A mapping in a file: known keys only, and relations between them that must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def field(cls, key: str) -> FieldInfo | None:
        """Return what is known of a key, as a file writes it; None if it is no key of this part."""
        fields = cls.model_fields
        return next((each for name, each in fields.items() if key == (each.alias or name)), None)

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Yield place and text of each relation between keys that does not hold."""
        return iter(())

    @model_validator(mode="after")
    def _relations_hold(self) -> Self:
        problems = list(self.relations())
        if problems:
            text = "; ".join(message for _, message in problems)
            raise PydanticCustomError("relations", "{text}", {"text": text, "problems": problems})
        return self
