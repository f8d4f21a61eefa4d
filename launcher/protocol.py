"""The messages between the hub and a compute node.

A job proves itself twice. With the *ticket*, random and good once, it claims its launch; the answer
brings the *launch key*, with which it signs every later message. The hub stores neither: of the ticket
it keeps a hash, and the launch key is derived from a hub secret and the launch id, so that it survives
a restart of the hub.

Every `parse` function here takes bytes that anyone may have sent, accepts exactly the known fields with
the known types, and raises `ProtocolError` for anything else.

Standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_network
from typing import Any, NamedTuple, TypeVar

_Message = TypeVar("_Message")

CLAIM_PATH = "launcher/claim"
"""Path of the claim below the hub's API URL."""

EVENTS_PATH = "launcher/events"
"""Path of the events below the hub's API URL."""

PROBE_PATH = "launcher/probe"
"""Path of the probe below the single-user server's base URL."""

STOP_PATH = "launcher/stop"
"""Path below the single-user server's base URL at which the hub asks it to end."""

SIGNATURE_HEADER = "X-Launcher-Signature"
"""Header with a hexadecimal HMAC-SHA256 under the launch key: of an event's body, or of a `stop_proof`."""

MAX_MESSAGE_BYTES = 16 * 1024
"""No message from a compute node is longer."""

_MAX_ANSWER = 1024 * 1024
"""No answer to a claim is longer, in bytes."""

MAX_HOSTS = 40
"""A claim names no more of a node's names and addresses."""

ALIVE_INTERVAL = 300.0
"""Seconds between two `alive` events, before jitter."""

PULL_FAILED = 25
"""Exit code of a batch script that could not pull an image of its session."""

_HEX64 = re.compile(r"[0-9a-f]{64}")
_LAUNCH_ID = re.compile(r"[0-9a-f]{32}")
_JOB_ID = re.compile(r"[0-9]{1,20}(_[0-9]{1,10})?")
_MAYBE_JOB_ID = re.compile(rf"({_JOB_ID.pattern})?")
_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,64}")
_ADDRESS = re.compile(r"[0-9A-Za-z:]([0-9A-Za-z.:_-]{0,252}[0-9A-Za-z:])?")
_INTERFACE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.:-]{0,14})?")
_PATH = re.compile(r"/[^\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]{0,4095}")

_IMAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:@%*-]{0,299}")
_MAX_BYTES = 2**63 - 1

_MAYBE_PATH = re.compile(rf"({_PATH.pattern})?")
_MAX_SECONDS = 10**9

_HANDED_ON = re.compile(r"[^\0\ud800-\udc7f\udd00-\udfff]*")
"""What a process can be given: no NUL, and no half of a character that stands for no byte (PEP 383)."""

_VARIABLE = re.compile(r"[^=\0\ud800-\udc7f\udd00-\udfff]+")
_MAX_TEXT = 2000


class ProtocolError(ValueError):
    """A message is not of the protocol's form; the text says which field and why."""


class EventKind(StrEnum):
    """What a job tells the hub after its claim."""

    STARTING = "starting"
    READY = "ready"
    ALIVE = "alive"
    STOPPING = "stopping"


_EVENT_FIELDS = {
    EventKind.READY: ("address", "port"),
    EventKind.ALIVE: ("address", "port"),
    EventKind.STOPPING: ("reason", "message", "exit_code"),
}


def _shown(message: Any, *hidden: str) -> str:
    """Return a message as it may stand in a log: without its secrets."""
    fields = (f"{name}={getattr(message, name)!r}" for name in message._fields if name not in hidden)
    return f"{type(message).__name__}({', '.join(fields)})"


class Claim(NamedTuple):
    """A job's first message: it asks for its launch.

    Attributes:
        ticket: 64 hexadecimal digits (256 bits); kept out of `repr`.
        nonce: 64 hexadecimal digits chosen by the job; a repeated claim must bring the same.
        job_id: Slurm's job id.
        node: Name of the compute node.
        jupyterhub_version: Version of JupyterHub installed on the node.
        hosts: Names and numeric addresses of the node. Those that the cluster file allows go into the
            server's certificate, which is made before the server has told its address.
    """

    ticket: str
    nonce: str
    job_id: str
    node: str
    jupyterhub_version: str
    hosts: list[str] = []  # noqa: RUF012 - nobody changes it

    def __repr__(self) -> str:
        return _shown(self, "ticket")


