"""GPUs of a session: what nvidia-smi says, whatever it says, and however long it takes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.singleuser.environment import Environments
from launcher.singleuser.panel import gpus as module
from launcher.singleuser.panel.gpus import Gpus, gpus

GIB = 2**30
UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
H100 = {"name": "NVIDIA H100", "used": 37, "memory": 2 * GIB, "limit": 96 * GIB}


@pytest.fixture
def smi(tmp_path):
    """Return a function that writes an nvidia-smi, and returns the GPUs of a session that has it."""

    def write(script, server=False, **variables):
        path = tmp_path / "nvidia-smi"
        path.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/calls\n{script}\n')
        path.chmod(0o755)
        paths = [f"{tmp_path}:{os.environ['PATH']}", "/nowhere"]
        here, there = reversed(paths) if server else paths
        return Gpus(Environments({"PATH": there}, {"PATH": here, **variables}, {}, [], []))

    return write


def said(gpus):
    """Return what is known once nvidia-smi has been heard out."""
    gpus.read()
    with gpus._asking:
        pass
    return gpus.read()


def calls(tmp_path):
    path = tmp_path / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_each_gpu_has_a_name_its_use_and_its_memory(smi, tmp_path):
    it = smi("echo 'NVIDIA H100, 37, 2048, 98304'; echo 'NVIDIA H100, 0, 1, 98304'")
    assert said(it) == [H100, {**H100, "used": 0, "memory": 2**20}]
    assert calls(tmp_path) == [
        "--query-gpu=name,utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits"
    ]


def test_it_may_be_there_only_for_the_server(smi):
    assert said(smi("echo 'NVIDIA H100, 37, 2048, 98304'", server=True)) == [H100]


@pytest.mark.parametrize("visible", ["0", "0,3", UUID, f"{UUID},{UUID}"])
def test_only_those_of_the_job_are_asked_about(smi, tmp_path, visible):
    said(smi("", CUDA_VISIBLE_DEVICES=visible))
    assert calls(tmp_path)[0].endswith(f" --id={visible}")


@pytest.mark.parametrize(
    "visible", ["", "NoDevFiles", "-1", "0 --help", "0;id", "0\n", f"MIG-{UUID[4:]}", "0,", "GPU-8932f937"]
)
def test_where_the_job_has_none_or_parts_of_them_nothing_is_asked(smi, tmp_path, visible):
    assert said(smi("echo 'NVIDIA H100, 37, 2048, 98304'", CUDA_VISIBLE_DEVICES=visible)) == []
    assert calls(tmp_path) == []


def test_where_there_is_no_nvidia_smi_there_are_no_gpus():
    assert said(Gpus(Environments({"PATH": "/nowhere"}, {"PATH": "/nowhere"}, {}, [], []))) == []


@pytest.mark.parametrize(
    "script",
    [
        "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
        "echo 'NVIDIA H100, 37, 2048, 98304'; exit 1",
        "echo 'No devices were found'",
        "head -c 200000 /dev/zero",
        "kill -9 $$",
    ],
)
def test_one_that_fails_means_no_gpus(smi, script, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.5)
    assert said(smi(script)) == []


def test_one_that_hangs_is_killed_and_not_asked_again_for_minutes(smi, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.5)
    it = smi(f"echo $$ > {tmp_path}/pid; sleep 1000")
    assert said(it) == []
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    assert said(it) == []
    assert len(calls(tmp_path)) == 1
    assert it._next - time.monotonic() > 120


def test_there_is_never_more_than_one_and_nobody_waits_for_it(smi, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    it = smi(f"read < {go}; echo 'NVIDIA H100, 37, 2048, 98304'")
    assert [it.read() for _ in range(5)] == [[]] * 5
    go.write_text("\n")
    assert said(it) == [H100]
    assert len(calls(tmp_path)) == 1


def test_it_is_asked_again_after_a_while_and_old_news_is_none(smi, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(module, "time", clock)
    it = smi("echo 'NVIDIA H100, 37, 2048, 98304'")
    assert said(it) == said(it) == [H100]
    assert len(calls(tmp_path)) == 1
    clock.sleep(3600)
    assert it.read() == []
    assert said(it) == [H100]
    assert len(calls(tmp_path)) == 2


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("NVIDIA GH200 120GB, [N/A], 2048, 98304", [{"used": None}]),
        ("NVIDIA GH200 120GB, [Not Supported], 2048, 98304", [{"used": None}]),
        ("A name, with a comma, 5, 2048, 98304", [{"name": "A name, with a comma"}]),
        ("x, 250, 2048, 98304", [{"used": 100}]),
        (f"{'x' * 500}, 5, 2048, 98304", [{"name": "x" * 80}]),
        ("x, 5, [N/A], [N/A]", []),
        ("x, 5, -1, 98304", []),
        ("x, 5, 1, 0", []),
        ("x, 5, 1e9, 98304", []),
        ("\x1b[31mx, 5, 2048, 98304", []),
        ("2048", []),
        ("", []),
    ],
)
def test_what_is_no_number_is_left_out(line, found):
    read = gpus(line)
    assert len(read) == len(found)
    for one, expected in zip(read, found, strict=True):
        assert one.items() >= expected.items()


@given(st.text())
def test_whatever_it_prints_has_the_right_kinds(text):
    for gpu in gpus(text):
        assert gpu["used"] is None or 0 <= gpu["used"] <= 100
        assert gpu["memory"] >= 0 < gpu["limit"]
        assert gpu["name"].isprintable()


def test_a_thousand_lines_are_too_many():
    assert len(gpus("x, 5, 2048, 98304\n" * 1000)) == 64
