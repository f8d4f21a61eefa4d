"""What users may choose from, as a cluster file says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from launcher.yaml_file import Part, Place

_Value = TypeVar("_Value")


class Choice(Part, Generic[_Value]):
    """What users may choose from: one value is fixed; of a list, the first is chosen at first."""

    choices: tuple[_Value, ...] = Field(min_length=1)
    """What users may choose from."""
    default: _Value | None = None
    """The one that is chosen at first; without it the first."""

    @property
    def first(self) -> _Value:
        """The value that is chosen at first."""
        return self.choices[0] if self.default is None else self.default

    def relations(self) -> Iterator[tuple[Place, str]]:
        """Check that the default is a choice, and that no choice comes twice."""
        if self.default is not None and self.default not in self.choices:
            allowed = ", ".join(str(each) for each in self.choices)
            yield ("default",), f"{self.default} is not one of the choices: {allowed}"
        for position, value in enumerate(self.choices):
            if value in self.choices[:position]:
                yield ("choices", position), f"{value} is already a choice"

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            return {"choices": given}
        return given if isinstance(given, dict | Choice) else {"choices": [given]}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of a value, of a list of values and of the whole mapping."""
        whole = handler.resolve_ref_schema(handler(core))
        value = whole["properties"]["choices"]["items"]
        several = {"type": "array", "items": value, "minItems": 1}
        # No descriptions: an editor would show them instead of the key's own.
        del whole["description"]
        return {
            "anyOf": [
                {**value, "title": "One value: users have no choice"},
                {**several, "title": "Values to choose from; the first is chosen at first"},
                {**whole, "title": "Values to choose from, and which is chosen at first"},
            ],
        }
