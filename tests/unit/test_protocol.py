"""The messages between hub and compute node: what passes, and that nothing else does."""

import json
import re
from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.protocol import (
    MAX_HOSTS,
    MAX_MESSAGE_BYTES,
    Claim,
    ClaimAnswer,
    Event,
    EventKind,
    ProtocolError,
    Pulling,
    ScriptExit,
    Stop,
    Tls,
    asked_to_stop,
    derive_api_token,
    derive_launch_key,
    encode,
    encode_refusal,
    is_claim_answer,
    made_here,
    new_launch_id,
    new_nonce,
    new_ticket,
    parse_claim,
    parse_claim_answer,
    parse_event,
    parse_refusal,
    parse_stop,
    probe_proof,
    sign,
    stop_proof,
    ticket_hash,
    verify,
)

HEX64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
LAUNCH_ID = st.binary(min_size=16, max_size=16).map(bytes.hex)
JOB_ID = st.integers(0, 10**20 - 1).map(str) | st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)).map(
    lambda ids: f"{ids[0]}_{ids[1]}"
)
NODE = st.sampled_from(["nid001234", "n", "node-1.cluster.example.org", "exa_42", "N" * 254])
ADDRESS = st.ip_addresses().map(str) | NODE
VERSION = st.sampled_from(["6.1.1", "5.5.1", "7.0.0rc1", "6.2.0.dev0+g1234567", "1!6.0", "0"])
SEQUENCE = st.integers(1, 2**63 - 1)
EXIT_CODE = st.integers(0, 255)
# Messages may quote file names of any bytes: os.fsdecode makes lone surrogates of those that are no UTF-8.
PROSE = st.text(st.characters(codec=None), max_size=100)
TEXT = st.text(st.characters(codec=None), max_size=40)
# What a process can be given is any bytes but NUL.
VALUE = st.binary(max_size=40).map(lambda value: value.replace(b"\0", b"").decode(errors="surrogateescape"))
VARIABLE = VALUE.map(lambda name: name.replace("=", "") or "A")
NETWORK = st.tuples(st.ip_addresses(), st.integers(0, 32)).map(lambda parts: ip_network(parts, strict=False))
PORT = st.integers(1, 65535)
MOUNT = st.sampled_from(["/user-environment", "/user-tools", "/mnt/a b", "/\udcff"])

CLAIMS = st.builds(Claim, HEX64, HEX64, JOB_ID, NODE, VERSION, st.lists(ADDRESS, max_size=MAX_HOSTS))
ANSWERS = st.builds(
    ClaimAnswer,
    LAUNCH_ID,
    HEX64,
    st.dictionaries(VARIABLE, VALUE, max_size=5),
    st.lists(VALUE, max_size=5),
    st.lists(NETWORK.map(str), max_size=3),
    st.lists(TEXT, max_size=3),
    st.sampled_from(["", "hsn0", "eth0:1", "enp0s31f6"]),
    st.none() | st.tuples(PORT, PORT).map(lambda ports: (min(ports), max(ports))),
    st.sampled_from(["/", "/home/alice", "/scratch/a directory/é"]),
    st.booleans(),
    VERSION,
    st.none() | st.builds(Tls, TEXT, TEXT, TEXT),
    PROSE,
    PROSE,
    PROSE,
    st.dictionaries(MOUNT, VALUE, max_size=3),
    PROSE,
    st.sampled_from(["", "/home/alice/jupyterlab-42.log", "/scratch/a directory/é.log"]),
    st.booleans(),
    st.lists(st.integers(1, 60 * 24 * 365), max_size=4),
    st.integers(0, 3600),
)
PLAIN_KINDS = st.sampled_from([EventKind.STARTING, EventKind.ALIVE])
EVENTS = st.one_of(
    st.tuples(LAUNCH_ID, PLAIN_KINDS, SEQUENCE).map(lambda event: Event(*event)),
    st.builds(
        Event,
        LAUNCH_ID,
        st.sampled_from([EventKind.READY, EventKind.ALIVE]),
        SEQUENCE,
        address=ADDRESS,
        port=st.integers(1, 65535),
        reason=st.just(""),
        message=st.just(""),
        exit_code=st.none(),
    ),
    st.builds(
        Event,
        LAUNCH_ID,
        st.just(EventKind.STOPPING),
        SEQUENCE,
        address=st.just(""),
        port=st.just(0),
        reason=PROSE,
        message=PROSE,
        exit_code=st.none() | EXIT_CODE,
    ),
)
EXITS = st.builds(ScriptExit, HEX64, EXIT_CODE, st.just("") | JOB_ID)
BYTES = st.none() | st.integers(1, 2**63 - 1)
PULLS = st.builds(Pulling, HEX64, st.just("prgenv-gnu/24.11:v1@*%gh200"), BYTES, BYTES, st.just("") | JOB_ID)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
PARSERS = [parse_claim, parse_event, parse_claim_answer, parse_stop]

