"""Connection of a driver to a running Ray cluster, with an immediate error if it is impossible."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from clmethods.config import ConfigIssue, InvalidConfigError

CONNECT_S = 10.0
"""Seconds that a host may take to accept a connection. Ray itself would try for 40 s."""


def attach(address: str, arguments: Mapping[str, object]) -> None:
    """Connect this process to a cluster as a driver.

    Raises `InvalidConfigError` if no cluster answers at the address, if there is no token or the
    cluster does not accept it, if its Ray or Python has another version, or if this machine is not
    one of its nodes.
    """
    import ray
    from ray.exceptions import AuthenticationError, RayError

    require_token()
    known = _resolved(address)
    _require_answer(address, known)
    try:
        _require_versions(address, known)
        ray.init(address=known, **arguments)
    except AuthenticationError as error:
        raise _refusal(
            address,
            "a cluster that accepts this token",
            "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the token of that "
            f"cluster. Ray says: {_first_line(error)}",
        ) from error
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        if isinstance(error, InvalidConfigError):
            raise
        raise _refusal(
            address,
            "a cluster of which this machine is a node",
            "Run the command on the head, or on a machine that joined with `ray start "
            f"--address`. Ray says: {_first_line(error)}",
        ) from error


def require_token() -> None:
    """Check that there is a token in one of Ray's locations, if the mode requires one.

    Ray ends the process if a client is created without a token. Raises `InvalidConfigError`.
    """
    from ray._private.authentication.authentication_token_setup import (
        ensure_token_if_auth_enabled,
    )
    from ray.exceptions import AuthenticationError

    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)
    except AuthenticationError as error:
        file = os.environ.get("RAY_AUTH_TOKEN_PATH")
        tried = (
            f"The file {file}, which RAY_AUTH_TOKEN_PATH names,"
            if file
            else "RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH are not set, and ~/.ray/auth_token"
        )
        issue = ConfigIssue(
            "RAY_AUTH_MODE",
            os.environ.get("RAY_AUTH_MODE", ""),
            "token where the token of the cluster can be read",
            f"{tried} does not exist, cannot be read or is empty. Set RAY_AUTH_TOKEN_PATH to the "
            "file with the token of the cluster.",
        )
        raise InvalidConfigError([issue]) from error


def _resolved(address: str) -> str:
    """Return HOST:PORT; `auto` is the cluster that was started on this machine."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        known = canonicalize_bootstrap_address(address)
    except (ValueError, OSError) as error:
        raise _refusal(address, "HOST:PORT, or auto", _first_line(error)) from error
    if known is None:
        raise _refusal(
            address,
            "HOST:PORT of a cluster, or auto on one of its machines",
            "No cluster was started on this machine (`ray start`), and RAY_ADDRESS is not set.",
        )
    return str(known)


def _require_answer(address: str, known: str) -> None:
    host, _, port = known.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise _refusal(
            address,
            "the address of a Ray cluster that is up",
            f"{_place(address, known)} does not answer: {error}. "
            "See `ray up` or `ray start --head`.",
        ) from error


def _place(address: str, known: str) -> str:
    """Return an address as it was typed, and Ray's form of it if that differs."""
    return known if address in {known, "auto"} else f"{address} (resolved to {known})"


def _require_versions(address: str, known: str) -> None:
    """Compare the versions with those that the head has recorded.

    Ray's own check reports the same in a traceback.
    """
    from ray._common.usage.usage_lib import get_cluster_metadata
    from ray._private.utils import compute_version_info
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    there = get_cluster_metadata(GcsClient(address=known)) or {}
    names = ("ray", "python")
    theirs = (there.get("ray_version"), there.get("python_version"))  # a cluster may record none
    differing = [
        (name, mine, other)
        for name, mine, other in zip(names, compute_version_info(), theirs, strict=False)
        if other is not None and mine != other
    ]
    if differing:
        mine = ", ".join(f"{name} {version}" for name, version, _ in differing)
        other = ", ".join(f"{name} {version}" for name, _, version in differing)
        raise _refusal(
            address,
            f"a cluster with the versions of this driver: {mine}",
            f"The cluster has {other}. Install the same on all machines.",
        )


def _refusal(address: str, allowed: str, hint: str) -> InvalidConfigError:
    return InvalidConfigError([ConfigIssue("--address", address, allowed, hint)])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
