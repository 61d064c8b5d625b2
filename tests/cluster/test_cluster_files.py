"""cluster.yaml as a whole (tests/launchers has its parts); sweep.py as a program."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ray._private.utils import get_ray_address_file

from sweeps.cli.commands.run import plan, run

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER = REPOSITORY / "cluster"
SCRIPT = CLUSTER / "sweep.py"
TOKEN = "~/.lorac-sweeps"


def load() -> dict[str, Any]:
    """cluster.yaml as `ray up` reads it."""
    config: dict[str, Any] = yaml.safe_load((CLUSTER / "cluster.yaml").read_text())
    return config


def script() -> ModuleType:
    """sweep.py as a module."""
    spec = importlib.util.spec_from_file_location("cluster_sweep", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(
    *arguments: str, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """sweep.py as `ray submit` runs it, on a machine where no Ray cluster is up."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=cwd,
        env=kept | {"HOME": str(cwd), "RAY_TMPDIR": str(cwd / "tmp")} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ---- cluster.yaml


def test_all_workers_are_requested() -> None:
    config = load()
    assert config["max_workers"] == len(config["provider"]["worker_ips"])


def test_five_lines_to_edit() -> None:
    assert (CLUSTER / "cluster.yaml").read_text().count("# EDIT") == 5


def test_the_users_folder_is_mounted_where_the_script_looks() -> None:
    folder, _, name = script().MY_SWEEPS.rpartition("/")
    assert load()["file_mounts"][folder] == "."
    assert (CLUSTER / name).is_dir()


def test_what_is_mounted_can_be_installed(tmp_path: Path) -> None:
    project = tmp_path / "lorac-sweeps"
    for remote, local in load()["file_mounts"].items():
        if remote == TOKEN:
            continue
        source, target = CLUSTER / local, tmp_path / remote.removeprefix("~/")
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (project / "cluster" / "project").glob("[!.]*"):  # as setup.sh does
        shutil.copy(file, project)
    build = "pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir .. ."
    subprocess.run([sys.executable, "-m", *build.split()], cwd=project, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    here = {
        str(path.relative_to(REPOSITORY))
        for package in ("clmethods", "sweeps")
        for suffix in ("py", "yaml", "npz", "safetensors")
        for path in (REPOSITORY / package).rglob(f"*.{suffix}")
    }
    assert here <= set(packed)


# ---- sweep.py: the arguments


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a head with one sweep file of the user, and no cluster up."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    my = Path(script().MY_SWEEPS).expanduser()
    my.mkdir(parents=True)
    (my / "mine.yaml").touch()
    return tmp_path


@pytest.fixture
def cluster_up(head: Path) -> Path:
    """The same head after `ray start`."""
    record = Path(get_ray_address_file(None))
    record.parent.mkdir(parents=True)
    record.write_text("192.0.2.10:6379")
    return head


@pytest.mark.usefixtures("cluster_up")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("run digits_demo --storage s", "run --address auto digits_demo --storage s"),
        ("run digits_demo --address h:6379", "run digits_demo --address h:6379"),
        ("run digits_demo --address=h:6379", "run digits_demo --address=h:6379"),
        ("plan digits_demo", "plan digits_demo"),
        ("status run", "status run"),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_a_run_attaches_to_the_cluster_that_is_up(given: str, expected: str) -> None:
    assert script().prepared(given.split()) == expected.split()


@pytest.mark.usefixtures("head")
def test_without_a_cluster_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    assert script().prepared(["run", "digits_demo"]) == ["run", "digits_demo"]
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.10:6379")
    assert script().prepared(["run", "digits_demo"]) == ["run", "--address", "auto", "digits_demo"]


@pytest.mark.usefixtures("cluster_up")
def test_the_separator_of_ray_submit_is_dropped() -> None:
    expected = ["run", "--address", "auto", "digits_demo"]
    assert script().prepared(["--", "run", "digits_demo"]) == expected


def test_own_sweep_files_are_found_in_the_mounted_folder(head: Path) -> None:
    prepared = script().prepared
    mine = str(head / "lorac-sweeps/cluster/my/mine.yaml")
    assert prepared(["plan", "mine.yaml"]) == ["plan", mine]
    assert prepared(["plan", "my/mine.yaml"]) == ["plan", mine]  # completed on the laptop
    assert prepared(["plan", "cluster/my/mine.yaml"]) == ["plan", mine]
    assert prepared(["run", "--storage", "s", "mine.yaml"]) == ["run", "--storage", "s", mine]
    assert prepared(["run", mine]) == ["run", mine]
    assert prepared(["export", "DIR", "mine.yaml"]) == ["export", "DIR", "mine.yaml"]


@pytest.mark.usefixtures("head")
@pytest.mark.parametrize(
    "given",
    [
        "run digits_demo --storage runs.yaml",
        "run --only x.yaml digits_demo",
        "plan digits_demo --storage=runs.yaml",
    ],
)
def test_values_of_options_are_no_sweep_files(given: str) -> None:
    assert script().prepared(given.split()) == given.split()


def test_the_script_knows_all_options_that_take_a_value() -> None:
    takes_value = {
        name
        for command in (run, plan)
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
        for name in parameter.opts
    }
    assert takes_value == script().TAKES_VALUE


# ---- sweep.py: the program


def test_arguments_and_exit_code_are_passed_on(tmp_path: Path) -> None:
    """With a stand-in for `sweeps` that says what it was given."""
    package = tmp_path / "stand_in" / "sweeps"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import os, sys\n"
        "def main(args):\n"
        "    sys.stdout.write(repr([args, os.environ['RAY_AUTH_MODE'], 'ray' in sys.modules]))\n"
        "    sys.exit(7)\n"
    )
    environment = {"PYTHONPATH": str(package.parent), "RAY_ADDRESS": "192.0.2.10:6379"}
    done = run_script("run", "demo", "--storage", "a b", cwd=tmp_path, environment=environment)
    assert done.returncode == 7, done.stderr
    arguments = ["run", "--address", "auto", "demo", "--storage", "a b"]
    assert done.stdout == repr([arguments, "token", False])