CLAIM = {
    "ticket": "a" * 64,
    "nonce": "b" * 64,
    "job_id": "42",
    "node": "nid001",
    "jupyterhub_version": "6.1.1",
    "hosts": ["nid001", "10.0.0.7", "fd00:7::1"],
}
READY = {"launch_id": "c" * 32, "kind": "ready", "sequence": 3, "address": "10.0.0.7", "port": 40000}
ALIVE = {"launch_id": "c" * 32, "kind": "alive", "sequence": 4}
STOPPING = {"launch_id": "c" * 32, "kind": "stopping", "sequence": 5, "reason": "exit", "message": "bye"}
EXIT = {"ticket": "a" * 64, "exit_code": 3, "job_id": "42"}
ANSWER = {
    "launch_id": "c" * 32,
    "launch_key": "d" * 64,
    "environment": {"JUPYTERHUB_API_TOKEN": "secret"},
    "arguments": ["--debug"],
    "networks": ["10.0.0.0/8"],
    "names": [],
    "interface": "hsn0",
    "ports": [40000, 40100],
    "start_directory": "/home/alice",
    "vscode": True,
    "jupyterhub_version": "6.1.1",
    "tls": None,
    "cluster": "Daint",
    "title": "prgenv-gnu 24.11",
    "kind": "uenv",
    "images": {"/user-environment": "prgenv-gnu/24.11:v1"},
    "cluster_name": "daint",
    "log": "/home/alice/jupyterlab-42.log",
    "proxy": True,
    "warnings": [30, 10],
    "end_warning": 120,
}
# What a hub may not say yet, or has nothing to say of.
NOT_NEEDED = {
    *("tls", "cluster", "title", "kind", "images", "cluster_name", "log", "proxy", "warnings", "end_warning")
}
TLS = {"key": "k", "certificate": "c", "authority": "a"}
PULLING = {"ticket": "a" * 64, "image": "prgenv-gnu/24.11:v1", "done": 5, "total": 7, "job_id": "42"}
STOP = {"nonce": "b" * 64}
WHOLE = [
    (parse_claim, CLAIM),
    (parse_event, READY),
    (parse_event, ALIVE),
    (parse_event, STOPPING),
    (parse_event, EXIT),
    (parse_event, PULLING),
    (parse_claim_answer, ANSWER),
    (parse_stop, STOP),
]


def as_json(values):
    return json.dumps(values).encode()


def refused(parse, values):
    """Return the words with which a message is refused."""
    with pytest.raises(ProtocolError) as error:
        parse(as_json(values))
    return str(error.value)


class TestRoundTrip:
    @given(CLAIMS)
    def test_a_claim_arrives_as_it_was_sent(self, claim):
        assert parse_claim(encode(claim)) == claim

    @given(ANSWERS)
    def test_an_answer_to_a_claim_arrives_as_it_was_sent(self, answer):
        assert parse_claim_answer(encode(answer)) == answer

    @given(EVENTS)
    def test_an_event_arrives_as_it_was_sent(self, event):
        assert parse_event(encode(event)) == event

    @given(EXITS)
    def test_the_scripts_last_words_arrive_as_they_were_sent(self, last_words):
        assert parse_event(encode(last_words)) == last_words

    @given(PULLS)
    def test_what_the_script_says_of_a_pull_arrives_as_it_was_sent(self, pulling):
        assert parse_event(encode(pulling)) == pulling

    @given(st.text(st.characters(codec=None), max_size=100))
    def test_a_refusal_arrives_as_it_was_sent(self, why):
        assert parse_refusal(encode_refusal(why)) == why

    @pytest.mark.parametrize(("parse", "values"), WHOLE)
    def test_the_examples_of_this_file_are_whole(self, parse, values):
        assert parse(as_json(values))

    @given(EVENTS)
    def test_an_event_carries_only_the_fields_of_its_kind(self, event):
        sent = set(json.loads(encode(event)))
        where = {"address", "port"}
        own = {
            EventKind.READY: where,
            EventKind.ALIVE: where,
            EventKind.STOPPING: {"reason", "message", "exit_code"},
        }
        assert sent - {"launch_id", "kind", "sequence"} <= own.get(event.kind, set())

    @pytest.mark.parametrize("character", ["x", "é", "\U0001f600", "\0", "\udcff"])
    def test_the_longest_message_for_a_user_fits_whatever_it_is_written_in(self, character):
        event = Event("c" * 32, EventKind.STOPPING, 1, reason="failed", message=character * 1900)
        assert len(encode(event)) <= MAX_MESSAGE_BYTES
        assert parse_event(encode(event)) == event


