"""The commands of cluster/README.md, from a laptop, on a head without slots and two workers.

The tests are the steps of one walk and run in their order. The package and its pinned dependencies
are installed on the head as on any new host; the workers borrow the dependencies to save minutes.
"""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.evidence import SharedFolder, scenario, wait_until
from tests.cluster.fault_sweep import SWEEP, driver_processes
from tests.cluster.lab.command import Done
from tests.cluster.lab.host import Mount
from tests.cluster.lab.laboratory import (
    Lab,
    borrowed_packages,
    environment_mounts,
    laboratory,
)
from tests.cluster.lab.launcher import MAKE_TOKEN, Launcher
from tests.cluster.lab.records import BUILD, REPOSITORY
from tests.cluster.lab.software import CHECKOUT, give_checkout, lend_environment
from tests.cluster.lab.wheels import wheel_folder
from tests.sweeps.execution.tables import Tables, final_tables

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HOSTS = ("laptop", "head", "w1", "w2")
NAME = SWEEP["name"]
INSTALLATION_S = 400.0


@dataclass(frozen=True)
class Walk:
    """A user on the laptop, and the cluster that `ray up` has made."""

    lab: Lab
    user: Launcher

    def submit(self, arguments: str, options: str = "", tty: bool = True) -> Done:
        """`ray submit` of a run with the user's sweep file."""
        return self.user.run(f"ray submit {options} cluster.yaml sweep.py -- {arguments}", tty)

    def folder(self, name: str) -> SharedFolder:
        """A storage below the folder that all hosts mount."""
        return SharedFolder(f"/shared/{name}", Path(self.lab.shared, name))

    def wait_for_workers(self) -> None:
        wait_until(
            lambda: "/2.0 CPU" in self.user.run("ray exec cluster.yaml 'ray status'").output,
            "two slots in `ray status`",
        )


def job_commands(storage: str) -> list[str]:
    """The commands of cluster/README.md for a driver without a terminal, but waiting for it."""
    text = (REPOSITORY / "cluster" / "README.md").read_text()
    (block,) = re.findall(r"```sh\n(\s+ray exec -p 8265 .*?)```", text, flags=re.DOTALL)
    joined = re.sub(r"\\\n\s*", "", block)
    for given, used in (("--no-wait ", ""), ("mine", NAME), ("s3://bucket/sweeps", storage)):
        assert given in joined
        joined = joined.replace(given, used)
    return [line.strip() for line in joined.strip().splitlines()]


def fetch_commands(output: str) -> list[str]:
    """The commands by which `sweeps run` says how results come to the user's machine."""
    text = output.replace("\r", "").split("  fetch ")[1].split("\n  analyze ")[0]
    commands = [line.strip() for line in text.splitlines()[1:]]
    return [line for line in commands if not line.startswith("or: ")]


def files_of(folder: Path) -> set[Path]:
    """All files below a folder but those that Python writes."""
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    """Steps 1 to 3 of the README: token, edited file, `ray up`."""
    wheels = Mount(wheel_folder(), "/opt/lab/wheels")
    lent = (wheels, *borrowed_packages())
    mounts = {"laptop": environment_mounts(), "head": (wheels,), "w1": lent, "w2": lent}
    with laboratory("walk", HOSTS, mounts) as lab:
        give_checkout(lab["laptop"], lab.folder / "keys" / "user")
        for worker in ("w1", "w2"):
            lend_environment(lab[worker])
        user = Launcher(lab["laptop"])
        user.edit(lab["head"], [lab["w1"], lab["w2"]])
        user.run(MAKE_TOKEN).expect()
        lab["laptop"].write(f"{CHECKOUT}/cluster/my/{NAME}.yaml", yaml.safe_dump(SWEEP))
        user.run("ray up -y cluster.yaml", seconds=INSTALLATION_S).expect()
        started = Walk(lab, user)
        started.wait_for_workers()
        yield started


def test_ray_up_installs_the_package_with_its_pinned_dependencies(walk: Walk) -> None:
    frozen = walk.lab["head"].run("~/lorac-sweeps/.venv/bin/pip list --format freeze").output
    installed = {line.split("==")[0].lower(): line for line in frozen.split() if "==" in line}
    pins = (Path(walk.lab["laptop"].path(CHECKOUT)) / "constraints.txt").read_text().splitlines()
    for name in ("torch", "ray", "obstore", "pyarrow", "timm"):
        assert installed[name] in pins
    assert "lorac-sweeps" in installed
    assert not walk.lab["head"].path("/opt/lab/site-packages").exists()
    # version 1 of the autoscaler, by cluster.yaml alone: no variable is exported on the laptop
    assert walk.lab["head"].processes("ray/autoscaler/_private/monitor.py")
    assert not walk.lab["head"].processes("ray/autoscaler/v2/monitor.py")
    token = walk.lab["head"].path("~/.lorac-sweeps/auth_token")
    assert token.stat().st_mode & 0o777 == 0o600


