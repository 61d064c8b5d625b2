"""The shell scripts of cluster/: checked by shellcheck, and run on homes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launchers.files import CLUSTER, cluster_file

SCRIPTS = sorted(CLUSTER.glob("*.sh"))
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def run(
    command: str, home: Path, *, path: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of bash with a home of its own."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=home,
        env={"HOME": str(home), "PATH": path or os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ---- all scripts


def shellcheck(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(SHELLCHECK), "--external-sources", "--source-path=SCRIPTDIR", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = shellcheck(path)
    assert done.returncode == 0, done.stdout
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_that_check_can_fail(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sh"
    text = (CLUSTER / "slurm.sh").read_text(encoding="utf-8")
    broken.write_text(text.replace('"$driver"', "$drivr"), encoding="utf-8")
    assert "drivr" in shellcheck(broken).stdout


# ---- environment.sh


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a host that has the token."""
    (tmp_path / ".lorac-sweeps").mkdir(mode=0o755)
    (tmp_path / ".lorac-sweeps" / "auth_token").write_text("0" * 64)
    return tmp_path


SOURCE = f". {CLUSTER}/environment.sh && "


def test_the_token_is_demanded_and_only_its_path_is_exported(home: Path) -> None:
    done = run(SOURCE + "env", home)
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert variables["RAY_AUTH_MODE"] == "token"
    assert variables["RAY_AUTH_TOKEN_PATH"] == f"{home}/.lorac-sweeps/auth_token"
    assert variables["PATH"].startswith(f"{home}/lorac-sweeps/.venv/bin:")
    assert "0" * 64 not in done.stdout
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS", "RAY_USE_TLS"):
        assert name not in variables  # nothing refers to a file that is not there


def test_files_of_the_private_folder_are_used_where_they_are(home: Path) -> None:
    private = home / ".lorac-sweeps"
    (private / "env").write_text("export AWS_REGION=here\n")
    (private / "aws_credentials").write_text("[default]\naws_secret_access_key = hidden\n")
    (private / "gcp_credentials.json").touch()
    done = run(SOURCE + "env", home)
    assert "AWS_REGION=here\n" in done.stdout
    assert f"AWS_SHARED_CREDENTIALS_FILE={private}/aws_credentials\n" in done.stdout
    assert f"GOOGLE_APPLICATION_CREDENTIALS={private}/gcp_credentials.json\n" in done.stdout
    assert "hidden" not in done.stdout


def test_the_address_towards_a_host(home: Path) -> None:
    assert run(SOURCE + "address_towards 127.0.0.1", home).stdout == "127.0.0.1\n"
    done = run(SOURCE + "address_towards no-such-host.invalid", home)
    assert done.returncode != 0
    assert "no-such-host.invalid" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ['["127.0.0.1", "192.0.2.1"]', "[]"])
def test_the_address_of_the_head(home: Path, workers: str) -> None:
    (home / "ray_bootstrap_config.yaml").write_text(
        f'{{"provider": {{"head_ip": "127.0.0.1", "worker_ips": {workers}}}}}'
    )
    assert run(SOURCE + "head_address", home).stdout == "127.0.0.1\n"


def test_the_start_commands_call_functions_that_exist(home: Path) -> None:
    config = cluster_file("cluster.yaml")
    head, worker = config["head_start_ray_commands"][1], config["worker_start_ray_commands"][1]
    for name, command in (("head_address", head), ("address_towards", worker)):
        assert f'--node-ip-address="$({name}' in command
        assert run(SOURCE + f"declare -F {name}", home).returncode == 0


# ---- setup.sh


@pytest.fixture
def host(home: Path) -> Path:
    """A host with the project and an environment whose pip only writes down what it is given."""
    pip = home / "lorac-sweeps" / ".venv" / "bin" / "pip"
    pip.parent.mkdir(parents=True)
    pip.write_text(f'#!/bin/sh\necho "$@" >> {home}/pip.log\n')
    pip.chmod(0o755)
    pip.with_name("python").symlink_to(sys.executable)
    (home / ".bashrc").write_text("# mine\nexport OLD=1 # lorac-sweeps\n")
    return home


