"""Google's and Microsoft's buckets, as far as they can be had offline: settings, keys, answers.

A forwarder without a server plays the cloud and gives the answers that the clouds document.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clmethods.config import InvalidConfigError
from sweeps.storage import (
    MissingObjectError,
    StorageOptions,
    StorageUnreachableError,
    check_storage,
    open_storage,
    require_storage,
)
from tests.s3.forwarder import SLOW_DOWN, Answer, Forwarder, answers

KEY = "dG9wc2VjcmV0"
"""Of an Azure account, in base64; `topsecret`."""
SAS = "sv=2026-01-01&ss=b&sig=topsecret"
QUICK = StorageOptions(retry_for_s=0.5)


@pytest.fixture
def cloud() -> Iterator[Forwarder]:
    with Forwarder("http://127.0.0.1:1") as forwarder:
        yield forwarder


@pytest.fixture(autouse=True)
def machine(cloud: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that reaches nothing but the forwarder, not even a service that issues keys."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    host = cloud.endpoint.removeprefix("http://")
    service = tmp_path / "service.json"
    service.write_text(
        json.dumps(
            {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
        )
    )
    known = {
        "HOME": str(tmp_path),
        "GCE_METADATA_HOST": host,
        "GCE_METADATA_IP": host,
        "GOOGLE_SERVICE_ACCOUNT": str(service),
        "GOOGLE_BASE_URL": cloud.endpoint,
        "GOOGLE_ALLOW_HTTP": "true",
        "AZURE_STORAGE_ACCOUNT_NAME": "acc",
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_ENDPOINT": f"{cloud.endpoint}/acc",
        "AZURE_ALLOW_HTTP": "true",
        "AZURE_MSI_ENDPOINT": f"{cloud.endpoint}/identity",
    }
    for name, value in known.items():
        monkeypatch.setenv(name, value)


def refusal(location: str, write: bool = True) -> str:
    with pytest.raises(InvalidConfigError) as raised:
        require_storage(open_storage(location, QUICK), write=write)
    (issue,) = raised.value.issues
    assert "topsecret" not in str(issue)
    assert KEY not in str(issue)
    return str(issue)


XML = "<?xml version='1.0'?><Error><Code>{}</Code><Message>words</Message></Error>"


def xml(status: int, code: str) -> Answer:
    return Answer(status, XML.format(code).encode())


ANSWERS = {
    "google: no bucket": ("gs", xml(404, "NoSuchBucket"), "a bucket that exists"),
    "google: no bucket, in words": (
        "gs",
        Answer(
            404, b'{"error": {"code": 404, "message": "The specified bucket does not exist."}}'
        ),
        "a bucket that exists",
    ),
    "google: no right": ("gs", xml(403, "AccessDenied"), "Grant these keys the rights"),
    "google: wrong token": ("gs", Answer(401, b"Invalid Credentials"), "Correct the keys"),
    "azure: no container": ("az", xml(404, "ContainerNotFound"), "a bucket that exists"),
    "azure: wrong key": ("az", xml(403, "AuthenticationFailed"), "Correct the keys"),
    "azure: no right": (
        "az",
        xml(403, "AuthorizationPermissionMismatch"),
        "Grant these keys the rights",
    ),
}


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("case", ANSWERS)
def test_a_cloud_error_is_reported_in_words(cloud: Forwarder, case: str, write: bool) -> None:
    scheme, answer, words = ANSWERS[case]
    cloud.fault = answers(99, answer)
    said = refusal(f"{scheme}://bucket/path", write)
    assert words in said
    assert f"Tried with endpoint {cloud.endpoint}" in said
    assert cloud.requests


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_cloud_that_is_away_is_waited_for(cloud: Forwarder, scheme: str) -> None:
    cloud.fault = answers(99, SLOW_DOWN)
    objects = open_storage(f"{scheme}://bucket", QUICK)
    with pytest.raises(StorageUnreachableError, match="503"):
        objects.get("a")
    assert len(cloud.requests) >= 2
    cloud.refuse()
    with pytest.raises(StorageUnreachableError, match="refused the connection"):
        require_storage(objects)
    assert check_storage(objects).kind == "unreachable"


def unreadable(path: Path) -> str:
    return str(path / "none.json")


def no_json(path: Path) -> str:
    (path / "bad.json").write_text("{topsecret")
    return str(path / "bad.json")


def no_key(path: Path) -> str:
    account = {
        "type": "service_account",
        "client_email": "a@b",
        "private_key": "topsecret",
        "private_key_id": "1",
    }
    (path / "account.json").write_text(json.dumps(account))
    return str(path / "account.json")


@pytest.mark.parametrize("file", [unreadable, no_json, no_key])
def test_bad_files_of_google_are_refused_when_a_storage_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Callable[[Path], str]
) -> None:
    monkeypatch.delenv("GOOGLE_SERVICE_ACCOUNT")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file(tmp_path))
    said = refusal("gs://bucket/path")
    assert "a storage with complete settings" in said
    assert "Set GOOGLE_APPLICATION_CREDENTIALS" in said


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AZURE_STORAGE_ACCOUNT_NAME", None, "Account must be specified"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "***topsecret", "Invalid Access Key"),
        ("AZURE_STORAGE_SAS_KEY", "?sv=1&topsecret", "Set AZURE_STORAGE_ACCOUNT_NAME, and a key"),
    ],
)
def test_bad_settings_of_azure_are_refused_when_a_storage_is_opened(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None, words: str
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    said = refusal("az://container/path")
    assert words in said
    assert "a storage with complete settings" in said


@pytest.mark.parametrize(
    ("scheme", "taken"),
    [("gs", "GOOGLE_SERVICE_ACCOUNT"), ("az", "AZURE_STORAGE_ACCOUNT_KEY")],
)
def test_a_machine_without_keys_is_refused_with_the_place_for_them(
    cloud: Forwarder, monkeypatch: pytest.MonkeyPatch, scheme: str, taken: str
) -> None:
    """The service that issues keys to machines knows nothing of this one."""
    monkeypatch.delenv(taken)
    cloud.fault = answers(99, Answer(404, b"no identity"))
    said = refusal(f"{scheme}://bucket")
    assert "a storage to which this machine has keys" in said
    assert "give the machine" in said


def test_the_login_of_the_azure_command_line_serves_a_host_without_keys(
    cloud: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for `az`, which is asked for a token and keeps its keys in files."""
    token = {"accessToken": "topsecret", "expires_on": 4070908800, "tokenType": "Bearer"}
    token |= {"expiresOn": "2099-01-01 00:00:00.000000", "subscription": "s", "tenant": "t"}
    program = tmp_path / "az"
    program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\necho '{json.dumps(token)}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_USE_AZURE_CLI", "true")
    cloud.fault = answers(99, Answer(404, b"no such object"))
    with pytest.raises(MissingObjectError):
        open_storage("az://container", QUICK).get("a")
    assert "account get-access-token" in (tmp_path / "asked").read_text()
    assert len(cloud.requests) == 1  # no identity service was asked


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_plain_http_must_be_meant(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    variable = {"gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}[scheme]
    monkeypatch.delenv(variable)
    assert f"{variable}=true" in refusal(f"{scheme}://bucket")
    allowed = StorageOptions(allow_http=True)
    assert open_storage(f"{scheme}://bucket", allowed).options.allow_http


def test_a_signature_in_a_url_is_in_no_message(
    cloud: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's SAS goes into the URL of every request, which errors of the client repeat."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", SAS)
    objects = open_storage("az://container", QUICK)
    texts: list[str] = []
    for answer in (SLOW_DOWN, Answer(400, b"odd"), Answer(403), Answer(302), Answer(200, b"<a")):
        cloud.fault = answers(99, answer)
        for call in (lambda: objects.get("a"), lambda: objects.put("a", b""), objects.folders):
            try:
                call()
            except Exception as error:  # noqa: BLE001  # whatever it is, it must not tell
                texts.append(f"{error!s} {error!r} {error.__cause__!r}")
    assert len(texts) >= 10
    assert not any("topsecret" in text for text in texts)
    assert any("topsecret" in request.path for request in cloud.requests)
