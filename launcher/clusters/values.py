"""The kinds of values that a cluster file holds, each with the words that tell what is allowed."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)

ALLOWED: dict[str, str] = {}
"""Pattern → what it allows, in words."""


def _text(pattern: str, allowed: str) -> StringConstraints:
    ALLOWED[pattern] = allowed
    return StringConstraints(pattern=pattern)


NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""Name of a uenv, a version, a tag, a view: the uenv CLI's grammar."""

LABEL = rf"{NAME}(/{NAME})?(:{NAME})?(@({NAME}|\*))?(%{NAME})?"
"""`name/version:tag@system%uarch`, where everything after the name may be left out."""

VIEW = rf"({NAME}:)?{NAME}"
"""`view`, or `uenv:view` where several images have one of that name."""

WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
"""A name that Slurm or FirecREST knows something by."""

PATH = r"(/[A-Za-z0-9_-][A-Za-z0-9_.-]*|/\.[A-Za-z0-9_-][A-Za-z0-9_.-]*)+"
"""An absolute path without `.` and `..`; nothing in it needs quoting."""

_IN_WORDS_PATH = "an absolute path of letters, digits, '_', '.' and '-', without '..'"

Word = Annotated[
    str,
    _text(rf"^{WORD}$", "up to 64 letters, digits, '_', '.' and '-'"),
]
"""A name that Slurm or FirecREST knows something by."""

NodePath = Annotated[str, _text(rf"^{PATH}$", _IN_WORDS_PATH)]
"""An absolute path on the compute nodes."""

UserPath = Annotated[
    str,
    _text(rf"^({PATH})?(/\{{user\}})?({PATH})?$", f"{_IN_WORDS_PATH}; '{{user}}' may stand for one part"),
    Field(min_length=2),
]
"""An absolute path on the compute nodes in which `{user}` may stand for the user's name."""

HomePath = Annotated[str, _text(rf"^({PATH})?/\{{user\}}$", f"{_IN_WORDS_PATH}, and '/{{user}}' at its end")]
"""Where directories of users lie: an absolute path that ends in `/{user}`."""

Image = Annotated[
    str,
    _text(
        rf"^({LABEL}|{PATH})$",
        "a uenv's label, name/version:tag@system%uarch, or the absolute path of a squashfs file",
    ),
]
"""A uenv image: a label, or a file on the cluster."""

View = Annotated[str, _text(rf"^{VIEW}$", "a view, or uenv:view")]
"""A view of a uenv."""

Edf = Annotated[
    str, _text(rf"^({NAME}|{PATH}\.toml)$", "the name of an EDF, or the absolute path of a .toml file")
]
"""An environment definition file of the container engine."""

ContainerImage = Annotated[
    str,
    _text(
        rf"^([a-z]+://)?[A-Za-z0-9][A-Za-z0-9_.:/@#+-]{{0,500}}$|^{PATH}\.(sqsh|squashfs)$",
        "an image of a registry, such as registry.example.org#team/image:tag, or the path of a squashfs file",
    ),
]
"""What an EDF names as image: a registry's, in Enroot's form, or a squashfs file."""

_EDF_PATH = r"(/|\$\{[A-Za-z_][A-Za-z0-9_]*\})[A-Za-z0-9_./{}$-]*"
"""A path in which `${NAME}` stands for a variable of the job."""

EdfPath = Annotated[
    str,
    _text(
        rf"^{_EDF_PATH}$",
        "an absolute path of letters, digits, '_', '.' and '-'; ${NAME} is a variable's value",
    ),
]
EdfMount = Annotated[
    str,
    _text(
        rf"^{_EDF_PATH}:{_EDF_PATH}(:[a-z]+(\+[a-z]+)*)?$",
        "SOURCE:TARGET or SOURCE:TARGET:ro+private, with absolute paths; ${NAME} is a variable's value",
    ),
]
"""A directory that a container sees: where it lies on the node, and where in the container."""

EdfVariable = Annotated[str, _text(r"^[A-Za-z_][A-Za-z0-9_]{0,255}$", "the name of a variable")]
EdfAnnotation = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$", "words with dots between them, such as com.hooks.cxi.enabled"
    ),
]

Constraint = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9_.&|()\[\]*,-]{1,200}$", "features of nodes as in sbatch --constraint, without blanks"
    ),
]
Memory = Annotated[str, _text(r"^[1-9][0-9]{0,8}[KMGT]$", "a number with K, M, G or T, such as 64G")]
Gres = Annotated[
    str, _text(r"^[A-Za-z][A-Za-z0-9_]*(:[A-Za-z0-9_.-]+)?$", "a name or name:type, such as gpu:a100")
]
Directive = Annotated[
    str,
    _text(
        r"^--[a-z][a-z0-9-]*(=[A-Za-z0-9_.,:;/@%+*&|()\[\]=~^-]+)?$",
        "an option of sbatch in one word, such as --exclusive or --mail-type=END",
    ),
]
Interface = Annotated[
    str, _text(r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,14}$", "the name of a network interface, such as hsn0")
]
NamePattern = Annotated[
    str,
    _text(
        r"^[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?(\.[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?)*$",
        "a host name in lower case, where '*' stands for letters, digits and '-'",
    ),
]
GlibcVersion = Annotated[str, _text(r"^2\.[0-9]{1,2}$", "a version in quotes, such as '2.31'")]

Line = Annotated[
    str, _text(r"^[^\x00-\x1f\x7f\u0085\u2028\u2029]{0,500}$", "one line of at most 500 characters")
]
"""Text for people."""


def _shell(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


Shell = Annotated[
    str,
    _text(r"^[^\x00\r]*$", "lines of Bash, without NUL or carriage returns"),
    AfterValidator(_shell),
]
"""Lines of Bash that an admin wrote."""

_NETWORK = r"^[0-9A-Fa-f:.]+(/[0-9.]+)?$"
ALLOWED[_NETWORK] = "a network, such as 10.0.0.0/8"


def _network(given: Any) -> IPv4Network | IPv6Network:
    # As text: ip_network takes a number, too, for the address that has so many before it.
    text = str(given)
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        around = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be a network, such as 10.1.0.0/16") from None
    raise ValueError(f"must be a network, not an address in one: {around}")


Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_network),
    WithJsonSchema({"type": "string", "pattern": _NETWORK}),
]
"""A network of IPv4 or IPv6."""


def _moment(given: Any) -> Any:
    if isinstance(given, str | datetime):
        return given
    raise ValueError("must be a time with a zone, such as 2026-12-01T06:00:00+01:00")


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A time with a zone; a bare number is no time."""

# Strict: a text of digits or a `true` in the place of a number is a slip.
Port = Annotated[int, Field(strict=True, ge=1024, le=65535)]
Minutes = Annotated[int, Field(strict=True, ge=1, le=60 * 24 * 365)]
Seconds = Annotated[int, Field(strict=True, ge=10, le=3600)]
NodeMinutes = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
CountOrNone = Annotated[int, Field(strict=True, ge=0, le=100_000)]
Switch = Annotated[bool, Field(strict=True)]
"""True or false, in YAML's own words."""