def test_a_python_without_the_package_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(SCRIPT), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "does not have the package `lorac-sweeps` installed" in done.stderr
    assert "Traceback" not in done.stderr


def test_help(tmp_path: Path) -> None:
    done = run_script("--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert "run" in done.stdout


def test_a_sweep_file_that_is_not_on_the_head_is_named_with_the_way_to_copy_it(
    tmp_path: Path,
) -> None:
    my = tmp_path / "lorac-sweeps" / "cluster" / "my"
    my.mkdir(parents=True)
    (my / "other.yaml").touch()
    environment = {"RAY_ADDRESS": "192.0.2.10:6379"}
    done = run_script("run", "mine.yaml", cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "'mine.yaml' is not on this host" in done.stderr
    assert str(my / "mine.yaml") in done.stderr
    assert "other.yaml" in done.stderr
    assert "ray rsync-up cluster.yaml my/ '~/lorac-sweeps/cluster/my/'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_argument_that_the_shell_has_split_is_explained(tmp_path: Path) -> None:
    arguments = ("run", "digits_demo", "--storage", "/shared/my", "sweeps")
    done = run_script(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "'digits_demo', 'sweeps'" in done.stderr
    assert "needs quotes: --storage '/shared/my sweeps'\n" in done.stderr
    assert """    --storage "'/shared/my sweeps'\"""" in done.stderr


def test_an_unknown_sweep_is_refused_before_any_cluster_is_asked(tmp_path: Path) -> None:
    arguments = ("run", "digits_dem", "--storage", str(tmp_path / "storage"))
    environment = {"RAY_ADDRESS": "192.0.2.10:6379"}
    done = run_script(*arguments, cwd=tmp_path, environment=environment)
    assert done.returncode == 2, done.stderr
    assert "digits_dem" in done.stderr
    assert "Traceback" not in done.stderr
