"""Options of a storage. None of them is a secret, so they may be stored, sent and printed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import NoneType
from typing import Any, ClassVar
from urllib.parse import urlsplit

from clmethods.errors import ConfigIssue, nearest, refuse, require
from clmethods.hidden_values import HIDDEN, looks_secret

RETRY_FOR_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """Connection settings of a storage, without keys: those come from each node itself."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    endpoint: str | None = None
    """URL of the server; null takes that of the environment, else the provider's own."""
    region: str | None = None
    """Region of an `s3://` bucket; null takes that of the environment."""
    allow_http: bool | None = None
    """Allow plain http for `endpoint`: no keys are sent, but the data can be read on its way
    through the network. Null takes the setting of the environment (AWS_ALLOW_HTTP), else false."""
    retry_for_s: float = RETRY_FOR_S
    """Seconds for which an operation is retried while the storage is unreachable."""

    def __post_init__(self) -> None:
        endpoint, region, limit = self.endpoint, self.region, self.retry_for_s
        refuse(
            [
                None if endpoint is None else endpoint_fault("endpoint", endpoint),
                None if region is None else region_fault("region", region),
                require(
                    math.isfinite(limit) and limit >= 0, "retry_for_s", limit, "0 or more seconds"
                ),
            ]
        )

    def over(self, other: StorageOptions) -> StorageOptions:
        """Return these options with null fields taken from `other`; `retry_for_s` is kept."""
        return replace(
            self,
            endpoint=other.endpoint if self.endpoint is None else self.endpoint,
            region=other.region if self.region is None else self.region,
            allow_http=other.allow_http if self.allow_http is None else self.allow_http,
        )

    def to_json(self) -> str:
        """Return the options as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> StorageOptions:
        """Return the options from the output of `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Variables:
    """Names of the environment variables of one scheme; the first one that is set counts."""

    endpoint: tuple[str, ...]
    region: tuple[str, ...] = ()
    allow_http: tuple[str, ...] = ()


VARIABLES = {
    "s3": Variables(
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        ("AWS_REGION", "AWS_DEFAULT_REGION"),
        ("AWS_ALLOW_HTTP",),
    ),
    "gs": Variables(("GOOGLE_BASE_URL",), allow_http=("GOOGLE_ALLOW_HTTP",)),
    "az": Variables(
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"), allow_http=("AZURE_ALLOW_HTTP",)
    ),
}


def options_of_environment(scheme: str, environ: Mapping[str, str] = os.environ) -> StorageOptions:
    """Return the options that the variables of a scheme specify.

    Raises `InvalidConfigError` with the name of the invalid variable.
    """
    names = VARIABLES[scheme]
    endpoint, region = _first(environ, names.endpoint), _first(environ, names.region)
    allowed = _first(environ, names.allow_http)
    flag = None if allowed is None else _FLAGS.get(allowed[1].lower())
    refuse(
        [
            endpoint_fault(*endpoint) if endpoint else None,
            region_fault(*region) if region else None,
            require(flag is not None, *allowed, "true or false") if allowed else None,
        ]
    )
    return StorageOptions(
        endpoint=endpoint[1] if endpoint else None,
        region=region[1] if region else None,
        allow_http=flag,
    )


def endpoint_fault(path: str, endpoint: str) -> ConfigIssue | None:
    """Return the issue of an endpoint. An endpoint that may contain a secret is not repeated."""
    try:
        parts = urlsplit(endpoint)
        secret = "@" in parts.netloc or bool(parts.query or parts.fragment)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number
        secret, sound = "@" in endpoint, False
    if secret:
        constraint = "http(s)://HOST[:PORT] without a user name, password or query"
        return ConfigIssue(path, HIDDEN, constraint, KEYS_BELONG)
    return require(sound, path, endpoint, "a URL such as https://s3.example.org")


def region_fault(path: str, region: str) -> ConfigIssue | None:
    """Return the issue of the name of a region; None if the name is valid."""
    sound = region.replace("-", "").isalnum()
    return require(sound, path, region, "letters, digits and -, such as eu-west-1")


def hidden_value_issues(section: Any) -> list[ConfigIssue]:
    """Return issues of a `storage` section whose values may be secrets and are not repeated."""
    known = [field.name for field in fields(StorageOptions)]
    if section is None:
        return []
    if not isinstance(section, Mapping):
        return [ConfigIssue("storage", HIDDEN, f"a mapping of the fields {known}", KEYS_BELONG)]
    unknown = [
        ConfigIssue(
            f"storage.{name}",
            HIDDEN,
            f"one of the fields {known}",
            KEYS_BELONG if looks_secret(str(name)) else nearest(str(name), known),
        )
        for name in section
        if name not in known
    ]
    ill_typed = [
        ConfigIssue(f"storage.{name}", HIDDEN, _TYPES[name][1])
        for name, value in section.items()
        if name in known and type(value) not in _TYPES[name][0]
    ]
    return unknown + ill_typed


KEYS_BELONG = (
    "Keys belong neither into URLs nor into sweep files, which are stored and sent around: put "
    "them where the provider's own tools look, such as ~/.aws/credentials, on every node, or give "
    "the nodes an identity"
)

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "endpoint": ((str, NoneType), "text, or null"),
    "region": ((str, NoneType), "text, or null"),
    "allow_http": ((bool, NoneType), "true, false or null"),
    "retry_for_s": ((int, float), "a number"),
}
"""Types of plain data that each field can hold, and their description in messages."""

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str] | None:
    return next(((name, environ[name]) for name in names if environ.get(name)), None)
