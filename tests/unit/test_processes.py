"""The programs of the sandbox: logged, awaited with patience, and gone when the sandbox is."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.errors import SandboxError
from launcher.sandbox.processes import Program, check_port, free_ports


@pytest.fixture
async def program(tmp_path):
    """Return a function that starts a shell script as a program; it is ended at the end."""
    programs = []

    async def start(script, **environment):
        program = Program(
            "The proxy",
            ["/bin/sh", "-c", script],
            log=tmp_path / "log",
            environment={"PATH": "/usr/bin:/bin", **environment},
            directory=tmp_path,
        )
        programs.append(program)
        await program.start()
        return program

    yield start
    for each in programs:
        await each.stop(patience=0.1)


async def never():
    return False


class TestStart:
    async def test_it_gets_its_environment_and_nothing_of_ours(self, program, monkeypatch):
        monkeypatch.setenv("SECRET", "5ec2e7")
        running = await program("env; pwd", COLOUR="blue")
        assert await running.wait() == 0
        log = running.log.read_text()
        assert "COLOUR=blue" in log
        assert "5ec2e7" not in log
        assert str(running.log.parent) in log

    async def test_its_output_is_added_to_its_log(self, program):
        for word in ("one", "two"):
            await (await program(f"echo {word}; echo {word} >&2")).wait()
        assert (await program("true")).log.read_text().split() == ["one", "one", "two", "two"]

    async def test_a_signal_at_the_terminal_is_not_for_it(self, program):
        running = await program("exec sleep 60")
        assert os.getsid(running.pid) == running.pid

    async def test_it_knows_whether_it_runs(self, program, tmp_path):
        idle = Program("x", ["true"], log=tmp_path / "log", environment={}, directory=tmp_path)
        assert (idle.running, idle.pid) == (False, None)
        await idle.stop()
        running = await program("exec sleep 60")
        assert running.running
        await running.stop()
        assert not running.running


class TestUntil:
    async def test_it_is_up_when_it_says_so(self, program, tmp_path):
        running = await program("sleep 0.1; : > up; exec sleep 60")

        async def up():
            return (tmp_path / "up").exists()

        await running.until(up)
        assert running.running

    async def test_one_that_ends_first_is_told_with_its_last_lines(self, program):
        running = await program("seq 100; echo 'no such port' >&2; exit 3")
        with pytest.raises(SandboxError) as error:
            await running.until(never)
        assert error.value.what == "The proxy ended while it started."
        assert error.value.why.splitlines() == [*(str(number) for number in range(82, 101)), "no such port"]
        assert str(running.log) in error.value.todo

    async def test_one_that_is_not_installed_is_told(self, program, tmp_path):
        missing = Program(
            "The proxy",
            ["no-such-program"],
            log=tmp_path / "log",
            environment={"PATH": "/usr/bin:/bin"},
            directory=tmp_path,
        )
        await missing.start()
        with pytest.raises(SandboxError, match="no-such-program"):
            await missing.until(never)

    async def test_one_that_takes_too_long_is_told(self, program):
        running = await program("exec sleep 60")
        with pytest.raises(SandboxError, match="The proxy did not come up in time"):
            await running.until(never, timeout=0.1)


class TestStop:
    async def test_it_may_end_in_its_own_way(self, program, tmp_path):
        running = await program("trap 'echo bye; exit 0' TERM; : > up; while :; do sleep 0.02; done")
        await appears(tmp_path / "up")
        await running.stop()
        assert running.tail() == "bye"
        assert await running.wait() == 0

    async def test_one_that_will_not_end_is_killed(self, program, tmp_path):
        running = await program("trap '' TERM; : > up; while :; do sleep 0.02; done")
        await appears(tmp_path / "up")
        await running.stop(patience=0.1)
        assert await running.wait() == -signal.SIGKILL

    async def test_stopping_twice_harms_nobody(self, program):
        running = await program("exec sleep 60")
        await running.stop()
        await running.stop()
        running.send_signal(signal.SIGTERM)

    def test_it_ends_with_a_sandbox_that_is_killed(self, tmp_path):
        sandbox = """
import asyncio, sys
from pathlib import Path
from launcher.sandbox.processes import Program

async def main():
    here = Path(sys.argv[1])
    path = {"PATH": "/usr/bin:/bin"}
    program = Program("x", ["sleep", "60"], log=here / "log", environment=path, directory=here)
    await program.start()
    print(program.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
        with subprocess.Popen(
            [sys.executable, "-c", sandbox, tmp_path], stdout=subprocess.PIPE, text=True
        ) as run:
            child = Path("/proc") / run.stdout.readline().strip()
            deadline = time.monotonic() + 30
            while b"sleep" not in (child / "cmdline").read_bytes().split(b"\0")[0]:  # setpriv has set it up
                assert time.monotonic() < deadline
                time.sleep(0.01)
            run.kill()
        while child.exists() and ") Z " not in (child / "stat").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)


async def appears(path):
    async with asyncio.timeout(30):
        while not path.exists():
            await asyncio.sleep(0.01)


def test_a_log_that_is_not_there_has_no_last_lines(tmp_path):
    assert Program("x", [], log=tmp_path / "none", environment={}, directory=tmp_path).tail() == ""


class TestPorts:
    def test_free_ports_are_free_and_all_different(self):
        ports = free_ports(5)
        assert len(set(ports)) == 5
        for port in ports:
            check_port(port)

    def test_a_port_that_somebody_listens_on_can_not_be_used(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with pytest.raises(SandboxError, match=f"Port {port} can't be used: Address already in use"):
                check_port(port)
