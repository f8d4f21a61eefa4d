"""Faults in the token endpoint's answers."""

from dataclasses import replace
from typing import Any

from launcher.sandbox import faults
from launcher.sandbox.faults import Answer, Asked, Fault


class Faults(faults.Faults):
    """The faults of a provider's token endpoint, where `user` is who the token would be for."""

    def error(self, status: int = 500, error: str = "server_error", **where: Any) -> Fault:
        """An error in OAuth's shape (RFC 6749 §5.2)."""
        return self.answer(Answer(status, {"error": error, "error_description": "A fault."}), **where)

    def without_token(self, **where: Any) -> Fault:
        """An answer that is a good one, but for the access token that it does not hold."""

        async def act(_: Fault, call: Asked) -> Answer:
            answer = await call()
            if not isinstance(answer.body, dict):
                return answer
            return replace(answer, body={k: v for k, v in answer.body.items() if k != "access_token"})

        return self.add(act, **where)
