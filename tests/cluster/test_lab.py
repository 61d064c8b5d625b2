"""The laboratory itself: hosts are separate, have no route out, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.evidence import wait_until
from tests.cluster.lab import records, summary
from tests.cluster.lab.laboratory import Lab, laboratory
from tests.cluster.lab.records import Record
from tests.cluster.lab.summary import Observation

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

OFFSET_S = 300
PING = "python3 -c 'import socket; socket.create_connection((\"{}\", 22), 2)'"

ABANDONED = """
import sys, time
from tests.cluster.lab.laboratory import laboratory
with laboratory("abandoned", ["head"]) as lab:
    lab["head"].start("sleep 600")
    print(lab.folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory("lab", ["head", "w1"], clocks={"w1": OFFSET_S}) as started:
        yield started


def test_each_host_has_its_own_files_names_and_processes(lab: Lab) -> None:
    head, w1 = lab["head"], lab["w1"]
    head.run(
        "hostname > /tmp/name; hostname > ~/name; hostname > /shared/name; sleep 60 &"
    ).expect()
    assert w1.run("ls /tmp ~").output.split() == ["/home/ubuntu:", "/tmp:"]
    assert w1.run("cat /shared/name").expect().output == "head\n"
    assert w1.run("hostname; whoami").output.split() == ["w1", "ubuntu"]
    assert len(head.processes("sleep 60")) == 1
    assert w1.processes("sleep 60") == []
    assert "sleep 60" not in w1.run("ps -ef").output
    assert not w1.run("ls /work /root/.ssh").output.count("id_")


def test_hosts_reach_each_other_and_nothing_else(lab: Lab) -> None:
    w1 = lab["w1"]
    w1.run(PING.format("head")).expect()
    assert w1.run("ip route").output.split()[0].endswith(".0/24")
    assert len(w1.run("ip route").output.splitlines()) == 1
    assert w1.run(PING.format("192.0.2.1")).code != 0


def test_partition_heals(lab: Lab) -> None:
    head, w1 = lab["head"], lab["w1"]
    head.cut()
    assert w1.run(PING.format("head")).code != 0
    head.heal()
    wait_until(lambda: w1.run(PING.format("head")).code == 0, "the connection is back", seconds=20)


def test_wall_clock_is_shifted_and_timed_waits_are_right(lab: Lab) -> None:
    program = (
        "import threading, time; start = time.monotonic(); time.sleep(0.2); "
        "threading.Event().wait(0.2); print(time.time(), time.monotonic() - start)"
    )
    wall, waited = lab["w1"].run(f"python3 -c '{program}'").expect().output.split()
    assert abs(float(wall) - time.time() - OFFSET_S) < 5
    assert 0.4 <= float(waited) < 5


def test_disk_survives_a_power_cut_and_processes_do_not(lab: Lab) -> None:
    w1 = lab["w1"]
    w1.run("echo kept > ~/kept").expect()
    command = w1.start("sleep 600")
    wait_until(lambda: w1.processes("sleep 600"), "the command runs")
    w1.power_off()
    assert w1.processes() == []
    assert command.wait(10).code != 0
    w1.power_on()
    assert w1.run("cat ~/kept").expect().output == "kept\n"
    assert w1.processes("sleep 600") == []


def test_what_a_killed_run_leaves_is_removed_by_its_pids(tmp_path: Path) -> None:
    root = str(records.REPOSITORY)
    run = subprocess.Popen(
        [sys.executable, "-c", ABANDONED], cwd=root, env={"PYTHONPATH": root}, stdout=-1, text=True
    )
    assert run.stdout is not None
    record = Record(Path(run.stdout.readline().strip()))
    processes = record.processes()
    assert len(processes) == 2  # a switch and a host
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not record.owner_lives
    records.clean()
    assert not [process for process in processes if process.lives]
    wait_until(lambda: not record.folder.exists(), "its folder is removed")


def test_summary_fails_when_a_stage_was_lost_or_nothing_was_observed(tmp_path: Path) -> None:
    file = tmp_path / "observed.jsonl"
    assert summary.render(summary.read(file))[1] == 1
    summary.record(Observation("a", 4, ("power cut",), 28, 0, 0, 1.0), file)
    text, code = summary.render(summary.read(file))
    assert (text.splitlines()[-1], code) == ("finished_stages_lost: 0", 0)
    summary.record(Observation("b", 4, (), 28, 2, 0, 1.0), file)
    text, code = summary.render(summary.read(file))
    assert (text.splitlines()[-1], code) == ("finished_stages_lost: 2", 1)
