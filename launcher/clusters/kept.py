"""What a cluster file said when a launch began, as the launch keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from launcher.clusters.model import Cluster


def kept_cluster(values: Mapping[str, Any]) -> Cluster | None:
    """Return the cluster of a file that said so, unless it is another release's; the same for all launches.

    It is several times as large as a launch, of which there may be thousands.
    """
    return _cluster(json.dumps(values, sort_keys=True))


@lru_cache(maxsize=64)
def _cluster(file: str) -> Cluster | None:
    try:
        return Cluster.model_validate_json(file)
    except ValidationError:
        return None
