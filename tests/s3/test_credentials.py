"""Keys of an S3 storage: their sources and their renewal; nothing shows them."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sweeps.storage import (
    ObjectStore,
    StorageOptions,
    check_storage,
    open_storage,
)
from tests.s3.forwarder import Forwarder
from tests.s3.server import NOWHERE, SECRETS, WRITER, Identity, S3Server


def _texts(result: ObjectStore) -> Iterator[str]:
    yield repr(result)
    yield result.location
    yield result.access
    yield result.options.to_json()
    yield repr(vars(result))
    yield repr(result._backend)
    yield json.dumps(dataclasses.asdict(check_storage(result)))


def test_no_secret_is_in_what_is_shown_stored_or_logged(
    objects: ObjectStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    objects.put("a", b"x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
    refused = open_storage(objects.location)
    texts = [*_texts(objects), *_texts(refused), caplog.text]
    with pytest.raises(Exception, match="does not know the access key") as raised:
        refused.get("a")
    texts += [str(raised.value), repr(raised.value)]
    for secret in SECRETS:
        assert not any(secret in text for text in texts)
    assert objects.get("a") == b"x"


def test_keys_of_the_environment_keep_working(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRITER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WRITER.secret_key)
    objects = open_storage(location)
    objects.put("a", b"x")
    assert objects.access.endswith("keys from the environment")


def test_profiles_and_settings_of_the_config_file(
    location: str, front: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        f"[lab]\naws_access_key_id = {WRITER.access_key}\n"
        f"aws_secret_access_key = {WRITER.secret_key}\n"
    )
    (tmp_path / "config").write_text(
        f"[profile lab]\nregion = eu-lab-1\nservices = mine\n"
        f"[services mine]\ns3 =\n  endpoint_url = {front.endpoint}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    objects = open_storage(location)
    objects.put("a", b"x")
    assert objects.options == StorageOptions(
        endpoint=front.endpoint, region="eu-lab-1", allow_http=True
    )


def test_temporary_keys_are_renewed(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program gives keys that end in eight minutes, so they are asked for again and again."""
    calls = tmp_path / "calls"
    program = tmp_path / "keys.sh"
    given = json.dumps(
        {
            "Version": 1,
            "AccessKeyId": WRITER.access_key,
            "SecretAccessKey": WRITER.secret_key,
            "Expiration": "@",
        }
    )
    program.write_text(
        f"#!/bin/sh\necho x >> {calls}\nend=$(date -u -d '+8 minutes' +%Y-%m-%dT%H:%M:%SZ)\n"
        f"echo '{given}' | sed \"s/@/$end/\"\n"
    )
    program.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr("sweeps.storage.s3_keys.LIFE", timedelta(0))
    objects = open_storage(location)
    for _ in range(3):
        objects.put("a", b"x")
    assert objects.access.endswith("keys from a credential process")
    assert len(calls.read_text().splitlines()) >= 2


def test_keys_that_change_in_the_file_are_noticed(
    server: S3Server, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.storage.s3_keys.LIFE", timedelta(0))
    server.environment(tmp_path / "home", Identity(WRITER.access_key, "topsecret"))
    objects = open_storage(location)
    assert check_storage(objects).kind == "wrong keys"
    server.environment(tmp_path / "home", WRITER)
    time.sleep(0.2)  # `obstore` asks for keys ten times a second at most
    assert check_storage(objects).usable
