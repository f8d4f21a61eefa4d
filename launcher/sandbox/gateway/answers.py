"""One call to the gateway, and what comes back."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.sandbox.accounts import Account
from launcher.sandbox.faults import Answer

TIMED_OUT = "Command execution timeout limit exceeded."
"""What is said of a command that takes too long."""

_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({"0", "off", "f", "false", "n", "no"})


class Refusal(Exception):
    """A call that is answered with an error.

    Args:
        status: HTTP status.
        message: For the field `message`.
        caused_by: For the field `causedBy`.
        kind: For the field `errorType`.
    """

    def __init__(
        self, status: int, message: str, *, caused_by: Sequence[str] | None = None, kind: str = "error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.caused_by = caused_by
        self.kind = kind

    def answer(self, user: str | None) -> Answer:
        """The answer in FirecREST's shape; `user` is None until the token is accepted."""
        return Answer(
            self.status,
            {
                "errorType": self.kind,
                "message": self.message,
                "causedBy": self.caused_by and list(self.caused_by),
                "data": None,
                "user": user,
            },
        )


def invalid(where: str, problem: str) -> Refusal:
    """The refusal of a body, a path or a query that is not as it should be."""
    return Refusal(400, f"1 validation error: {where}: {problem}", kind="validation")


@dataclass(frozen=True)
class Call:
    """One accepted call.

    Attributes:
        user: The token's `preferred_username`.
        person: Whose account that is; None for a service account.
        path: The path's variable parts.
        query: The query, the last of repeated values.
        body: The request's body.
    """

    user: str
    person: Account | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    @property
    def account(self) -> Account:
        """The account to act as.

        Raises:
            Refusal: The token's owner has none on this system.
        """
        if self.person is None:
            raise Refusal(500, "Unable to establish SSH connection.")
        return self.person

    @property
    def job_id(self) -> str:
        """The job id in the path.

        Raises:
            Refusal: It holds more than letters and digits.
        """
        job_id = self.path["job"]
        if not re.fullmatch(r"[a-zA-Z0-9]+", job_id):
            raise invalid("path.job_id", "String should match pattern '^[a-zA-Z0-9]+$'")
        return job_id

    def flag(self, name: str) -> bool:
        """A yes or no of the query, no by default.

        Raises:
            Refusal: It is neither.
        """
        word = self.query.get(name, "false").lower()
        if word not in _TRUE | _FALSE:
            raise invalid(f"query.{name}", "Input should be a valid boolean, unable to interpret input")
        return word in _TRUE

    def number(self, name: str) -> int | None:
        """A whole number ≥ 0 of the query, None if it is not there.

        Raises:
            Refusal: It is anything else.
        """
        text = self.query.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise invalid(f"query.{name}", "Input should be a valid integer")
        return int(text)
