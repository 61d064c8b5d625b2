"""Advice for users whose storage cannot be used: the requirement that fails, and the remedy."""

from __future__ import annotations

from sweeps.storage.errors import Kind
from sweeps.storage.options import VARIABLES, Variables

_ALLOWED = {
    Kind.UNREACHABLE: "a storage that answers",
    Kind.UNKNOWN_HOST: "a storage on a server whose name is known",
    Kind.NO_KEYS: "a storage to which this machine has keys",
    Kind.WRONG_KEYS: "a storage that accepts the keys of this machine",
    Kind.DENIED: "a storage in which the keys of this machine may do this",
    Kind.NO_BUCKET: "a bucket that exists",
    Kind.REGION: "a bucket in the region that is set",
    Kind.CLOCK: "a storage whose clock agrees with that of this machine",
    Kind.CERTIFICATE: "a server that is trusted",
    Kind.PLAIN_HTTP: "https, unless plain http is allowed",
    Kind.FULL: "a storage with space left",
    Kind.UNSUPPORTED: "a server that has all operations of a storage",
    Kind.OTHER: "a storage that can be used",
}

KEYS_OF = {
    "s3": "Put keys into ~/.aws/credentials, choose a profile with AWS_PROFILE, or give the "
    "machine an identity",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login`, or "
    "give the machine a service account",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME, and a key, a SAS or a client by the other AZURE_… "
    "variables, or give the machine an identity",
}
"""Ways to provide keys, by scheme."""


def allowed(kind: Kind) -> str:
    """Return the requirement that a storage violates if an operation fails with this kind."""
    return _ALLOWED[kind]


def places(variable: str, field: str, *, config: str = "", sweep_file: bool) -> str:
    """Return the places where a setting can be given: variable, provider's file, sweep file.

    `sweep_file`: True if the command reads a sweep file before it opens the storage.
    """
    found = [variable, *([config] if config else [])]
    found += [f"`storage.{field}` in the sweep file"] if sweep_file else []
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"


def region_places(*, sweep_file: bool) -> str:
    """Return the places where the region of an `s3://` bucket can be given."""
    config = "`region` in ~/.aws/config"
    return places("AWS_REGION", "region", config=config, sweep_file=sweep_file)


def allow_http_hint(scheme: str, *, sweep_file: bool) -> str:
    """Return one sentence, without its full stop, on how to allow plain http."""
    variable = f"{VARIABLES[scheme].allow_http[0]}=true"
    field = "`storage.allow_http: true` in the sweep file or " if sweep_file else ""
    return f"If that is meant, set {field}{variable}"


def remedy(kind: Kind, location: str, *, sweep_file: bool = True) -> str:
    """Return the remedy for a failure of this kind, as one sentence without its full stop.

    `sweep_file`: True if the command read a sweep file; its section `storage` may then help.
    """
    scheme = location.partition("://")[0]
    names = VARIABLES.get(scheme, Variables(("an environment variable",)))
    endpoint = places(names.endpoint[0], "endpoint", sweep_file=sweep_file)
    match kind:
        case Kind.UNREACHABLE:
            return "See that the server runs and that a firewall lets this machine through"
        case Kind.UNKNOWN_HOST:
            return f"Correct the endpoint ({endpoint}), or the name service"
        case Kind.NO_KEYS:
            return KEYS_OF.get(scheme, "Give the machine keys")
        case Kind.WRONG_KEYS:
            return "Correct the keys, renew them, or log in again"
        case Kind.DENIED if scheme == location:
            return "Change the owner or the mode of the directory, or choose another one"
        case Kind.DENIED:
            return "Grant these keys the rights to list, read, write and delete objects"
        case Kind.NO_BUCKET:
            return "Create it, or correct its name"
        case Kind.REGION:
            return f"Set {region_places(sweep_file=sweep_file)} to that of the bucket"
        case Kind.CLOCK:
            return "Set the clock of this machine (NTP)"
        case Kind.CERTIFICATE:
            return f"Correct the endpoint ({endpoint}), or let the machine trust the certificate"
        case Kind.PLAIN_HTTP:
            return allow_http_hint(scheme, sweep_file=sweep_file)
        case Kind.FULL:
            return "Free some space"
        case Kind.UNSUPPORTED:
            return "Use another server, or a newer version of this one"
        case Kind.OTHER:
            return "Correct the location and the endpoint"
