"""The launch record: what the hub keeps of a launch in its database, from before the submit to the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

STATE_KEY = "launch"
"""Key of the record in `orm_spawner.state`."""


class Phase(StrEnum):
    """How far a launch has come."""

    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    CLAIMED = "claimed"
    READY = "ready"
    ENDING = "ending"
    GONE = "gone"


@dataclass
class LaunchRecord:
    """One launch, as saved.

    Attributes:
        launch_id: 32 hexadecimal digits.
        ticket_hash: SHA-256 of the ticket in hexadecimal digits.
        ticket_expires: Time (seconds since the epoch) after which the ticket claims nothing.
        cluster: Name of the cluster file.
        script_hash: SHA-256 of the batch script with the ticket masked.
        options: The options that the launch was made from, all that a launch needs.
        asked: The same as the user gave them.
        successor_until: Time until which a hub that is restarted makes good a start that waits for the end
            of this one; 0 if none does.
        phase: How far it has come.
        job_id: Slurm's job id, or empty while it is not known.
        nonce: The nonce of the claim, or empty before it.
        node: The compute node that the claim named.
        url: Where the server listens, or empty before `ready`.
        cluster_file: What the cluster file said when the launch began, as JSON values.
    """

    launch_id: str
    ticket_hash: str
    ticket_expires: float
    cluster: str
    script_hash: str
    options: Mapping[str, Any]
    phase: Phase = Phase.SUBMITTING
    job_id: str = ""
    nonce: str = ""
    node: str = ""
    url: str = ""
    cluster_file: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    successor_until: float = 0.0

    def to_state(self) -> dict[str, Any]:
        """Return the record as JSON values. Its mappings are shared: one that changed would not be saved."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self | None:
        """Return the record that a spawner's saved state holds, or None if it holds none that is whole."""
        saved = state.get(STATE_KEY)
        if not isinstance(saved, Mapping):
            return None
        try:
            record = cls(**{each.name: saved[each.name] for each in fields(cls) if each.name in saved})
            record.phase = Phase(record.phase)
        except (TypeError, ValueError):
            return None
        mappings = {"options", "asked", "cluster_file"}
        times = {"ticket_expires", "successor_until"}
        texts = {each.name for each in fields(cls)} - mappings - times
        whole = (
            all(isinstance(getattr(record, name), str) for name in texts)
            and all(isinstance(getattr(record, name), int | float) for name in times)
            and all(isinstance(getattr(record, name), dict) for name in mappings)
        )
        return record if whole else None
