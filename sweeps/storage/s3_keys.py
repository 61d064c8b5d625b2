"""AWS keys and settings through botocore: from files, profiles, SSO and identities.

botocore is imported only when an `s3://` location is opened, because the import is slow.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, final

from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.storage.failure_kinds import KeysInvalidError, KeysUnavailableError
from sweeps.storage.options import StorageOptions

if TYPE_CHECKING:
    from botocore.session import Session

LIFE = timedelta(minutes=10)
"""Validity of the keys that `obstore` receives. `obstore` requests keys again five minutes before
it ends. botocore renews temporary keys fifteen minutes before they end, so its keys are valid
for longer."""

_SOURCES = {
    "env": "the environment",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the AWS config file",
    "boto-config": "boto's config file",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a web identity",
    "sso": "an SSO login",
    "login": "a console login",
    "custom-process": "a credential process",
    "iam-role": "the identity of the machine",
    "container-role": "the identity of the container",
}
"""botocore's names of the sources of keys, in words."""


@final
class S3Keys:
    """Supplies `obstore` with the keys that botocore finds, and renews them.

    Keys of files are read at each call, so that a changed file is noticed. The keys are kept only
    in the memory of this process.
    """

    def __init__(self) -> None:
        self.source = ""  # not looked up yet, or none were found
        self._refreshable: Any = None

    def __repr__(self) -> str:
        return f"S3Keys(from {self.source or 'nowhere'})"

    def __call__(self) -> dict[str, Any]:
        """Return keys for the next minutes, in the form that `obstore` expects.

        Raises `KeysUnavailableError` and `KeysInvalidError`.
        """
        import botocore.exceptions as aws
        from botocore.credentials import RefreshableCredentials

        unavailable = (
            aws.HTTPClientError,
            aws.MetadataRetrievalError,
            aws.CredentialRetrievalError,
            aws.ClientError,
        )
        try:
            keys = self._refreshable or _session().get_credentials()
            if keys is None:
                self.source = ""
                raise KeysUnavailableError("no keys were found")
            self.source = _SOURCES.get(keys.method, str(keys.method))
            self._refreshable = keys if isinstance(keys, RefreshableCredentials) else None
            frozen = keys.get_frozen_credentials()
        except unavailable as error:
            raise KeysUnavailableError(_sentence(error)) from None
        except aws.BotoCoreError as error:
            raise KeysInvalidError(_sentence(error)) from None
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + LIFE,
        }


def options_of_config_file(location: str) -> StorageOptions:
    """Return region and endpoint of the AWS config file for the selected profile.

    Raises `InvalidConfigError` for a profile that does not exist and a file that cannot be read.
    """
    import botocore.exceptions as aws

    try:
        session = _session()
        scoped: dict[str, Any] = session.get_scoped_config()
        services = session.full_config.get("services", {}).get(scoped.get("services", ""), {})
        endpoint = services.get("s3", {}).get("endpoint_url") or scoped.get("endpoint_url")
        region = session.get_config_variable("region")
    except aws.BotoCoreError as error:
        constraint, hint = (
            "a profile and an AWS config file that can be read",
            f"{_sentence(error)}.",
        )
        raise InvalidConfigError([ConfigIssue("storage", location, constraint, hint)]) from None
    return StorageOptions(endpoint=endpoint or None, region=region or None)


def _session() -> Session:
    from botocore.session import get_session

    return get_session()


def _sentence(error: Exception) -> str:
    """Return the first line of a botocore error, which contains names but no keys."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
