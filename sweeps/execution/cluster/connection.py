"""Connection to Ray: a local cluster with token authentication, or a running cluster."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

from sweeps.errors import SweepsError
from sweeps.execution.cluster.attach import attach
from sweeps.execution.cluster.nodes import Nodes
from sweeps.execution.cluster.ray_messages import filtered_messages
from sweeps.execution.resources.trial_resources import NodeShape, shapes_of
from sweeps.execution.worker.worker_startup import HOOK

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a task without a GPU must not see one
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_prestart_worker_first_driver": "0",  # Tune requests another environment
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the handler of the driver lets the running stages finish
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own state is disposable
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1e9",  # all trials may wait for another driver
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "1e9",
}
"""Environment variables that Ray reads when it is imported. Values set by the user are kept."""

OBJECT_STORE_BYTES = 100_000_000
"""Bytes of Ray's object store. Trials exchange only strings; results pass through the storage."""

SIZE_HOLDS_S = 1.0
"""Seconds for which the size of a cluster is cached; nodes need longer to join."""


class ClusterError(SweepsError, RuntimeError):
    """Raised if Ray does not start on this machine, or fails while a sweep runs on it."""


@contextmanager
def ray_cluster(address: str | None, cpus: int | None = None) -> Iterator[None]:
    """Provide a Ray cluster for the duration of a sweep.

    Without an address, a local cluster is started and authenticated with a new token. The token is
    passed to its processes in the environment and never written to disk. `cpus` limits the local
    cluster.

    Raises:
        InvalidConfigError: If the cluster at the address cannot be used.
        ClusterError: If a local cluster does not start, or if Ray fails during the block.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address is None and not _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray
    import ray.exceptions
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")  # Ray may have been imported before the mode and token were set
    AuthenticationTokenLoader.instance().reset_cache()
    _keep_keys_private()

    arguments: dict[str, object] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"worker_process_setup_hook": HOOK},
    }
    if address is not None:
        with filtered_messages():
            attach(address, arguments)
    else:
        arguments |= {
            "address": "local",
            "num_cpus": min(usable_cpus(), cpus or usable_cpus()),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        with filtered_messages(), _sessions_of_their_own():
            _start(arguments)
    try:
        yield
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"Ray failed: {_first_line(error)}. Stored stages and results stay; the same command "
            "continues."
        ) from error
    finally:
        ray.shutdown()


def _start(arguments: Mapping[str, object]) -> None:
    """Start a local cluster. Ray raises the base class `Exception` if a process is too slow.

    Raises `ClusterError`.
    """
    import ray

    try:
        ray.init(**arguments)
    except Exception as error:
        with suppress(Exception):  # the first error is the one to report
            ray.shutdown()
        raise ClusterError(
            f"Ray did not start on this machine: {_first_line(error)}. Nothing was trained in "
            "this run; stored stages and results stay. Check that the machine is not overloaded, "
            "and that the folder for temporary files (RAY_TMPDIR, else TMPDIR, else /tmp) is "
            "writable, has space, and has a path of less than 60 characters; then run the same "
            "command again."
        ) from error


def _first_line(error: BaseException) -> str:
    """Return the first line of the text of an error, without a full stop at its end."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__).rstrip(".")


def _keep_keys_private() -> None:
    """Keep Tune from copying the keys of a bucket into the environment that Ray logs.

    Ray writes a trial's runtime environment to a log file that every user can read. On a cluster
    the keys come from the credentials of each node. A local worker inherits them from the driver's
    environment.
    """
    from ray.tune.execution import class_cache

    names = class_cache.ENV_VARS_TO_PROPAGATE
    names -= {name for name in names if name.startswith("AWS_")}


@contextmanager
def _sessions_of_their_own() -> Iterator[None]:
    """Start Ray's processes in separate sessions.

    A signal to the driver's process group (`timeout`, many job schedulers, a closed terminal) must
    not end the cluster, because the running stages are finished on it. The processes still end
    with the driver: Linux kills them when their parent has ended.
    """
    from ray._private import services

    plain = services.ConsolePopen

    class SessionPopen(plain):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options, start_new_session=True)

    services.ConsolePopen = SessionPopen
    try:
        yield
    finally:
        services.ConsolePopen = plain


@final
class ClusterSize:
    """Nodes of a cluster, which may grow and shrink.

    Tune asks for them at every turn, and each answer takes a call to Ray. Therefore Ray is asked
    again only after `SIZE_HOLDS_S`.
    """

    def __init__(self, nodes: Nodes, clock: Callable[[], float] = time.monotonic) -> None:
        self._nodes, self._clock = nodes, clock
        self._known: tuple[NodeShape, ...] = ()
        self._until = -math.inf

    def shapes(self) -> tuple[NodeShape, ...]:
        """Return the resources that each alive node offers."""
        if self._clock() >= self._until:
            self._known = shapes_of(self._nodes.all())
            self._until = self._clock() + SIZE_HOLDS_S
        return self._known


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def _has_token() -> bool:
    """Return True if the environment specifies a token that Ray can read."""
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return True
    try:
        return bool(Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_bytes().strip())
    except (KeyError, OSError):
        return False
