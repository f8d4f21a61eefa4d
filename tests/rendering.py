"""Cluster files made for a test, and the scripts that come of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from launcher.clusters import ClusterFile, LaunchFacts, parse_options

TICKET = "5ec2e7" + "0" * 58
LAUNCH_ID = "1a" * 16
HUB = "https://hub.example.org/hub/api"
USER = "alice"
TINY: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny cluster",
    "firecrest": {"url": "https://firecrest.example.org/v2", "system": "tiny"},
    "home": "/home/{user}",
    "launcher": "/opt/launcher/bin/launcher-singleuser",
    "partitions": [{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 30}],
    "times": {"choices": [15, 30, 60, 240], "default": 60},
    "node_addresses": ["10.0.0.0/8"],
    "claim_timeout": 90,
}


def cluster_file(directory: Path, **given: Any) -> ClusterFile:
    """Write and load a cluster file of a few facts and those that a test gives; None leaves one out."""
    path = directory / "tiny.yaml"
    values = {name: value for name, value in {**TINY, **given}.items() if value is not None}
    path.write_text(json.dumps(values))  # JSON is YAML, too
    return ClusterFile.load(path)


def script(file: ClusterFile, options: object = None, *, url: str = HUB) -> str:
    """Return the script of a user's options."""
    request = parse_options(file.cluster, options or {}, user=USER)
    return file.render(request, facts(url))


def facts(url: str = HUB) -> LaunchFacts:
    """Return what a script knows of its launch."""
    return LaunchFacts(LAUNCH_ID, TICKET, url, USER)


def site_template(directory: Path, **blocks: str) -> str:
    """Write a batch template that overrides blocks of the project's own; return its name."""
    lines = ["{% extends 'slurm.sh.j2' %}"]
    for name, text in blocks.items():
        lines += [f"{{% block {name} %}}", text, "{% endblock %}"]
    (directory / "site.j2").write_text("\n".join(lines))
    return "site.j2"


def directives(text: str) -> list[str]:
    """Return what Slurm reads: it stops at the first line that is neither comment nor blank."""
    found = []
    for line in text.split("\n"):
        if line.startswith("#SBATCH"):
            found.append(line.removeprefix("#SBATCH"))
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return [line.strip() for line in found]


def launch_line(text: str) -> str:
    """Return the command that starts the server, in one line."""
    lines = text.replace("\\\n", " ").split("\n")
    (line,) = (line for line in lines if line.startswith("LAUNCHER_HUB_URL="))
    return line


def launch_words(text: str) -> list[str]:
    """Return the words of the command that starts the server, without what it claims with."""
    words = shlex.split(launch_line(text))
    assert words.pop() == "&"
    assert words[:2] == ["LAUNCHER_HUB_URL=$launch_hub", "LAUNCHER_TICKET=$launch_ticket"]
    assert words[2].startswith("LAUNCHER_CLAIM_TIMEOUT=")
    return words[3:]
