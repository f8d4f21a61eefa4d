"""How much the gateway is asked, by whom, and how much of it at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Traffic:
    """Counts of all that has come.

    Attributes:
        requests: (method, path template) → how many came.
        by_user: (user, method, path template) → how many came; the user is "" if the token was no good.
        peaks: User → the most that were answered at once; under "*" those of everybody together.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.by_user: Counter[tuple[str, str, str]] = Counter()
        self.peaks: Counter[str] = Counter()
        self._open: Counter[str] = Counter()

    @contextmanager
    def counted(self, user: str, method: str, template: str) -> Iterator[None]:
        """Count a request, which goes on as long as the context."""
        self.requests[method, template] += 1
        self.by_user[user, method, template] += 1
        for name in ("*", user):
            self._open[name] += 1
            self.peaks[name] = max(self.peaks[name], self._open[name])
        try:
            yield
        finally:
            self._open.subtract(("*", user))

    def clear(self) -> None:
        """Count from zero again; what is being answered still counts towards the peaks."""
        self.requests.clear()
        self.by_user.clear()
        self.peaks.clear()
