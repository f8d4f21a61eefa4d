"""Slurm's notations: spans of time, file name patterns, `--export` lists."""

import math
import re

_TIME = re.compile(
    r"(?P<days>\d+)-(?:(?P<day_hours>\d+)(?::(?P<day_minutes>\d+)(?::(?P<day_seconds>\d+))?)?)?"
    r"|(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)(?P<seconds>\d+)"
    r"|(?P<only_minutes>\d+)"
)
_UNIT = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
_PATTERN = re.compile(r"%(\d*)([%AjJNnstux])")


def seconds(text: str) -> float:
    """A time limit in seconds, infinite for none at all.

    Args:
        text: "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours", "days-hours:minutes",
            "days-hours:minutes:seconds" (sbatch(1), --time), or a word for no limit, which 0 is, too.

    Raises:
        ValueError: It is something else.
    """
    if text.lower() in ("unlimited", "infinite", "-1"):
        return math.inf
    time = _TIME.fullmatch(text)
    if not time:
        raise ValueError(text)
    parts = {name: int(digits) for name, digits in time.groupdict().items() if digits}
    return sum(count * _UNIT[re.sub("^(day|only)_", "", name)] for name, count in parts.items()) or math.inf


def expand(pattern: str, *, job_id: str, name: str, user: str, node: str | None = None) -> str:
    """Fill a file name pattern of sbatch(1) in.

    Args:
        pattern: Such as "slurm-%j.out".
        job_id: For %j, %A and %J.
        name: The job's, for %x.
        user: For %u.
        node: For %N. Without it the pattern is filled in as scontrol(1) shows it: %j, %A, %x and %u, of no
            width, and nothing else.
    """
    values = {"A": job_id, "j": job_id, "u": user, "x": name}
    if node is not None:
        values |= {"%": "%", "J": job_id, "N": node, "n": "0", "s": "batch", "t": "0"}

    def value(found: re.Match[str]) -> str:
        width, letter = found.groups()
        if letter not in values or (width and node is None):
            return found[0]
        filled = values[letter]
        return filled.zfill(int(width)) if width and filled.isdigit() else filled

    return _PATTERN.sub(value, pattern)


def exported(variables: str) -> dict[str, str]:
    """What sbatch makes of `--export=NAME=VALUE,…`: a comma ends a value unless quotes surround it."""
    items = re.findall(r"""(?:'[^']*(?:'|$)|"[^"]*(?:"|$)|[^,'"])+""", variables)
    return dict(item.split("=", 1) for item in items if "=" in item)
