"""What became of each image."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from launcher.prefetch.wanted import Wanted


class State(StrEnum):
    """What became of an image."""

    PRESENT = "present"
    FETCHED = "fetched"
    MISSING = "missing"
    FAILED = "failed"
    NOT_STAGED = "not staged"
    WANTED = "wanted"


_GOOD = frozenset({State.PRESENT, State.FETCHED, State.NOT_STAGED, State.WANTED})


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        wanted: The image.
        state: What became of it.
        why: Where it lies, or why it does not.
    """

    wanted: Wanted
    state: State
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is amiss; of what can't be staged nothing is known."""
        return self.state in _GOOD


@dataclass(frozen=True)
class Report:
    """The outcome of a prefetch.

    Attributes:
        cluster: Name of the cluster.
        place: `here`, or `firecrest`.
        outcomes: What became of each image.
        job_id: The job that did it, or empty.
        trouble: What is wrong besides, such as a job that did not end as it should; or empty.
    """

    cluster: str
    place: str
    outcomes: list[Outcome]
    job_id: str = ""
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Whether all images are there."""
        return all(each.ok for each in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "ok": self.ok,
            "cluster": self.cluster,
            "place": self.place,
            "job_id": self.job_id,
            "trouble": self.trouble,
            "images": [
                {
                    "image": each.wanted.image,
                    "kind": each.wanted.kind,
                    "used_by": list(each.wanted.used_by),
                    "state": each.state,
                    "why": each.why,
                }
                for each in self.outcomes
            ],
        }


@dataclass
class Told:
    """What the staging script has said so far.

    Args:
        wanted: The images, in the script's order.
        mark: How its own lines begin.

    Attributes:
        outcomes: What became of those that it is done with, by their number.
        pulling: The image that it pulls, with bytes that are there and bytes of the whole; or None.
    """

    wanted: list[Wanted]
    mark: str
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    pulling: tuple[Wanted, int | None, int | None] | None = None

    def hear(self, line: str) -> bool:
        """Take a line of the script's output; return whether it told something new."""
        before = len(self.outcomes), self.pulling
        mark, _, rest = line.rstrip("\r\n").partition("\t")
        fields = rest.split("\t", 2)
        if mark != self.mark or len(fields) != 3 or not fields[0].isdecimal():
            return False
        number, state, why = int(fields[0]), fields[1], fields[2]
        if number >= len(self.wanted) or number in self.outcomes:
            return False
        image = self.wanted[number]
        if state == "pulling":
            done, _, total = why.partition(" ")
            self.pulling = image, _number(done), _number(total)
        elif state in ("present", "fetched", "missing", "failed"):
            self.pulling = None
            self.outcomes[number] = Outcome(image, State(state), _plain(why))
        return before != (len(self.outcomes), self.pulling)

    @property
    def complete(self) -> bool:
        """Whether it is done with all."""
        return len(self.outcomes) == len(self.wanted)

    def all(self, why: str) -> list[Outcome]:
        """Return an outcome for each image; one that nothing was said of has failed.

        Args:
            why: Why nothing was said.
        """
        return [
            self.outcomes.get(number) or Outcome(each, State.FAILED, why)
            for number, each in enumerate(self.wanted)
        ]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _plain(text: str) -> str:
    # A registry can say anything; none of it may drive the reader's terminal.
    return "".join(char if char.isprintable() else " " for char in text[:300]).strip()
