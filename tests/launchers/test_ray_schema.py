"""cluster.yaml, aws.yaml and gcp.yaml against Ray's schema and the rules of this project."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config, with_envs

from tests.launchers.files import CLUSTER, REPOSITORY, Path_, changed, cluster_file, renamed

ALL = ("cluster.yaml", "aws.yaml", "gcp.yaml")
CLOUD = ("aws.yaml", "gcp.yaml")
TOKEN = "~/.lorac-sweeps"


def check(config: dict[str, Any]) -> None:
    """Do what `ray up` does before it contacts anything."""
    validate_config(prepare_config(config))


@pytest.mark.parametrize("name", ALL)
def test_ray_accepts_the_file(name: str) -> None:
    check(cluster_file(name))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("place", "misspelt"),
    [
        (("setup_commands",), "setup_comands"),
        (("max_workers",), "max_worker"),
        (("auth", "ssh_user"), "ssh_usr"),
        (("rsync_exclude",), "rsync_excludes"),
    ],
)
def test_ray_refuses_a_misspelt_field(name: str, place: Path_, misspelt: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=misspelt):
        check(renamed(cluster_file(name), place, misspelt))


@pytest.mark.parametrize("name", CLOUD)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label", {"ray.io/accelerator-type": "L4"}),
        ("labels", {"ray.io/accelerator-type": 4}),
        ("resources", {"CPU": 8, "GPU": 0.5}),
        ("min_worker", 0),
        ("priority", "high"),
    ],
)
def test_ray_refuses_a_broken_node_type(name: str, key: str, value: object) -> None:
    broken = changed(cluster_file(name), ("available_node_types", "l4-spot", key), value)
    with pytest.raises(jsonschema.ValidationError):
        check(broken)


@pytest.mark.parametrize("name", CLOUD)
def test_ray_refuses_a_head_type_that_is_not_there(name: str) -> None:
    with pytest.raises(ValueError, match="head_node_type"):
        check(changed(cluster_file(name), ("head_node_type",), "haed"))


# ---- rules for every cluster file


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("role", ["head", "worker"])
def test_ray_never_starts_without_a_token(name: str, role: str) -> None:
    (start,) = [c for c in cluster_file(name)[f"{role}_start_ray_commands"] if "ray start" in c]
    assert start.startswith("RAY_AUTH_MODE=token ")


@pytest.mark.parametrize("name", ALL)
def test_the_token_is_mounted_and_the_dashboard_stays_on_loopback(name: str) -> None:
    config = cluster_file(name)
    assert config["file_mounts"][TOKEN] == TOKEN  # outside the repository
    (start,) = [c for c in config["head_start_ray_commands"] if "ray start" in c]
    assert "--dashboard-host=127.0.0.1" in start.split()


@pytest.mark.parametrize(("name", "version_2"), [("cluster.yaml", "0"), ("aws.yaml", "1")])
def test_the_file_chooses_the_version_of_the_autoscaler(name: str, version_2: str) -> None:
    """`ray up` exports the variable before the start command of the head."""
    (command,) = with_envs(
        [c for c in cluster_file(name)["head_start_ray_commands"] if "ray start" in c],
        {"RAY_enable_autoscaler_v2": "1"},
    )
    stubs = "ray() { env; }; head_address() { :; }; "
    done = subprocess.run(["bash", "-c", stubs + command], capture_output=True, text=True)
    assert f"RAY_enable_autoscaler_v2={version_2}" in done.stdout.splitlines()


@pytest.mark.parametrize("name", ALL)
def test_every_mounted_path_exists(name: str) -> None:
    for remote, local in cluster_file(name)["file_mounts"].items():
        assert remote.startswith("~/")
        assert remote == TOKEN or (CLUSTER / local).exists(), local


def test_all_cluster_files_mount_the_same() -> None:
    mounts = [cluster_file(name)["file_mounts"] for name in ALL]
    assert mounts[0] == mounts[1] == mounts[2]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "key",
    [
        "setup_commands",
        "head_setup_commands",
        "worker_setup_commands",
        "head_start_ray_commands",
        "worker_start_ray_commands",
    ],
)
def test_commands_are_valid_shell(name: str, key: str) -> None:
    for command in cluster_file(name).get(key, []):
        assert "\n" not in command
        # Ray wraps each of them: bash --login -c -i 'source ~/.bashrc; ... && (command)'
        done = subprocess.run(["bash", "-n", "-c", f"({command})"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ALL)
def test_ray_has_nothing_to_say_about_the_mounts(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CLUSTER)  # Ray looks at the paths from the current folder
    check(cluster_file(name))
    assert "".join(capfd.readouterr()) == ""
    check(changed(cluster_file(name), ("file_mounts", "~/LICENSE"), "../LICENSE"))
    assert "refers to a file" in "".join(capfd.readouterr())


def test_the_files_for_the_installation_are_those_of_the_repository() -> None:
    for name in ("pyproject.toml", "constraints.txt", "LICENSE"):
        same = (CLUSTER / "project" / name).read_bytes() == (REPOSITORY / name).read_bytes()
        assert same, f"{name} has changed: cp {name} cluster/project/"


@pytest.mark.parametrize("name", CLOUD)
def test_a_worker_is_set_up_once_and_the_head_only_by_setup_sh(name: str) -> None:
    """`ray up` and the autoscaler on the head each complete the file."""
    config = prepare_config(prepare_config(cluster_file(name)))
    for role in ("head", "worker"):
        commands = config[f"{role}_setup_commands"]
        assert sum("setup.sh" in command for command in commands) == 1
        assert not any("pip install" in command for command in commands)


@pytest.mark.parametrize("name", CLOUD)
def test_a_cloud_cluster_costs_nothing_but_its_head_while_it_is_idle(name: str) -> None:
    config = cluster_file(name)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["head"]["max_workers"] == 0
    workers = {key: value for key, value in types.items() if key != "head"}
    assert all(worker["min_workers"] == 0 for worker in workers.values())
    assert all(worker["max_workers"] <= config["max_workers"] for worker in workers.values())
    assert 0 < config["idle_timeout_minutes"] <= 10


@pytest.mark.parametrize("name", CLOUD)
def test_two_gpu_types_by_label_and_spot_before_on_demand(name: str) -> None:
    types = cluster_file(name)["available_node_types"]
    workers = [worker for key, worker in types.items() if key != "head"]
    assert len({worker["labels"]["ray.io/accelerator-type"] for worker in workers}) >= 2
    priority: dict[str, list[int]] = {"spot": [], "on-demand": []}
    for worker in workers:
        priority[worker["labels"]["ray.io/market-type"]].append(worker["priority"])
    assert min(priority["spot"]) > max(priority["on-demand"])


SECRETS = (
    r"PRIVATE KEY",
    r"(?i)(secret_access_key|password) *[:=] *[\w/+]{8,}",
    r"AUTH_TOKEN=[^$]",
    r"\b(AKIA|ASIA)[A-Z0-9]{12}",
    r"[0-9a-fA-F]{32}",
)
PLACES = (r"index-url", r"(?<![\w~./-])/(root|work|Users|mnt)/")


@pytest.mark.parametrize("path", sorted(CLUSTER.iterdir()), ids=lambda path: path.name)
def test_no_secrets_and_no_paths_of_one_machine(path: Any) -> None:
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    for pattern in (*SECRETS, *PLACES):
        assert not re.search(pattern, text), pattern


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "aws_secret_access_key = abcdefgh",
        "export RAY_AUTH_TOKEN=abc",
        "AKIA" + "X" * 16,
        "0123456789abcdef" * 2,
    ],
)
def test_that_check_can_fail(text: str) -> None:
    assert any(re.search(pattern, text) for pattern in SECRETS)
