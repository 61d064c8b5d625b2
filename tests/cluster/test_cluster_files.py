"""cluster.yaml against Ray's own schema and our rules; sweep.py as a program."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private.utils import get_ray_address_file
from ray.autoscaler._private.util import prepare_config, validate_config

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER = REPOSITORY / "cluster"
SCRIPT = CLUSTER / "sweep.py"
TOKEN = "~/.lorac-sweeps"


def load() -> dict[str, Any]:
    """cluster.yaml as `ray up` reads it."""
    config: dict[str, Any] = yaml.safe_load((CLUSTER / "cluster.yaml").read_text())
    return config


def check(config: dict[str, Any]) -> None:
    """What `ray up` does with a configuration before it touches a host."""
    validate_config(prepare_config(config))


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


def test_ray_accepts_the_file() -> None:
    check(load())


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ((), "inital_workers", 2),
        ((), "max_workers", 1.5),
        ((), "setup_commands", [{"pip": "install ."}]),
        (("auth",), "ssh_usr", "ubuntu"),
        (("provider",), "worker_ips", "192.0.2.11"),
    ],
)
def test_ray_refuses_a_broken_copy(place: tuple[str, ...], key: str, value: object) -> None:
    config = copy.deepcopy(load())
    section = config
    for name in place:
        section = section[name]
    section[key] = value
    with pytest.raises(jsonschema.ValidationError):
        check(config)


def test_all_workers_are_wanted() -> None:
    config = load()
    assert config["max_workers"] == len(config["provider"]["worker_ips"])


def test_every_mounted_path_exists_but_the_token() -> None:
    for remote, local in load()["file_mounts"].items():
        assert remote.startswith("~/")
        assert remote == TOKEN or (CLUSTER / local).exists(), local


def test_the_token_is_mounted_and_closed_to_others() -> None:
    config = load()
    assert config["file_mounts"][TOKEN] == TOKEN  # outside the repository
    assert f"chmod -R go= {TOKEN}" in config["setup_commands"]


@pytest.mark.parametrize("role", ["head", "worker"])
def test_ray_never_starts_without_a_token(role: str) -> None:
    starts = [c for c in load()[f"{role}_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 1
    assert starts[0].startswith("RAY_AUTH_MODE=token ")
    exports = [c for c in load()["setup_commands"] if "export" in c]
    assert len(exports) == 1
    assert "RAY_AUTH_MODE=token" in exports[0]
    assert f"RAY_AUTH_TOKEN_PATH={TOKEN.replace('~', '$HOME')}/auth_token" in exports[0]


def test_the_dashboard_listens_on_the_head_only() -> None:
    (start,) = [c for c in load()["head_start_ray_commands"] if "ray start" in c]
    assert "--dashboard-host=127.0.0.1" in start


def test_the_users_folder_is_mounted_where_the_script_looks() -> None:
    assert load()["file_mounts"][script().MY_SWEEPS] == "my"


def test_no_secrets_no_hosts_of_packages_no_paths_of_one_machine() -> None:
    text = (CLUSTER / "cluster.yaml").read_text()
    for pattern in (
        r"PRIVATE KEY",
        r"SECRET|ACCESS_KEY|PASSWORD",
        r"AUTH_TOKEN=",
        r"[0-9a-fA-F]{32}",
        r"https?://",
        r"index-url",
        r"(?<![\w~.])/(home|root|work|Users|mnt)/",
    ):
        assert not re.search(pattern, text), pattern


@pytest.mark.parametrize("key", [k for k in load() if k.endswith("_commands")])
def test_commands_are_sound_shell(key: str) -> None:
    for command in load()[key]:
        # Ray wraps each of them: bash --login -c -i 'source ~/.bashrc; … && (command)'
        done = subprocess.run(["bash", "-n", "-c", f"({command})"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_setup_of_the_shell_is_added_once(tmp_path: Path) -> None:
    (command,) = [c for c in load()["setup_commands"] if "export" in c]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    bashrc = tmp_path / ".bashrc"
    bashrc.write_text("# mine\n")
    for _ in range(2):
        subprocess.run(["bash", "-c", command], env=environment, check=True)
    assert len(bashrc.read_text().splitlines()) == 2
    (tmp_path / ".lorac-sweeps").mkdir()
    (tmp_path / ".lorac-sweeps" / "env").write_text("export AWS_REGION=here\n")
    shown = subprocess.run(
        ["bash", "-c", "source ~/.bashrc && echo $RAY_AUTH_MODE $RAY_AUTH_TOKEN_PATH $AWS_REGION"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == ["token", f"{tmp_path}/.lorac-sweeps/auth_token", "here"]


def test_what_is_mounted_can_be_installed(tmp_path: Path) -> None:
    project = tmp_path / "lorac-sweeps"
    for remote, local in load()["file_mounts"].items():
        if remote == TOKEN:
            continue
        source, target = CLUSTER / local, tmp_path / remote.removeprefix("~/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
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


def test_own_sweep_files_are_found_in_the_mounted_folder(head: Path) -> None:
    prepared = script().prepared
    mine = str(head / "lorac-sweeps/cluster/my/mine.yaml")
    assert prepared(["plan", "mine.yaml"]) == ["plan", mine]
    assert prepared(["run", "--storage", "s", "mine.yaml"]) == ["run", "--storage", "s", mine]
    assert prepared(["run", "other.yaml"]) == ["run", "other.yaml"]
    elsewhere = str(head / "mine.yaml")
    assert prepared(["run", elsewhere]) == ["run", elsewhere]
    assert prepared(["export", "DIR", "mine.yaml"]) == ["export", "DIR", "mine.yaml"]


# ---- sweep.py: the program


def test_arguments_and_exit_code_are_passed_on(tmp_path: Path) -> None:
    """With a stand-in for `sweeps` that says what it was given."""
    package = tmp_path / "stand_in" / "sweeps"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(
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


def test_an_unknown_sweep_is_refused_before_any_cluster_is_asked(tmp_path: Path) -> None:
    arguments = ("run", "digits_dem", "--storage", str(tmp_path / "storage"))
    environment = {"RAY_ADDRESS": "192.0.2.10:6379"}
    done = run_script(*arguments, cwd=tmp_path, environment=environment)
    assert done.returncode == 2, done.stderr
    assert "digits_dem" in done.stderr
    assert "Traceback" not in done.stderr
