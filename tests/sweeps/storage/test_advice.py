"""Advice names the sweep file only where a command has read one."""

from __future__ import annotations

import pytest

from clmethods.config import InvalidConfigError
from sweeps.storage import Kind, StorageOptions, open_storage
from sweeps.storage.advice import remedy

SETTINGS = [Kind.REGION, Kind.UNKNOWN_HOST, Kind.CERTIFICATE, Kind.PLAIN_HTTP]
"""Kinds that the section `storage` of a sweep file can remove."""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ALLOW_HTTP", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")


@pytest.mark.parametrize("options", [None, StorageOptions()])
def test_a_bucket_whose_region_is_not_known(options: StorageOptions | None) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        open_storage("s3://bucket", options)
    said = str(refused.value)
    assert "Set AWS_REGION" in said
    assert "`region` in ~/.aws/config" in said
    assert ("`storage.region` in the sweep file" in said) == (options is not None)


@pytest.mark.parametrize("options", [None, StorageOptions()])
def test_plain_http_that_was_not_allowed(
    options: StorageOptions | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(InvalidConfigError) as refused:
        open_storage("s3://bucket", options)
    said = str(refused.value)
    assert "AWS_ALLOW_HTTP=true" in said
    assert ("in the sweep file" in said) == (options is not None)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("location", ["s3://b", "gs://b", "az://b"])
def test_the_sweep_file_is_named_only_where_one_was_read(kind: Kind, location: str) -> None:
    assert "sweep file" not in remedy(kind, location, sweep_file=False)
    assert ("sweep file" in remedy(kind, location)) == (kind in SETTINGS)


@pytest.mark.parametrize(("options", "expected"), [(None, False), (StorageOptions(), True)])
def test_a_storage_knows_whether_a_sweep_file_was_read(
    options: StorageOptions | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert open_storage("s3://bucket", options).advises_sweep_file is expected
