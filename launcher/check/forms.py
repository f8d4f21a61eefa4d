"""What a browser would send for an HTML form.

After the form section of the HTML standard: successful controls, default values, line ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher.errors import CheckFailed

# Controls whose value a person does not set.
_BUTTONS = {"submit", "image", "button", "reset"}


@dataclass(frozen=True)
class Choice:
    """One option of a select."""

    value: str
    selected: bool = False
    disabled: bool = False


@dataclass
class Control:
    """One input, select, textarea or button of a form.

    Args:
        name: What its value is sent as.
        kind: An input's type, or `select`, `textarea`, `submit`, `button`, `reset`.
        value: What it sends, unless it is a select.
        checked: Whether a radio button or a checkbox is ticked.
        disabled: Whether it takes no part.
        multiple: Whether a select may send several values.
        rows: How many rows a select shows; None stands for the browser's default.
        choices: The options of a select.
    """

    name: str
    kind: str
    value: str = ""
    checked: bool = False
    disabled: bool = False
    multiple: bool = False
    rows: int | None = None
    choices: list[Choice] = field(default_factory=list)

    @property
    def offered(self) -> list[str] | None:
        """The values that can be picked, or None where any text may be typed."""
        if self.kind == "select":
            return [choice.value for choice in self.choices if not choice.disabled]
        return [self.value] if self.kind in {"radio", "checkbox"} else None

    def default(self) -> list[str]:
        """The values it sends if nobody touches it."""
        if self.kind in {"radio", "checkbox"}:
            return [self.value] if self.checked else []
        if self.kind == "select":
            return [choice.value for choice in self._selected() if not choice.disabled]
        # A browser sends an empty name for a file that nobody picked.
        return [""] if self.kind == "file" else [self.value]

    def _selected(self) -> list[Choice]:
        selected = [choice for choice in self.choices if choice.selected]
        if self.multiple:
            return selected
        if selected:
            return selected[-1:]
        shows_one = self.rows is None or self.rows <= 1
        return [choice for choice in self.choices if not choice.disabled][:1] if shows_one else []


@dataclass
class Form:
    """A form of a page.

    Args:
        action: The absolute URL it is sent to.
        method: `get` or `post`.
        multipart: Whether it is sent as multipart/form-data.
        controls: Its controls, in the order of the page.
    """

    action: str
    method: str = "get"
    multipart: bool = False
    controls: list[Control] = field(default_factory=list)

    def control(self, *kinds: str) -> Control | None:
        """The first usable control of one of these kinds."""
        return next((control for control in self._usable() if control.kind in kinds), None)

    def filled(self, values: Mapping[str, str]) -> list[tuple[str, str]]:
        """What the form sends once a person has filled it.

        Args:
            values: What to put into which field; every other field keeps its default. An empty value
                unticks a checkbox.

        Returns:
            Names and values in the order of the form, with the line ends of HTTP.

        Raises:
            CheckFailed: The form has no such field, or does not offer that value.
        """
        fields = [control for control in self._usable() if control.kind not in _BUTTONS]
        for name, value in values.items():
            _require_offered(name, value, fields)
        # Of the radio buttons of one name only the last one that is ticked counts.
        ticked = {control.name: control for control in fields if control.kind == "radio" and control.checked}
        sent: list[tuple[str, str]] = []
        typed: set[str] = set()
        for control in fields:
            if control.name not in values:
                loses = control.kind == "radio" and ticked.get(control.name) is not control
                chosen = [] if loses else control.default()
            elif control.offered is None:
                chosen = control.default() if control.name in typed else [values[control.name]]
                typed.add(control.name)
            else:
                chosen = [value for value in control.offered if value == values[control.name]][:1]
            sent += [(control.name, _http_lines(value)) for value in chosen]
        if button := self.control("submit"):
            sent.append((button.name, button.value))
        return sent

    def _usable(self) -> list[Control]:
        return [control for control in self.controls if control.name and not control.disabled]


def _require_offered(name: str, value: str, fields: list[Control]) -> None:
    same = [control for control in fields if control.name == name]
    if not same:
        names = ", ".join(dict.fromkeys(control.name for control in fields)) or "none at all"
        raise CheckFailed(f"The form has no field {name!r}.", why=f"Its fields: {names}.")
    if any(control.offered is None for control in same):
        return
    offered = [choice for control in same for choice in control.offered or []]
    unticks = value == "" and all(control.kind == "checkbox" for control in same)
    if value not in offered and not unticks:
        raise CheckFailed(
            f"The form does not offer {value!r} for {name!r}.", why=f"It offers: {', '.join(offered)}."
        )


def _http_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
