"""Attaching to a cluster that does not answer, or does not let this driver in: one message."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from clmethods.config import InvalidConfigError
from sweeps.execution.cluster import attach as attach_module
from sweeps.execution.cluster import connection
from sweeps.execution.cluster.attach import attach
from sweeps.execution.cluster.connection import ray_cluster
from tests.sweeps.execution.drivers import clean_environment, command, write_sweep
from tests.sweeps.stages.small import DOCUMENT

UNUSED = "127.0.0.1:1"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a local cluster with a token of its own."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    try:
        with ray_cluster(None, cpus=1):
            yield ray.get_runtime_context().gcs_address
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (UNUSED, "does not answer"),
        ("no-port", "HOST:PORT"),
        ("host.invalid:6379", "does not answer"),
    ],
)
def test_an_address_where_no_cluster_is(given: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidConfigError, match=message) as refused:
        attach(given, {})
    assert time.monotonic() - started < 30
    (issue,) = refused.value.issues
    assert (issue.path, issue.value) == ("--address", given)


def test_auto_where_no_cluster_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray looks through the processes of the machine, on which other tests run clusters."""
    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address", lambda _: None)
    with pytest.raises(InvalidConfigError, match="No cluster was started on this machine"):
        attach("auto", {})


def run_against(
    address: str, tmp_path: Path, document: dict[str, Any] = DOCUMENT, **variables: str
) -> subprocess.CompletedProcess[str]:
    file = write_sweep(tmp_path / "sweep.yaml", document)
    return subprocess.run(
        command(file, tmp_path / "storage", "--address", address),
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment() | variables,
    )


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_a_driver_without_the_token_gets_a_message(
    address: str, tmp_path: Path, token: str | None
) -> None:
    variables = {} if token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    refused = run_against(address, tmp_path, **variables)
    assert refused.returncode == 2, refused.stderr
    assert "a cluster that accepts this token" in refused.stderr
    assert "RAY_AUTH_TOKEN_PATH" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "0" * 64 not in refused.stderr + refused.stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "~/.ray/auth_token does not exist"),
        ({"RAY_AUTH_TOKEN": ""}, "RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH are not set"),
        ({"RAY_AUTH_TOKEN_PATH": "none"}, "The file none, which RAY_AUTH_TOKEN_PATH names"),
        ({"RAY_AUTH_TOKEN_PATH": "blank"}, "The file blank, which RAY_AUTH_TOKEN_PATH names"),
    ],
)
def test_a_token_that_cannot_be_read_is_refused_before_a_client_is_made(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    words: str,
) -> None:
    """Ray would end the process, so that the driver's lease would be left behind, too."""
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(tmp_path)
    Path("blank").write_text(" \n")
    given = {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path / "home"), **variables}
    refused = run_against(address, tmp_path, **given)
    heading, issue, last = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert heading == "error: 1 issue, nothing was started"
    assert "RAY_AUTH_MODE: got 'token'" in issue
    assert words in issue
    assert last == "exit code 2: an input was refused"
    assert not list((tmp_path / "storage").glob("sweeps/small/running/*/*"))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RAY_AUTH_TOKEN": "a"}, True),
        ({"RAY_AUTH_TOKEN": " ", "RAY_AUTH_TOKEN_PATH": "full"}, True),
        ({"RAY_AUTH_TOKEN": " "}, False),
        ({"RAY_AUTH_TOKEN_PATH": "none"}, False),
        ({"RAY_AUTH_TOKEN_PATH": "blank"}, False),
        ({}, False),
    ],
)
def test_a_local_cluster_gets_a_token_unless_one_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("blank").write_text(" \n")
    Path("full").write_text("a\n")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert connection._has_token() is expected


def test_a_file_that_was_corrected_after_a_refusal_is_accepted(tmp_path: Path) -> None:
    """Nothing has run of the first one, so the second one is refused for its address only."""
    first = run_against(UNUSED, tmp_path)
    assert "--address: got" in first.stderr
    assert (tmp_path / "storage/sweeps/small/sweep.yaml").is_file()
    edited = {**DOCUMENT, "train": {"epochs": 2, "batch_size": 8}}
    second = run_against(UNUSED, tmp_path, document=edited)
    assert second.stderr == first.stderr
    assert (second.returncode, first.returncode) == (2, 2)


def test_the_address_is_named_as_it_was_typed() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        attach(UNUSED, {})
    (issue,) = refused.value.issues
    assert issue.hint is not None
    assert issue.hint.startswith(UNUSED)
    known = attach_module._resolved(UNUSED)
    assert ("resolved to" in issue.hint) == (known != UNUSED)
    assert known in issue.hint


def test_a_driver_with_another_ray_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray._private.utils.compute_version_info", lambda: ("9.9.9", "3.11.7"))
    with pytest.raises(InvalidConfigError) as refused:
        attach_module._require_versions(address, address)
    assert "ray 9.9.9" in str(refused.value)
    assert f"ray {ray.__version__}" in str(refused.value)


@pytest.mark.parametrize("metadata", [None, {}, {"ray_version": None}])
def test_a_cluster_that_has_recorded_no_versions_is_not_refused(
    address: str, monkeypatch: pytest.MonkeyPatch, metadata: dict[str, str] | None
) -> None:
    name = "ray._common.usage.usage_lib.get_cluster_metadata"
    monkeypatch.setattr(name, lambda client: metadata)
    attach_module._require_versions(address, address)
    only_ray = {**(metadata or {}), "ray_version": "9.9.9"}
    monkeypatch.setattr(name, lambda client: only_ray)
    with pytest.raises(InvalidConfigError, match=r"The cluster has ray 9\.9\.9\."):
        attach_module._require_versions(address, address)


def test_a_port_that_accepts_and_is_no_cluster(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        refused = run_against(place, tmp_path, RAY_gcs_server_request_timeout_seconds="2")
    assert refused.returncode == 2, refused.stderr
    assert "Traceback" not in refused.stderr