class Tls(NamedTuple):
    """A server's certificate where all traffic inside the hub is encrypted (JupyterHub's `internal_ssl`).

    Attributes:
        key: Private key (PEM); kept out of `repr`.
        certificate: Certificate (PEM) for the node's name and address.
        authority: Certificates (PEM) of those whom the server trusts: hub and proxy.
    """

    key: str
    certificate: str
    authority: str

    def __repr__(self) -> str:
        return _shown(self, "key")


class ClaimAnswer(NamedTuple):
    """The hub's answer to a claim.

    Attributes:
        launch_id: 32 hexadecimal digits.
        launch_key: 64 hexadecimal digits; kept out of `repr`.
        environment: Variables for the single-user server, its API token among them; kept out of `repr`.
        arguments: Command-line arguments for the single-user server.
        networks: Networks (CIDR) in which the server's address must lie; empty where it is known by its name.
        names: Patterns one of which the node's name must fit; empty where it is known by its address.
        interface: The network interface whose address the server listens on, or empty for any.
        ports: First and last port to listen on, or None for any free one.
        start_directory: Absolute path where JupyterLab opens.
        vscode: Whether JupyterLab offers VS Code.
        jupyterhub_version: Version of JupyterHub at the hub.
        tls: The server's certificate, or None where the server speaks plain http.
        cluster: Name of the cluster, for people.
        title: Name of the environment, for people.
        kind: What the environment is: `uenv`, `container` or `host`.
        images: Mount point → label or path of each uenv image that the session must have.
        cluster_name: Name of the cluster's file, which stays when the one for people changes.
        log: Absolute path of the job's log, or empty where nobody knows.
        proxy: Whether `/proxy/<port>` hands on to ports of the user's programs.
        warnings: Minutes before the session ends at which its user is told.
        end_warning: Seconds before the job's time is over at which the server ends.
    """

    launch_id: str
    launch_key: str
    environment: dict[str, str]
    arguments: list[str]
    networks: list[str]
    names: list[str]
    interface: str
    ports: tuple[int, int] | None
    start_directory: str
    vscode: bool
    jupyterhub_version: str
    tls: Tls | None = None
    cluster: str = ""
    title: str = ""
    kind: str = ""
    images: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    cluster_name: str = ""
    log: str = ""
    proxy: bool = False
    warnings: list[int] = []  # noqa: RUF012 - nobody changes it
    end_warning: int = 60

    def __repr__(self) -> str:
        return _shown(self, "launch_key", "environment")


class Event(NamedTuple):
    """A job's later message, signed with the launch key.

    Attributes:
        launch_id: 32 hexadecimal digits.
        kind: What happened.
        sequence: Grows with each event of a launch; the hub refuses to go back.
        address: With `ready`, and with every `alive` after it: numeric address at which the server listens,
            or the node's name. A hub that lost a `ready` learns it from the next `alive`.
        port: With `address`: TCP port; 0 in an `alive` before `ready`.
        reason: With `stopping`: a short word (`exit`, `failed`, `terminated`, `walltime`, `idle`,
            `stopped`, `not-wanted`).
        message: With `stopping`: sentences for the user.
        exit_code: With `stopping`: the exit code.
    """

    launch_id: str
    kind: EventKind
    sequence: int
    address: str = ""
    port: int = 0
    reason: str = ""
    message: str = ""
    exit_code: int | None = None


class Stop(NamedTuple):
    """The hub asks a server to end; a `stop_proof` of the nonce comes in the header `SIGNATURE_HEADER`.

    Attributes:
        nonce: 64 hexadecimal digits; the server's answer is its `probe_proof`.
    """

    nonce: str


class ScriptExit(NamedTuple):
    """What the batch script's EXIT trap sends: it holds the ticket, but no launch key.

    Attributes:
        ticket: As in `Claim`; kept out of `repr`.
        exit_code: The script's exit code, 0 to 255.
        job_id: Slurm's job id: two jobs may run the same script if a submit was made again.
    """

    ticket: str
    exit_code: int
    job_id: str = ""

    def __repr__(self) -> str:
        return _shown(self, "ticket")


