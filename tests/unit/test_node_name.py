"""Names of compute nodes: a whole host name of a pattern, and nothing that a resolver takes for another."""

import pytest

from launcher.node_name import fits


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("nid001", ["nid*"]),
        ("nid", ["nid*"]),
        ("nid001234.hpc.example.org", ["nid*.hpc.example.org"]),
        ("x1000c0s1b0n0", ["x*c*s*b*n*"]),
        ("node-7", ["login*", "*-*"]),
        ("localhost", ["localhost"]),
        ("a" * 63 + ".example.org", ["*.example.org"]),
    ],
)
def test_a_name_that_a_pattern_allows(name, patterns):
    assert fits(name, patterns)


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("nid001", []),
        ("nid001", ["nid"]),
        ("xnid001", ["nid*"]),
        ("nid001x", ["*1"]),
        ("nid001.evil.example", ["nid*"]),
        ("nid001.evil.example.org", ["nid*.example.org"]),
        ("evil.org", ["*.example.org"]),
        ("nid001", ["nid001.example.org"]),
    ],
)
def test_a_name_that_none_allows(name, patterns):
    assert not fits(name, patterns)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "NID001",
        "nid001.",
        ".nid001",
        "nid..001",
        "nid_001",
        "-nid001",
        "nid001-",
        "nid001\n",
        "nid001 ",
        "nid001:80",
        "nid001/",
        "nid001\\",
        "nid001#",
        "nid001?",
        "nid%30",
        "user@nid001",
        "nid001@evil",
        "nid\N{FULLWIDTH DIGIT ONE}",
        "n\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}d001",
        "nid001\N{IDEOGRAPHIC FULL STOP}evil",
        "xn--nid001-4ve",
        "[nid001]",
        "a" * 64,
        ".".join(["a" * 62] * 5),
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "nid.1",
        "nid.0x",
        "::1",
        "fd00::7",
    ],
)
def test_what_is_no_host_name_in_lower_case_fits_nothing(name):
    assert not fits(name, ["*", "*.*", "*.*.*", "*.*.*.*", "nid*", name])


def test_a_pattern_of_many_stars_is_no_trap():
    assert not fits("a" * 63, ["a*" * 30 + "b"])
