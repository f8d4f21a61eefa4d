"""As whom FirecREST is asked."""

from __future__ import annotations

from typing import Protocol


class Identity(Protocol):
    """Somebody with access tokens for FirecREST.

    Attributes:
        key: Tells identities apart.
        name: The user's name on the cluster.
        everybody: Whether it is asked about everybody's jobs.
    """

    key: str
    name: str
    everybody: bool

    async def token(self, refused: str = "") -> str:
        """Return an access token that is good for a while.

        Args:
            refused: A token that FirecREST has refused; another one is returned, if one can be had.

        Raises:
            FirecrestError: With status 401 if nobody but the user can get one, by a new log-in.
        """
        ...