class Pulling(NamedTuple):
    """What the batch script says while it pulls an image, before there is a server that could claim.

    Attributes:
        ticket: As in `Claim`; kept out of `repr`.
        image: The image's label.
        done: Bytes that are there, or None where that can't be told.
        total: Bytes of the whole image, or None where that can't be told.
        job_id: As in `ScriptExit`.
    """

    ticket: str
    image: str
    done: int | None = None
    total: int | None = None
    job_id: str = ""

    def __repr__(self) -> str:
        return _shown(self, "ticket")


def encode_refusal(why: str) -> bytes:
    """Return the body of a 410: the hub's own word that a job is not wanted."""
    return json.dumps({"launcher": "not-wanted", "why": why[:_MAX_TEXT]}, separators=(",", ":")).encode()


def parse_refusal(body: bytes) -> str | None:
    """Return why a job is not wanted, or None if the body is not the hub's own refusal.

    Proxies answer 404, 410, 502 or HTML while a hub restarts; only the hub's own words may end a job.
    """
    try:
        fields = _Fields(body)
        if fields.take("launcher") != "not-wanted":
            return None
        return fields.done(fields.prose("why"))
    except ProtocolError:
        return None


def new_ticket() -> str:
    """Return a new ticket: 256 random bits as 64 hexadecimal digits."""
    return os.urandom(32).hex()


def new_nonce() -> str:
    """Return a new nonce: 256 random bits as 64 hexadecimal digits."""
    return os.urandom(32).hex()


def new_launch_id(hub_secret: bytes) -> str:
    """Return a new launch id: 64 random bits and 64 bits by which its hub knows it again, in hexadecimal."""
    number = os.urandom(8).hex()
    return number + _mark(hub_secret, number)


def made_here(hub_secret: bytes, launch_id: str) -> bool:
    """Tell whether a launch id is one that the hub of this secret made: several hubs may share a cluster."""
    if not _LAUNCH_ID.fullmatch(launch_id):
        return False
    return hmac.compare_digest(_mark(hub_secret, launch_id[:16]), launch_id[16:])


def _mark(hub_secret: bytes, number: str) -> str:
    return hmac.new(hub_secret, b"launcher launch id " + number.encode(), hashlib.sha256).hexdigest()[:16]


def ticket_hash(ticket: str) -> str:
    """Return what the hub keeps of a ticket: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def derive_launch_key(hub_secret: bytes, launch_id: str) -> str:
    """Return the launch key of a launch: HMAC-SHA256 under a hub secret, as 64 hexadecimal digits."""
    return hmac.new(hub_secret, b"launcher launch key " + launch_id.encode(), hashlib.sha256).hexdigest()


def derive_api_token(hub_secret: bytes, launch_id: str) -> str:
    """Return the API token of a launch's server: HMAC-SHA256 under a hub secret, as 64 hexadecimal digits.

    Derived, so that a hub that was restarted takes up a server that it had let begin.
    """
    return hmac.new(hub_secret, b"launcher api token " + launch_id.encode(), hashlib.sha256).hexdigest()


def sign(launch_key: str, body: bytes) -> str:
    """Return the signature of a message's body: HMAC-SHA256 in hexadecimal digits."""
    return hmac.new(bytes.fromhex(launch_key), body, hashlib.sha256).hexdigest()


def verify(launch_key: str, body: bytes, signature: str) -> bool:
    """Tell whether a signature is that of this body under this launch key."""
    return hmac.compare_digest(sign(launch_key, body).encode(), signature.encode())


def probe_proof(launch_key: str, nonce: str) -> str:
    """Return the answer to a probe, which only the launch itself can give: HMAC of the nonce."""
    return sign(launch_key, b"probe " + nonce.encode())


def stop_proof(launch_key: str, nonce: str) -> str:
    """Return what proves that the hub of a launch asks its server to end: HMAC of a nonce."""
    return sign(launch_key, b"stop " + nonce.encode())


