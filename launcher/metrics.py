"""What Prometheus hears, at the hub's own `/hub/metrics`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)

PHASE_SECONDS = Histogram(
    "launcher_phase_seconds",
    "How long each phase of a launch took, until the next began.",
    ["cluster", "phase"],
    buckets=_SECONDS,
)
VERDICTS = Counter(
    "launcher_verdicts",
    "Answers to the question whether a server lives, and who gave them: event, probe or scheduler.",
    ["cluster", "verdict", "source"],
)
IN_DOUBT = Gauge("launcher_servers_in_doubt", "Servers that neither say anything nor answer.", ["cluster"])
FIRECREST_SECONDS = Histogram(
    "launcher_firecrest_seconds",
    "Requests to FirecREST, by their outcome: an HTTP status, or that no answer came.",
    ["cluster", "call", "outcome"],
    buckets=_SECONDS[:7],
)
TOKEN_REQUESTS = Counter(
    "launcher_token_requests", "Requests for access tokens, by their outcome.", ["grant", "outcome"]
)
STRAYS = Counter("launcher_strays", "Jobs of this hub that no launch wants.", ["cluster", "done"])
