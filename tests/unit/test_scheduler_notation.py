"""Slurm's notations, as Slurm 22.05 takes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sandbox.scheduler.notation import expand, exported, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 60),
        ("1:30", 90),
        ("0:10", 10),
        ("1:99", 159),
        ("1:2:3", 3723),
        ("2-", 2 * 86400),
        ("2-3", 2 * 86400 + 3 * 3600),
        ("2-3:4", 2 * 86400 + 3 * 3600 + 4 * 60),
        ("2-03:04:05", 2 * 86400 + 3 * 3600 + 4 * 60 + 5),
        ("0", math.inf),
        ("0:0", math.inf),
        ("-1", math.inf),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
    ],
)
def test_a_span_of_time(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "x:1", "1:", ":1", "1:2:3:4", "1.5", "1 ", " 1", "1-2-3", "+5", "1s", "1\n", "-2", "2-:1"],
)
def test_what_is_no_span_of_time(text):
    with pytest.raises(ValueError):
        seconds(text)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_a_span_that_slurm_prints_is_read(days, hours, minutes, rest):
    total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    assert seconds(f"{days}-{hours:02}:{minutes:02}:{rest:02}") == total
    assert seconds(f"{days * 24 + hours}:{minutes:02}:{rest:02}") == total


NAMES = {"job_id": "12", "name": "a b", "user": "alice"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("slurm-%j.out", "slurm-12.out"),
        ("%A-%J-%j", "12-12-12"),
        ("%x/%u", "a b/alice"),
        ("%N.%n.%t.%s", "nid001.0.0.batch"),
        ("%5j-%3t-%9x", "00012-000-a b"),
        ("100%%-%%j", "100%-%j"),
        ("%q%", "%q%"),
    ],
)
def test_a_running_jobs_file_name(pattern, expected):
    assert expand(pattern, **NAMES, node="nid001") == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("%j-%A-%x-%u", "12-12-a b-alice"), ("%N-%t-%5j-%J", "%N-%t-%5j-%J"), ("%%", "%%")],
)
def test_a_file_name_as_it_is_shown(pattern, expected):
    assert expand(pattern, **NAMES) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("", {}),
        ("A=1,B=2", {"A": "1", "B": "2"}),
        ("A=one,two,B=three", {"A": "one", "B": "three"}),
        ("A=b=c,D=", {"A": "b=c", "D": ""}),
        ("A=it's,B=three,C=b'c,D=x", {"A": "it's,B=three,C=b'c", "D": "x"}),
        ("A='lone,B=2", {"A": "'lone,B=2"}),
        ('A="q, q",B=2', {"A": '"q, q"', "B": "2"}),
    ],
)
def test_an_export_list_is_cut_as_sbatch_cuts_it(variables, expected):
    assert exported(variables) == expected


@given(st.text())
def test_no_export_list_is_too_strange(variables):
    exported(variables)
