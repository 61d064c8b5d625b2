"""The command line on a cluster: what `ray submit` copies to the head and runs there.

    ray submit cluster.yaml sweep.py -- run digits_demo --storage /shared/sweeps

The packages are on the head already, installed by `cluster.yaml`. The arguments are those of
`sweeps`, and so is the exit code. What this file adds:

    run         attaches to the Ray cluster that is up on this machine, unless --address says which
    run, plan   find `mine.yaml` in the mounted folder `my/`

`ray submit` joins the arguments with blanks and hands them to a shell on the head, so quote what
holds a blank or a sign of the shell twice: `--storage "'/shared/my sweeps'"`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

MY_SWEEPS = "~/lorac-sweeps/cluster/my"
"""Where `cluster.yaml` mounts the folder `my/`."""


def prepared(arguments: Sequence[str]) -> list[str]:
    """The arguments for `sweeps`: sweep files found, address added."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command not in {"run", "plan"}:
        return list(arguments)
    found = [_located(argument) for argument in arguments]
    if command == "plan" or _has_address(arguments) or not _cluster_is_up():
        return found
    after = found.index("run") + 1
    return [*found[:after], "--address", "auto", *found[after:]]


def _located(argument: str) -> str:
    """The path of a sweep file in the mounted folder, or the argument as it is."""
    if not argument.endswith((".yaml", ".yml")):
        return argument
    mounted = Path(MY_SWEEPS).expanduser() / argument  # an absolute path stays what it is
    return str(mounted) if mounted.is_file() else argument


def _has_address(arguments: Sequence[str]) -> bool:
    return any(a == "--address" or a.startswith("--address=") for a in arguments)


def _cluster_is_up() -> bool:
    """Whether `ray start` has run here. Ray is not imported: `sweeps` configures it first."""
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    recorded = Path(temporary, "ray", "ray_current_cluster")
    return bool(os.environ.get("RAY_ADDRESS")) or recorded.is_file()


def main(arguments: Sequence[str]) -> None:
    """Run `sweeps`; ends with its exit code."""
    try:
        from sweeps.cli import main as sweeps
    except ModuleNotFoundError as error:
        if error.name not in {"sweeps", "sweeps.cli", "click"}:
            raise
        sys.exit(f"sweep.py: {sys.executable} does not have the package `lorac-sweeps` installed")
    # Ray ignores a token unless it is told to use one, and then waits for an answer in vain.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    sweeps(prepared(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