def setup(host: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(f"bash {CLUSTER}/setup.sh {' '.join(arguments)}", host)


def test_setup_installs_with_the_pins_and_closes_the_token(host: Path) -> None:
    private = host / ".lorac-sweeps"
    private.joinpath("auth_token").chmod(0o644)
    for _ in range(2):
        done = setup(host)
        assert done.returncode == 0, done.stderr
    assert private.joinpath("auth_token").stat().st_mode & 0o777 == 0o600
    assert private.stat().st_mode & 0o777 == 0o700
    assert "--constraint constraints.txt .[cluster]\n" in (host / "pip.log").read_text()
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        assert (host / "lorac-sweeps" / name).is_file()
    # the line of an older version is replaced, the user's own stays
    assert (host / ".bashrc").read_text() == (
        '# mine\n. "$HOME/lorac-sweeps/cluster/environment.sh" # lorac-sweeps\n'
    )


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_setup_takes_the_extras_of_a_cloud(host: Path, cloud: str) -> None:
    commands = cluster_file(f"{cloud}.yaml")["head_setup_commands"]
    (command,) = [c for c in commands if "setup.sh" in c]
    assert setup(host, *command.split()[2:]).returncode == 0
    assert f".[cluster,{cloud}]\n" in (host / "pip.log").read_text()


def test_setup_without_a_token_says_so(host: Path) -> None:
    (host / ".lorac-sweeps" / "auth_token").write_text("")
    done = setup(host)
    assert done.returncode == 1
    assert "auth_token is missing or empty" in done.stderr
    assert not (host / "pip.log").exists()


@pytest.mark.parametrize(
    "line",
    [
        "export AWS_REGION=here AWS_SECRET_ACCESS_KEY=planted",
        "AWS_ACCESS_KEY_ID=planted",
        "export AZURE_STORAGE_SAS_TOKEN=planted",
        "export DB_PASSWORD=planted",
        "export AZURE_STORAGE_ACCOUNT_KEY=planted",
        "export AZURE_STORAGE_KEY=planted",
        "export AZURE_STORAGE_CONNECTION_STRING='AccountName=a;AccountKey=planted'",
        "export AZURE_CLIENT_SECRET=planted",
        "export WANDB_API_KEY=planted",
        "declare -x api_keys=planted",
        "OPENAI_APIKEY+=planted",
        "export MLFLOW_TRACKING_TOKEN='planted'",
        "export GOOGLE_SERVICE_ACCOUNT_CREDENTIALS=planted",
        "export HTTPS_PROXY=http://user:planted@192.0.2.1:3128",
        "export MLFLOW_TRACKING_URI='https://user:plan@ted@192.0.2.1'",
        "export AZURE_STORAGE_ENDPOINT='https://a.example/?sv=1&sig=planted'",
    ],
)
def test_setup_refuses_secrets_in_the_environment_and_does_not_print_them(
    host: Path, line: str
) -> None:
    (host / ".lorac-sweeps" / "env").write_text(f"export A=1\n{line}\n")
    done = setup(host)
    assert done.returncode == 1
    assert "2:" in done.stderr
    assert 'README.md, "Keys"' in done.stderr
    assert "planted" not in done.stdout + done.stderr
    assert not (host / "pip.log").exists()


@pytest.mark.parametrize(
    "line",
    [
        "export AWS_REGION=here AWS_ENDPOINT_URL=http://192.0.2.1:9000 AWS_ALLOW_HTTP=true",
        "export AWS_WEB_IDENTITY_TOKEN_FILE=/x AWS_SHARED_CREDENTIALS_FILE=/y",
        "export GOOGLE_APPLICATION_CREDENTIALS=/x",
        "export AZURE_STORAGE_ACCOUNT_NAME=a AZURE_USE_AZURE_CLI=true AZURE_CLIENT_ID=b",
        "export AZURE_FEDERATED_TOKEN_FILE=/x AZURE_TENANT_ID=c",
        "export HTTPS_PROXY=http://192.0.2.1:3128 NO_PROXY=localhost,192.0.2.0/24",
        "export GIT_URL=ssh://git@example.org/x",
        "export TOKENIZERS_PARALLELISM=false KEYBOARD=us DISASTER=none",
        "# export AWS_SECRET_ACCESS_KEY=... belongs into aws_credentials",
    ],
)
def test_settings_that_are_not_secret_are_accepted(host: Path, line: str) -> None:
    (host / ".lorac-sweeps" / "env").write_text(f"{line}\n")
    done = setup(host)
    assert done.returncode == 0, done.stderr


DEBIAN = """\
case $- in
    *i*) ;;
      *) return;;
esac
"""
"""The beginning of ~/.bashrc of Debian and Ubuntu."""


def test_the_commands_of_ray_read_the_settings_and_plain_shells_do_not(host: Path) -> None:
    """As cluster/README.md says: Ray calls an interactive shell, ssh with a command does not."""
    (host / ".lorac-sweeps" / "env").write_text("export AWS_REGION=here\n")
    (host / ".bashrc").write_text(DEBIAN)
    assert setup(host).returncode == 0
    (host / "lorac-sweeps" / "cluster").symlink_to(CLUSTER)
    ray = "bash --login -c -i 'source ~/.bashrc; true && (echo region=$AWS_REGION)'"
    assert "region=here" in run(ray, host).stdout
    ssh = "source ~/.bashrc; echo region=$AWS_REGION"
    assert run(ssh, host).stdout == "region=\n"


# ---- setup.sh: the interpreter


def interpreter(folder: Path, version: str, venv: bool = True) -> Path:
    """A program python3.N that answers as that version, and writes down which one made a venv."""
    folder.mkdir(exist_ok=True)
    program = folder / f"python{version}"
    new = int(version.split(".")[1]) >= 11 and venv
    program.write_text(
        f"""#!/bin/sh
case "$*" in
  *ensurepip*) exit {int(not new)} ;;
  *sys.version_info*) echo "(3, {version.split(".")[1]})" ;;
  --version) echo "Python {version}.0" ;;
  *"-m venv"*)
    for target in "$@"; do :; done
    mkdir -p "$target/bin"
    cp "$0" "$target/bin/python"
    printf '#!/bin/sh\\necho {version} >> {folder}/made\\n' > "$target/bin/pip"
    chmod +x "$target/bin/pip" ;;
esac
"""
    )
    program.chmod(0o755)
    return program


def set_up_with(home: Path, default: str, *others: str, **environment: str) -> str:
    """Run setup.sh where python3 is `default`, and return the version that was installed into."""
    programs = home / "programs"
    for version in (default, *others):
        interpreter(programs, version)
    (programs / "python3").unlink(missing_ok=True)
    (programs / "python3").symlink_to(programs / f"python{default}")
    (home / "lorac-sweeps").mkdir(exist_ok=True)
    system = home / "system"  # without the interpreters of this machine
    system.mkdir(exist_ok=True)
    for tool in [
        "awk",
        "bash",
        "cat",
        "chmod",
        "cp",
        "dirname",
        "hostname",
        "mkdir",
        "rm",
        "sed",
        "touch",
    ]:
        if not (system / tool).exists():
            (system / tool).symlink_to(shutil.which(tool) or "")
    done = run(f"bash {CLUSTER}/setup.sh", home, path=f"{programs}:{system}", **environment)
    made = programs / "made"
    return made.read_text().split()[-1] if done.returncode == 0 else done.stderr


def test_the_newest_interpreter_makes_the_environment(home: Path) -> None:
    assert set_up_with(home, "3.10", "3.11", "3.12") == "3.12"


def test_the_default_interpreter_is_enough(home: Path) -> None:
    assert set_up_with(home, "3.11") == "3.11"


def test_an_interpreter_that_cannot_make_environments_is_passed_over(home: Path) -> None:
    interpreter(home / "programs", "3.13", venv=False)
    assert set_up_with(home, "3.10", "3.12") == "3.12"


def test_an_environment_is_kept_when_a_newer_interpreter_is_installed(home: Path) -> None:
    assert set_up_with(home, "3.11") == "3.11"
    assert set_up_with(home, "3.11", "3.12") == "3.11"


def test_a_named_interpreter_replaces_the_environment(home: Path) -> None:
    assert set_up_with(home, "3.11", "3.12") == "3.12"
    assert set_up_with(home, "3.11", LORAC_PYTHON="python3.11") == "3.11"
    elsewhere = str(interpreter(home / "opt", "3.14"))
    assert set_up_with(home, "3.11", LORAC_PYTHON=elsewhere) == "3.11"  # pip of another folder
    assert (home / "opt" / "made").read_text() == "3.14\n"


def test_a_host_without_a_fitting_interpreter_is_refused(home: Path) -> None:
    assert "no Python 3.11 or newer with venv was found (Python 3.10.0)" in set_up_with(
        home, "3.10"
    )
    refused = set_up_with(home, "3.11", LORAC_PYTHON="python3.10")
    assert "LORAC_PYTHON=python3.10 is not a Python 3.11 or newer" in refused


# ---- make_tls.sh


def test_certificates_name_every_host_and_are_used(home: Path) -> None:
    done = run(f"{CLUSTER}/make_tls.sh 192.0.2.10 head.example", home)
    assert done.returncode == 0, done.stderr
    folder = home / ".lorac-sweeps" / "tls"
    assert {path.name for path in folder.iterdir()} == {"ca.crt", "node.crt", "node.key"}
    assert (folder / "node.key").stat().st_mode & 0o777 == 0o600
    verify = f"openssl verify -CAfile {folder}/ca.crt"
    for check in (
        "-verify_ip 192.0.2.10",
        "-verify_ip 127.0.0.1",
        "-verify_hostname head.example",
    ):
        assert run(f"{verify} {check} {folder}/node.crt", home).returncode == 0, check
    assert run(f"{verify} -verify_ip 192.0.2.11 {folder}/node.crt", home).returncode != 0
    assert run(SOURCE + "echo $RAY_USE_TLS $RAY_TLS_SERVER_KEY", home).stdout == (
        f"1 {folder}/node.key\n"
    )


def test_certificates_without_hosts_are_refused(home: Path) -> None:
    done = run(f"{CLUSTER}/make_tls.sh", home)
    assert done.returncode == 2
    assert "usage" in done.stderr
