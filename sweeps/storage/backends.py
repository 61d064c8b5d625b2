"""Stores of `obstore` for locations, configured with a time limit for each attempt.

This module retries nothing; `patience` does that. A store for small objects fails after `QUICK_S`
without a byte. Large objects are uploaded in parts, each of which may take `BULK_S`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.storage.advice import KEYS_OF, allow_http_hint, region_places
from sweeps.storage.failure_kinds import failure_of
from sweeps.storage.locations import StorageUrl, location_error
from sweeps.storage.options import StorageOptions, options_of_environment

CONNECT_S = 5.0
QUICK_S = 10.0
BULK_S = 60.0
LARGE = 1024 * 1024
"""Minimum number of bytes of a large upload."""
PART = 8 * 1024 * 1024
"""Bytes of one part of a large upload."""
PARTS_AT_ONCE = 4

GCS_KEYS = (
    "GOOGLE_APPLICATION_CREDENTIALS, gcloud's application default credentials, or the identity of "
    "the machine"
)
AZURE_KEYS = "the AZURE_… variables, or the identity of the machine"


@dataclass(frozen=True, slots=True)
class Backend:
    """Connection of an `ObjectStore` to its storage."""

    location: str
    """Location without secrets. Together with the options it opens the same storage again."""
    options: StorageOptions
    """Options in force: the given ones, then those of the environment, then defaults."""
    quick: Any
    """Store for everything except large uploads."""
    bulk: Any
    """Store for large uploads."""
    keys_from: Callable[[], str]
    """Returns a description of the source of the keys; empty if there are no keys."""
    file_system: str = ""
    """Directory of the file system in which objects are stored; empty for a bucket."""
    sweep_file: bool = True
    """True if a sweep file gave options, so that its section `storage` can help."""

    @property
    def access(self) -> str:
        """Return endpoint, region and source of the keys for messages; empty for a directory."""
        options, keys = self.options, self.keys_from()
        parts = [
            f"endpoint {options.endpoint}" if options.endpoint else "",
            f"region {options.region}" if options.region else "",
            f"keys from {keys}" if keys else "",
        ]
        return ", ".join(filter(None, parts))


def local_backend(root: str, options: StorageOptions) -> Backend:
    """Return the backend of an existing directory."""
    store = LocalStore(root)
    return Backend(root, options, store, store, lambda: "", file_system=root)


def missing_backend(root: str, parent: str, options: StorageOptions) -> Backend:
    """Return the backend of a missing directory below `parent`: an empty store in memory."""
    store = MemoryStore()
    return Backend(root, options, store, store, lambda: "", file_system=parent)


def url_backend(
    location: StorageUrl, options: StorageOptions, *, sweep_file: bool = True
) -> Backend:
    """Return the backend of a URL without contacting a server. Raises `InvalidConfigError`.

    `sweep_file`: True if the options are those of a sweep file; it decides which advice is given.
    """
    if location.scheme == "memory":
        store = MemoryStore()
        return Backend(location.url, options, store, store, lambda: "")
    options = options.over(options_of_environment(location.scheme))
    try:
        backend = _BACKENDS[location.scheme](location, options, sweep_file)
        return replace(backend, sweep_file=sweep_file)
    except (BaseError, ValueError, OSError) as error:
        if isinstance(error, InvalidConfigError):
            raise
        hint = f"{failure_of(error).reason}. {KEYS_OF[location.scheme]}."
        raise location_error(location.url, "a storage with complete settings", hint) from None


def _s3(location: StorageUrl, options: StorageOptions, sweep_file: bool) -> Backend:
    from sweeps.storage.s3_keys import S3Keys, options_of_config_file

    options = options.over(options_of_config_file(location.url))
    if options.region is None and options.endpoint is None:
        constraint = "a bucket whose region is known"
        hint = f"Set {region_places(sweep_file=sweep_file)}."
        raise location_error(location.url, constraint, hint)
    region = options.region or "us-east-1"  # self-hosted servers seldom have a region
    endpoint = options.endpoint or f"https://s3.{region}.amazonaws.com"
    options = _checked(location, replace(options, region=region, endpoint=endpoint), sweep_file)
    keys = S3Keys()

    def store(patience_s: float) -> Any:
        return S3Store(
            location.bucket,
            prefix=location.prefix or None,
            # AWS_ENDPOINT_URL_S3 takes precedence over the other name of this field, `endpoint`
            config={"aws_endpoint_url_s3": endpoint, "region": region},
            client_options=_client(options, patience_s),
            retry_config={"max_retries": 0},
            credential_provider=keys,
        )

    return Backend(location.url, options, store(QUICK_S), store(BULK_S), lambda: keys.source)


def _gcs(location: StorageUrl, options: StorageOptions, sweep_file: bool) -> Backend:
    options = _checked(location, options, sweep_file)

    def store(patience_s: float) -> Any:
        return GCSStore(
            location.bucket,
            prefix=location.prefix or None,
            config={"base_url": options.endpoint} if options.endpoint else {},
            client_options=_client(options, patience_s),
            retry_config={"max_retries": 0},
        )

    return Backend(location.url, options, store(QUICK_S), store(BULK_S), lambda: GCS_KEYS)


def _azure(location: StorageUrl, options: StorageOptions, sweep_file: bool) -> Backend:
    options = _checked(location, options, sweep_file)

    def store(patience_s: float) -> Any:
        return AzureStore(
            location.bucket,
            prefix=location.prefix or None,
            config={"endpoint": options.endpoint} if options.endpoint else {},
            client_options=_client(options, patience_s),
            retry_config={"max_retries": 0},
        )

    return Backend(location.url, options, store(QUICK_S), store(BULK_S), lambda: AZURE_KEYS)


_BACKENDS: dict[str, Callable[[StorageUrl, StorageOptions, bool], Backend]] = {
    "s3": _s3,
    "gs": _gcs,
    "az": _azure,
}


def _client(options: StorageOptions, patience_s: float) -> dict[str, Any]:
    """Return the options of the HTTP client.

    An attempt ends after `patience_s` seconds without data, however large the object is.
    """
    return {
        "allow_http": bool(options.allow_http),
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "read_timeout": timedelta(seconds=patience_s),
        "timeout": timedelta(hours=1),
    }


def _checked(location: StorageUrl, options: StorageOptions, sweep_file: bool) -> StorageOptions:
    """Return the options. Raises `InvalidConfigError` for plain http that is not allowed."""
    if (options.endpoint or "").startswith("http://") and not options.allow_http:
        constraint = "https, as plain http lets everybody on the way read and change the data"
        hint = f"{allow_http_hint(location.scheme, sweep_file=sweep_file)}."
        raise InvalidConfigError(
            [ConfigIssue("storage.endpoint", options.endpoint, constraint, hint)]
        )
    return options