def encode(message: Claim | ClaimAnswer | Event | Pulling | ScriptExit | Stop) -> bytes:
    """Return a message as JSON; an event carries only the fields of its kind."""
    names = list(message._fields)
    if isinstance(message, Event):
        names = ["launch_id", "kind", "sequence", *_EVENT_FIELDS.get(message.kind, ())]
        if message.exit_code is None and "exit_code" in names:
            names.remove("exit_code")
        if message.kind is EventKind.ALIVE and not message.port:
            names = names[:3]
    values = {name: getattr(message, name) for name in names}
    if isinstance(message, ClaimAnswer) and message.tls:
        values["tls"] = message.tls._asdict()
    # Escapes would make twelve bytes of one character; names of files may hold lone surrogates.
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def parse_claim(body: bytes) -> Claim:
    """Read a claim.

    Raises:
        ProtocolError: If it is not exactly one.
    """
    fields = _Fields(body)
    return fields.done(
        Claim(
            ticket=fields.text("ticket", _HEX64),
            nonce=fields.text("nonce", _HEX64),
            job_id=fields.text("job_id", _JOB_ID),
            node=fields.text("node", _NODE),
            jupyterhub_version=fields.text("jupyterhub_version", _VERSION),
            hosts=_hosts(fields.strings("hosts")),
        )
    )


def _hosts(values: list[str]) -> list[str]:
    if len(values) > MAX_HOSTS or not all(map(_ADDRESS.fullmatch, values)):
        raise ProtocolError(f"hosts: at most {MAX_HOSTS} names and addresses")
    return values


def parse_stop(body: bytes) -> Stop:
    """Read the hub's wish that a server end.

    Raises:
        ProtocolError: If it is not exactly one.
    """
    fields = _Fields(body)
    return fields.done(Stop(nonce=fields.text("nonce", _HEX64)))


def asked_to_stop(launch_key: str, body: bytes, signature: str) -> str | None:
    """Return the nonce of the hub's own wish that a server end, or None if it is not the hub's.

    Args:
        launch_key: The launch key, 64 hexadecimal digits.
        body: The request's body.
        signature: Its header `SIGNATURE_HEADER`.
    """
    try:
        nonce = parse_stop(body).nonce
    except ProtocolError:
        return None
    return nonce if hmac.compare_digest(signature.encode(), stop_proof(launch_key, nonce).encode()) else None


def parse_event(body: bytes) -> Event | Pulling | ScriptExit:
    """Read an event, or what the batch script itself says: that it pulls an image, or its last words.

    Raises:
        ProtocolError: If it is none of them.
    """
    fields = _Fields(body)
    if not fields.values.keys().isdisjoint(("image", "done", "total")):
        return fields.done(
            Pulling(
                ticket=fields.text("ticket", _HEX64),
                image=fields.text("image", _IMAGE),
                done=fields.number_or_none("done", 0, _MAX_BYTES),
                total=fields.number_or_none("total", 1, _MAX_BYTES),
                job_id=fields.text("job_id", _MAYBE_JOB_ID),
            )
        )
    if "ticket" in fields.values:
        return fields.done(
            ScriptExit(
                ticket=fields.text("ticket", _HEX64),
                exit_code=fields.number("exit_code", 0, 255),
                job_id=fields.text("job_id", _MAYBE_JOB_ID),
            )
        )
    try:
        kind = EventKind(str(fields.take("kind")))
    except ValueError:
        raise ProtocolError(f"kind: one of {', '.join(EventKind)}") from None
    launch_id = fields.text("launch_id", _LAUNCH_ID)
    sequence = fields.number("sequence", 1, 2**63 - 1)
    if kind is EventKind.READY or (kind is EventKind.ALIVE and "port" in fields.values):
        event = Event(
            launch_id,
            kind,
            sequence,
            address=fields.text("address", _ADDRESS),
            port=fields.number("port", 1, 65535),
        )
    elif kind is EventKind.STOPPING:
        event = Event(
            launch_id,
            kind,
            sequence,
            reason=fields.prose("reason"),
            message=fields.prose("message", default=""),
            exit_code=fields.number("exit_code", 0, 255) if "exit_code" in fields.values else None,
        )
    else:
        event = Event(launch_id, kind, sequence)
    return fields.done(event)