class TestAnythingElseIsRefused:
    @pytest.mark.parametrize("parse", PARSERS)
    @given(body=st.binary(max_size=200))
    @example(body=b"\xff\xfe")
    @example(body=b"NaN")
    @example(body=b"9" * 5000)
    @example(body=b'{"kind":' + b"9" * 5000 + b"}")
    @example(body=b'{"kind":"\\ud800"}')
    def test_no_bytes_raise_anything_but_a_protocol_error(self, parse, body):
        with pytest.raises(ProtocolError):
            parse(body)

    @pytest.mark.parametrize("parse", PARSERS)
    @given(values=JSON)
    def test_no_json_raises_anything_but_a_protocol_error(self, parse, values):
        with pytest.raises(ProtocolError):
            parse(as_json(values))

    @pytest.mark.parametrize(("parse", "values"), WHOLE)
    @given(data=st.data())
    def test_one_field_of_any_other_value_is_refused_or_taken_as_it_is(self, parse, values, data):
        name = data.draw(st.sampled_from(sorted(values)))
        value = data.draw(JSON)
        try:
            message = parse(as_json({**values, name: value}))
        except ProtocolError:
            return
        taken = getattr(message, name)
        assert (list(taken) if isinstance(taken, tuple) else taken) == value

    @pytest.mark.parametrize(("parse", "values"), WHOLE)
    def test_a_missing_field(self, parse, values):
        for name in set(values) - {"message", "ticket"} - NOT_NEEDED:
            assert name in refused(parse, {key: value for key, value in values.items() if key != name})

    @pytest.mark.parametrize(("parse", "values"), [each for each in WHOLE if each[0] != parse_claim_answer])
    def test_an_unknown_field(self, parse, values):
        assert refused(parse, {**values, "admin": True}) == "unknown fields: admin"

    def test_but_not_what_only_a_newer_hub_says_to_an_older_image(self):
        assert parse_claim_answer(as_json({**ANSWER, "admin": True})) == parse_claim_answer(as_json(ANSWER))

    @pytest.mark.parametrize("name", sorted(NOT_NEEDED))
    def test_nor_what_an_older_hub_does_not_say(self, name):
        answer = parse_claim_answer(as_json({key: value for key, value in ANSWER.items() if key != name}))
        assert getattr(answer, name) == ClaimAnswer._field_defaults[name]

    @pytest.mark.parametrize("name", ["address", "reason", "message", "exit_code"])
    def test_a_field_of_another_kind_of_event(self, name):
        assert name in refused(parse_event, {**ALIVE, name: READY.get(name) or STOPPING.get(name, 0)})

    @pytest.mark.parametrize(
        ("parse", "values", "name"),
        [
            (parse_claim, CLAIM, "ticket"),
            (parse_claim, CLAIM, "nonce"),
            (parse_claim, CLAIM, "job_id"),
            (parse_claim, CLAIM, "node"),
            (parse_claim, CLAIM, "jupyterhub_version"),
            (parse_event, READY, "launch_id"),
            (parse_event, READY, "address"),
            (parse_event, ALIVE, "kind"),
            (parse_event, EXIT, "ticket"),
            (parse_claim_answer, ANSWER, "launch_id"),
            (parse_claim_answer, ANSWER, "launch_key"),
            (parse_stop, STOP, "nonce"),
        ],
    )
    @pytest.mark.parametrize("tail", ["\n", " ", "\0", "\r\n", "\u2028"])
    def test_a_trailing_newline_or_blank(self, parse, values, name, tail):
        assert name in refused(parse, {**values, name: values[name] + tail})

    def test_an_alive_that_tells_a_port_without_an_address(self):
        assert refused(parse_event, {**ALIVE, "port": 40000}) == "address: missing"

    @pytest.mark.parametrize("wrong", [None, True, 1, 1.5, [], {}, ["a" * 64], {"a" * 64: 1}])
    @pytest.mark.parametrize("name", sorted(set(CLAIM) - {"hosts"}))
    def test_a_claim_with_a_field_that_is_no_text(self, name, wrong):
        assert name in refused(parse_claim, {**CLAIM, name: wrong})

    @pytest.mark.parametrize(
        "wrong",
        ["nid001", None, [1], [["nid001"]], ["-h"], ["a b"], ["10.0.0.7/8"], ["nid001\n"], ["n"] * 41],
    )
    def test_a_claim_whose_hosts_are_none(self, wrong):
        assert "hosts" in refused(parse_claim, {**CLAIM, "hosts": wrong})

    @pytest.mark.parametrize(
        ("values", "name"),
        [(READY, "sequence"), (READY, "port"), (STOPPING, "exit_code"), (EXIT, "exit_code")],
    )
    @pytest.mark.parametrize("wrong", [True, False, "1", 1.0, None, [1], -1, 2**70])
    def test_a_number_that_is_a_boolean_a_text_a_fraction_or_out_of_range(self, values, name, wrong):
        assert name in refused(parse_event, {**values, name: wrong})

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("port", 0),
            ("port", 65536),
            ("sequence", 0),
            ("sequence", 2**63),
            ("kind", "READY"),
            ("kind", "claim"),
            ("kind", ["ready"]),
            ("launch_id", "C" * 32),
            ("launch_id", "c" * 31),
            ("address", "-h"),
            ("address", "10.0.0.7/evil"),
            ("address", "user@10.0.0.7"),
            ("address", "10.0.0.7 "),
            ("address", "\u0661.0.0.1"),
        ],
    )
    def test_a_ready_that_leads_elsewhere(self, name, wrong):
        assert name in refused(parse_event, {**READY, name: wrong})

    @pytest.mark.parametrize("exit_code", [256, -1, 1000])
    def test_an_exit_code_that_no_process_has(self, exit_code):
        assert "exit_code" in refused(parse_event, {**STOPPING, "exit_code": exit_code})
        assert "exit_code" in refused(parse_event, {**EXIT, "exit_code": exit_code})

    @pytest.mark.parametrize("name", ["reason", "message"])
    def test_more_prose_than_anyone_reads(self, name):
        assert parse_event(as_json({**STOPPING, name: "x" * 2000}))
        assert name in refused(parse_event, {**STOPPING, name: "x" * 2001})

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("ports", [1]),
            ("ports", [1, 2, 3]),
            ("ports", [True, False]),
            ("ports", ["1", "2"]),
            ("ports", "12"),
            ("ports", {"0": 1, "1": 2}),
            ("ports", [70000, 70001]),
            ("ports", [0, 0]),
            ("ports", [40100, 40000]),
            ("environment", {"A": 1}),
            ("environment", {"A": None}),
            ("environment", [["A", "1"]]),
            ("environment", {"A=B": "1"}),
            ("environment", {"": "1"}),
            ("environment", {"A\0": "1"}),
            ("environment", {"A": "1\0"}),
            ("environment", {"A": "\ud800"}),
            ("arguments", "--debug"),
            ("arguments", [1]),
            ("arguments", ["--debug\0"]),
            ("networks", None),
            ("networks", ["banana"]),
            ("networks", ["10.0.0.1/8"]),
            ("names", "nid001"),
            ("interface", None),
            ("interface", "hsn0\n"),
            ("interface", "a" * 16),
            ("start_directory", ""),
            ("start_directory", "scratch"),
            ("start_directory", "/scratch\0"),
            ("start_directory", "/\ud800"),
            ("vscode", 1),
            ("vscode", "true"),
            ("vscode", None),
            ("tls", False),
            ("tls", {}),
            ("tls", {**TLS, "key": None}),
            ("tls", {**TLS, "more": ""}),
            ("tls", ["k", "c", "a"]),
            ("cluster", None),
            ("title", ["gnu"]),
            ("kind", "x" * 2001),
            ("cluster_name", None),
            ("images", None),
            ("images", ["/user-environment"]),
            ("images", {"/user-environment": None}),
            ("images", {"user-environment": "gnu"}),
            ("log", None),
            ("log", "jupyterlab-42.log"),
            ("log", "/jupyterlab\n.log"),
            ("proxy", 1),
            ("proxy", None),
            ("warnings", None),
            ("warnings", 30),
            ("warnings", "30"),
            ("warnings", [0]),
            ("warnings", [-5]),
            ("warnings", [2.5]),
            ("warnings", [True]),
            ("warnings", ["30"]),
            ("warnings", [10**10]),
            ("end_warning", -1),
            ("end_warning", None),
            ("end_warning", True),
            ("end_warning", 10**10),
        ],
    )
    def test_an_answer_whose_values_are_not_what_they_should_be(self, name, wrong):
        assert name in refused(parse_claim_answer, {**ANSWER, name: wrong})

    @pytest.mark.parametrize("parse", [parse_claim, parse_event, parse_stop])
    def test_a_message_that_is_too_long_is_not_even_read(self, parse):
        with pytest.raises(ProtocolError, match="longer than 16384 bytes"):
            parse(b" " * (MAX_MESSAGE_BYTES + 1))

    def test_an_answer_may_be_longer_than_a_nodes_message_but_not_endless(self):
        values = {**ANSWER, "environment": {"CERTIFICATE": "x" * 100_000}}
        assert parse_claim_answer(as_json(values))
        with pytest.raises(ProtocolError, match="longer"):
            parse_claim_answer(b" " * (1024 * 1024 + 1))

    @pytest.mark.parametrize("parse", PARSERS)
    @pytest.mark.parametrize("depth", [100, 900, 950, 1000, 1100, 2000])
    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
    def test_deep_nesting(self, parse, depth, opening, closing):
        nested = opening * depth + "1" + closing * depth
        for body in (nested, opening * depth, f'{{"kind":{nested}}}', f'{{"ticket":{nested}}}'):
            with pytest.raises(ProtocolError):
                parse(body.encode())

    def test_the_words_of_a_refusal_stay_short_and_name_no_value(self):
        assert len(refused(parse_event, {**ALIVE, "x" * 10_000: 1})) < 300
        assert "s3cret" not in refused(parse_claim, {**CLAIM, "ticket": "s3cret"})