def test_submit_trains_on_the_workers_and_results_come_home(walk: Walk, unbroken: Tables) -> None:
    storage = walk.folder("sweeps")
    with scenario("walk: ray submit", len(HOSTS), storage, NAME) as test:
        done = walk.submit(f"run {NAME}.yaml --storage {storage.url}").expect()
        (BUILD / "headline.txt").write_text(done.output)
        assert "Traceback" not in done.output
        launcher, started, _ = done.output.partition(f"{NAME}: 8 trials")
        assert started
        assert "INFO" not in launcher
        assert "refers to a file" not in launcher
        assert re.search(r"stages\W.*trained", done.output), "no progress was shown"
        assert "8 of 8 trials finished, 0 failed; trained 28 stages" in done.output
        test.must_equal(unbroken, NAME)

        again = walk.submit(f"run {NAME}.yaml --storage {storage.url}").expect()
        assert "nothing to train: all 28 stages were found" in again.output
        test.must_equal(unbroken, NAME)

        before = files_of(walk.lab["laptop"].path(CHECKOUT))
        walk.user.run("; ".join(fetch_commands(done.output))).expect()
        assert final_tables(walk.lab["laptop"].path("~/results"), NAME) == unbroken
        shown = walk.user.run(f"sweeps pareto ~/results/sweeps/{NAME}").expect()
        assert "importance_threshold=0.2" in shown.output
        assert files_of(walk.lab["laptop"].path(CHECKOUT)) == before  # nothing that is mounted

        refused = walk.submit(f"run nothing.yaml --storage {storage.url}")
        assert refused.code == 1
        assert "nothing.yaml" in refused.output
        assert "Traceback" not in refused.output


def test_cut_ssh_session_ends_the_driver_and_the_same_command_continues(
    walk: Walk, unbroken: Tables
) -> None:
    storage, head = walk.folder("cut"), walk.lab["head"]
    with scenario("walk: ssh session cut", len(HOSTS), storage, NAME) as test:
        arguments = f"sweep.py -- run {NAME}.yaml --storage {storage.url}"
        command = walk.user.start(f"ray submit cluster.yaml {arguments}")
        test.watch.wait_for(2, command)
        for session in walk.lab["laptop"].processes("ssh -tt"):
            session.signal(signal.SIGKILL)
        test.inject("ssh session cut")
        assert command.wait().code != 0
        wait_until(lambda: not driver_processes(head, "sweep.py"), "the driver ends")
        walk.submit(f"run {NAME}.yaml --storage {storage.url}").expect()
        test.must_equal(unbroken, NAME)


def test_driver_in_tmux_survives_the_ssh_session(walk: Walk, unbroken: Tables) -> None:
    storage, head = walk.folder("tmux"), walk.lab["head"]
    with scenario("walk: ssh session cut, tmux", len(HOSTS), storage, NAME) as test:
        arguments = f"sweep.py -- run {NAME}.yaml --storage {storage.url}"
        command = walk.user.start(f"ray submit --tmux cluster.yaml {arguments}")
        test.watch.wait_for(2)
        for session in walk.lab["laptop"].processes("ssh -tt"):
            session.signal(signal.SIGKILL)
        test.inject("ssh session cut")
        command.wait()
        assert driver_processes(head, "sweep.py")
        wait_until(lambda: not driver_processes(head, "sweep.py"), "the driver ends by itself")
        test.must_equal(unbroken, NAME)


def test_ray_job_submit_needs_the_token_and_runs_the_sweep(walk: Walk, unbroken: Tables) -> None:
    storage = walk.folder("job")
    with scenario("walk: ray job submit", len(HOSTS), storage, NAME) as test:
        open_tunnel, token, job = job_commands(storage.url)
        # with job control, as in a terminal: a background job that changes its settings is stopped
        tunnel = walk.user.start(f"bash -ic {shlex.quote(open_tunnel + chr(10) + 'wait')}")
        wait_until(lambda: 8265 in walk.lab["laptop"].listening(), "the tunnel", tunnel)
        wrong = "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/wrong; umask 077"
        wrong += "; echo 00000000000000000000000000000000 > ~/wrong"
        assert walk.user.run(job).code != 0
        assert walk.user.run(f"{wrong}; {job}").code != 0
        assert test.watch.finished() == {}
        done = walk.user.run(f"{token}; {job}").expect()
        assert "8 of 8 trials finished, 0 failed" in done.output
        tunnel.kill()
        test.must_equal(unbroken, NAME)


def test_sweeps_run_attaches_by_address(walk: Walk, unbroken: Tables) -> None:
    storage = walk.folder("address")
    with scenario("walk: sweeps run --address", len(HOSTS), storage, NAME) as test:
        command = f"sweeps run ~/lorac-sweeps/cluster/my/{NAME}.yaml --storage {storage.url}"
        done = walk.lab["w1"].run(f"{command} --address head:6379").expect()
        assert "8 of 8 trials finished, 0 failed" in done.output
        test.must_equal(unbroken, NAME)


def test_ray_down_and_submit_start(walk: Walk, unbroken: Tables) -> None:
    storage, head = walk.folder("start"), walk.lab["head"]
    with scenario("walk: ray submit --start", len(HOSTS), storage, NAME) as test:
        walk.user.run("ray down -y cluster.yaml").expect()
        wait_until(lambda: not head.processes("gcs_server"), "Ray ends on the head")
        arguments = f"run {NAME}.yaml --storage {storage.url}"
        walk.submit(arguments, options="--start").expect()
        test.must_equal(unbroken, NAME)
        walk.user.run("ray down -y cluster.yaml").expect()
        assert not head.processes("gcs_server")
