"""A real S3 server on loopback, one for all tests of a process, and a forwarder in front of it."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sweeps.cli import main
from sweeps.storage import ObjectStore, StorageOptions, open_storage
from tests.s3.forwarder import Forwarder
from tests.s3.server import S3Server, s3_server

BUCKET = "lab"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3"), BUCKET) as started:
        yield started


@pytest.fixture
def front(server: S3Server) -> Iterator[Forwarder]:
    """A forwarder to the server that counts requests and injects faults on demand."""
    with Forwarder(server.endpoint) as forwarder:
        yield forwarder


@pytest.fixture(autouse=True)
def environment(
    server: S3Server, front: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose keys are in a file, and which knows nothing else of AWS."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    known = server.environment(tmp_path / "home") | {"AWS_ENDPOINT_URL_S3": front.endpoint}
    for name, value in known.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def location() -> str:
    """A storage in the bucket that no other test uses."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def notices() -> list[str]:
    """Notices about outages."""
    return []


@pytest.fixture
def objects(location: str, notices: list[str]) -> ObjectStore:
    """The storage, whose operations are tried again for some seconds."""
    return open_storage(location, StorageOptions(retry_for_s=20.0), notify=notices.append)


@pytest.fixture
def sweeps_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `sweeps ARGUMENTS` in this process, which it must not end where Ray was imported."""
    monkeypatch.setattr("sweeps.cli.errors._leave", sys.exit)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run