class TestOtherForm:
    """A hub's answer is the hub's even where it is of a form that is not known."""

    def test_what_brings_a_launch_is_one(self):
        assert is_claim_answer(as_json(ANSWER))
        assert is_claim_answer(as_json({"launch_id": 7}))

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>launch_id", as_json(ANSWER)[:-1]])
    def test_what_a_proxy_may_say_is_none(self, body):
        assert not is_claim_answer(body)


class TestRefusal:
    """Only the hub's own words may end a job."""

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"Gone",
            b"<html><body>410 Gone</body></html>",
            b"{}",
            b"[]",
            b'{"status":410,"message":"Gone"}',
            b'{"launcher":"not-wanted"}',
            b'{"launcher":"wanted","why":"x"}',
            b'{"launcher":["not-wanted"],"why":"x"}',
            b'{"launcher":"not-wanted","why":1}',
            b'{"launcher":"not-wanted","why":"x","more":1}',
            b'{"launcher":"not-wanted","why":"x"',
            b" " * (MAX_MESSAGE_BYTES + 1),
            b"[" * 10_000,
        ],
    )
    def test_what_a_proxy_may_say_is_none(self, body):
        assert parse_refusal(body) is None

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything(self, body):
        assert parse_refusal(body) is None

    @given(JSON)
    def test_no_json_raises_anything(self, values):
        assert parse_refusal(as_json(values)) is None