def parse_claim_answer(body: bytes) -> ClaimAnswer:
    """Read the hub's answer to a claim.

    Images are rebuilt less often than hubs: what only a newer hub says is passed over.

    Raises:
        ProtocolError: If it is none, as when a proxy in between answered in the hub's place.
    """
    fields = _Fields(body, limit=_MAX_ANSWER)
    # What an older hub does not say has its default.
    fields.values = ClaimAnswer._field_defaults | fields.values
    return ClaimAnswer(
        launch_id=fields.text("launch_id", _LAUNCH_ID),
        launch_key=fields.text("launch_key", _HEX64),
        environment=fields.mapping("environment", _VARIABLE),
        arguments=_handed_on("arguments", fields.strings("arguments")),
        networks=_networks(fields.strings("networks")),
        names=fields.strings("names"),
        interface=fields.text("interface", _INTERFACE),
        ports=_ports(fields.take("ports")),
        start_directory=fields.text("start_directory", _PATH),
        vscode=fields.boolean("vscode"),
        jupyterhub_version=fields.text("jupyterhub_version", _VERSION),
        tls=_tls(fields.take("tls")),
        cluster=fields.prose("cluster"),
        title=fields.prose("title"),
        kind=fields.prose("kind"),
        images=fields.mapping("images", _PATH),
        cluster_name=fields.prose("cluster_name"),
        log=fields.text("log", _MAYBE_PATH),
        proxy=fields.boolean("proxy"),
        warnings=_minutes(fields.take("warnings")),
        end_warning=fields.number("end_warning", 0, _MAX_SECONDS),
    )


def is_claim_answer(body: bytes) -> bool:
    """Tell whether a body is a hub's answer to a claim, be it of a form that is not known here."""
    try:
        return "launch_id" in _Fields(body, limit=_MAX_ANSWER).values
    except ProtocolError:
        return False


def _handed_on(name: str, values: list[str]) -> list[str]:
    if not all(map(_HANDED_ON.fullmatch, values)):
        raise ProtocolError(f"{name}: no process can be given that")
    return values


def _networks(values: list[str]) -> list[str]:
    try:
        for value in values:
            ip_network(value)
    except ValueError:
        raise ProtocolError("networks: not a list of networks") from None
    return values


def _ports(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(port) is int for port in value):
        raise ProtocolError("ports: null, or the first and the last one")
    first, last = value
    if not 1 <= first <= last <= 65535:
        raise ProtocolError("ports: not a range from 1 to 65535")
    return first, last


def _minutes(value: Any) -> list[int]:
    numbers: list[Any] = value if isinstance(value, list) else [None]
    if not all(type(each) is int and 0 < each <= _MAX_SECONDS for each in numbers):
        raise ProtocolError("warnings: not a list of minutes")
    return numbers


def _tls(value: Any) -> Tls | None:
    names = {"key", "certificate", "authority"}
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != names or not all(map(_is_text, value.values())):
        raise ProtocolError("tls: null, or key, certificate and authority")
    return Tls(**value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


class _Fields:
    """One JSON object, taken apart field by field until nothing is left."""

    def __init__(self, body: bytes, limit: int = MAX_MESSAGE_BYTES) -> None:
        if len(body) > limit:
            raise ProtocolError(f"the message is longer than {limit} bytes")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            raise ProtocolError("the message is not JSON") from None
        if not isinstance(values, dict):
            raise ProtocolError("the message is not a JSON object")
        self.values: dict[str, Any] = values

    def take(self, name: str) -> Any:
        if name not in self.values:
            raise ProtocolError(f"{name}: missing")
        return self.values.pop(name)

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.take(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ProtocolError(f"{name}: not of the form {pattern.pattern}")
        return value

    def prose(self, name: str, default: str | None = None) -> str:
        value = self.take(name) if default is None else self.values.pop(name, default)
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise ProtocolError(f"{name}: not a text of at most {_MAX_TEXT} characters")
        return value

    def number(self, name: str, low: int, high: int) -> int:
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            raise ProtocolError(f"{name}: not a whole number from {low} to {high}")
        return value

    def number_or_none(self, name: str, low: int, high: int) -> int | None:
        if self.values.get(name, 0) is None:
            self.take(name)
            return None
        return self.number(name, low, high)

    def strings(self, name: str) -> list[str]:
        value = self.take(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ProtocolError(f"{name}: not a list of texts")
        return value

    def boolean(self, name: str) -> bool:
        value = self.take(name)
        if not isinstance(value, bool):
            raise ProtocolError(f"{name}: neither true nor false")
        return value

    def mapping(self, name: str, key: re.Pattern[str]) -> dict[str, str]:
        value = self.take(name)
        if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
            raise ProtocolError(f"{name}: not an object of texts")
        if not all(map(key.fullmatch, value)):
            raise ProtocolError(f"{name}: a name that is none")
        _handed_on(name, [*value.values()])
        return dict(value)

    def done(self, message: _Message) -> _Message:
        if self.values:
            raise ProtocolError(f"unknown fields: {', '.join(sorted(self.values))[:200]}")
        return message