class TestSecrets:
    def test_tickets_nonces_and_ids_are_random_and_of_the_protocols_form(self):
        assert re.fullmatch(r"[0-9a-f]{64}", new_ticket())
        assert re.fullmatch(r"[0-9a-f]{64}", new_nonce())
        assert re.fullmatch(r"[0-9a-f]{32}", new_launch_id(b"secret"))
        assert len({new_ticket() for _ in range(100)} | {new_nonce() for _ in range(100)}) == 200

    def test_of_a_ticket_only_a_hash_is_kept(self):
        ticket = new_ticket()
        assert ticket_hash(ticket) == ticket_hash(ticket)
        assert ticket_hash(ticket) != ticket_hash(new_ticket())
        assert ticket not in ticket_hash(ticket)

    def test_a_launch_key_follows_from_the_hubs_secret_and_the_launch_alone(self):
        key = derive_launch_key(b"hub secret", "c" * 32)
        assert key == derive_launch_key(b"hub secret", "c" * 32)
        assert key != derive_launch_key(b"hub secret", "d" * 32)
        assert key != derive_launch_key(b"another hub", "c" * 32)
        assert re.fullmatch(r"[0-9a-f]{64}", key)

    @given(st.binary(max_size=100), HEX64)
    def test_a_signature_holds_for_its_body_and_key(self, body, key):
        assert verify(key, body, sign(key, body))

    @given(st.binary(max_size=50), st.binary(max_size=50))
    def test_a_signature_holds_for_no_other_body(self, body, other):
        assert verify("a" * 64, other, sign("a" * 64, body)) == (other == body)

    def test_a_signature_holds_for_no_other_key(self):
        assert not verify("b" * 64, b"body", sign("a" * 64, b"body"))

    @given(st.text(max_size=100))
    @example("")
    @example("é" * 64)
    @example(sign("a" * 64, b"body").upper())
    @example(sign("a" * 64, b"body") + "\n")
    def test_no_text_passes_for_a_signature(self, signature):
        assert not verify("a" * 64, b"body", signature)

    def test_a_probes_proof_depends_on_the_nonce_and_signs_no_event(self):
        nonce = new_nonce()
        assert probe_proof("a" * 64, nonce) != probe_proof("a" * 64, new_nonce())
        assert probe_proof("a" * 64, nonce) != probe_proof("b" * 64, nonce)
        assert not verify("a" * 64, nonce.encode(), probe_proof("a" * 64, nonce))

    def test_what_asks_a_server_to_end_can_not_be_had_from_its_probes(self):
        nonce = new_nonce()
        assert stop_proof("a" * 64, nonce) not in (probe_proof("a" * 64, nonce), stop_proof("b" * 64, nonce))
        assert stop_proof("a" * 64, nonce) != stop_proof("a" * 64, new_nonce())

    def test_the_wish_that_a_server_end_arrives_as_it_was_sent(self):
        assert parse_stop(encode(Stop("b" * 64))) == Stop("b" * 64)

    def test_only_the_hub_of_a_launch_asks_its_server_to_end(self):
        body = encode(Stop("b" * 64))
        proof = stop_proof("a" * 64, "b" * 64)
        assert asked_to_stop("a" * 64, body, proof) == "b" * 64
        for key, asked, signature in (
            ("c" * 64, body, proof),
            ("a" * 64, encode(Stop("c" * 64)), proof),
            ("a" * 64, body, probe_proof("a" * 64, "b" * 64)),
            ("a" * 64, body, sign("a" * 64, body)),
            ("a" * 64, body, ""),
            ("a" * 64, body, "é"),
            ("a" * 64, b"", proof),
            ("a" * 64, b"[]", proof),
        ):
            assert asked_to_stop(key, asked, signature) is None

    def test_a_hub_knows_the_launches_that_it_made(self):
        made = new_launch_id(b"hub secret")
        assert made_here(b"hub secret", made)
        assert not made_here(b"another hub", made)

    @pytest.mark.parametrize("launch_id", ["", "c" * 32, "c" * 31, "\u0661" * 32, "C" * 32])
    def test_no_other_text_is_a_launch_of_this_hub(self, launch_id):
        assert not made_here(b"hub secret", launch_id)

    def test_an_api_token_follows_from_the_hubs_secret_and_the_launch_and_is_not_the_launch_key(self):
        token = derive_api_token(b"hub secret", "c" * 32)
        assert token == derive_api_token(b"hub secret", "c" * 32)
        assert token != derive_api_token(b"hub secret", "d" * 32)
        assert token != derive_launch_key(b"hub secret", "c" * 32)
        assert re.fullmatch(r"[0-9a-f]{64}", token)

    @pytest.mark.parametrize(
        "message",
        [
            Claim("5ecre7", "b" * 64, "1", "nid001", "6.1.1"),
            ClaimAnswer("c" * 32, "5ecre7", {"TOKEN": "5ecre7"}, [], [], [], "", None, "/", True, "6.1.1"),
            ScriptExit("5ecre7", 0),
            Pulling("5ecre7", "prgenv-gnu"),
            Tls("5ecre7", "certificate", "authority"),
        ],
    )
    def test_no_secret_shows_when_a_message_is_printed(self, message):
        assert "5ecre7" not in f"{message} {message!r}"
        assert "environment" not in repr(message)
