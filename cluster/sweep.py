"""Command line on a cluster: `ray submit` copies this file to the head and runs it there.

    ray submit cluster.yaml sweep.py -- run digits_demo --storage /shared/sweeps

The packages have been installed on the head by `setup.sh`. Arguments and exit code are those of
`sweeps`. In addition:

    run         connects to the Ray cluster that runs on this host, unless --address is given
    run, plan   look for sweep files in the mounted folder `my/`

`ray submit` joins the arguments with blanks and passes the line to a shell on the head. Quote an
argument that contains a blank or a special character of the shell twice:
`--storage "'/shared/my sweeps'"`.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

MY_SWEEPS = "~/lorac-sweeps/cluster/my"
"""Folder of the user's sweep files on every host (`file_mounts` of the cluster files)."""

TAKES_VALUE = frozenset({"--address", "--lease-ttl", "--only", "--storage"})
"""Options of `sweeps run` and `sweeps plan` that are followed by a value."""

WRONG_USAGE = 2


def prepared(arguments: Sequence[str]) -> list[str]:
    """Return the arguments for `sweeps`, with the path of the sweep file and the address."""
    given = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    command = next((argument for argument in given if not argument.startswith("-")), "")
    if command not in {"run", "plan"}:
        return given
    after = given.index(command) + 1
    positions = _positions(given, after)
    if len(positions) > 1:
        sys.exit(_usage(_too_many([given[at] for at in positions])))
    for at in positions:
        given[at] = _located(given[at])
    if command == "run" and not _has_address(given) and _cluster_is_up():
        given[after:after] = ["--address", "auto"]
    return given


def _positions(arguments: Sequence[str], first: int) -> list[int]:
    """Return the indices, from `first` on, of what is neither an option nor the value of one."""
    found: list[int] = []
    at = first
    while at < len(arguments):
        if arguments[at] in TAKES_VALUE:
            at += 1
        elif not arguments[at].startswith("-"):
            found.append(at)
        at += 1
    return found


def _located(sweep: str) -> str:
    """Return the path of a sweep file on this host; names of studies are returned unchanged."""
    path = Path(sweep).expanduser()
    if path.suffix not in {".yaml", ".yml"}:
        return sweep
    mounted = Path(MY_SWEEPS).expanduser()
    candidates = [mounted / path, path]  # an absolute path replaces the folder
    if path.parent.name == "my":  # completed by the shell in the folder of the cluster file
        candidates.append(mounted / path.name)
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    sys.exit(_usage(_not_here(sweep, mounted, dict.fromkeys(c.absolute() for c in candidates))))


def _not_here(sweep: str, mounted: Path, candidates: dict[Path, None]) -> str:
    there = sorted(path.name for path in mounted.glob("*.y*ml")) if mounted.is_dir() else []
    return (
        f"the sweep file {sweep!r} is not on this host ({socket.gethostname()}).\n"
        f"  looked for: {', '.join(map(str, candidates))}\n"
        f"  sweep files in {MY_SWEEPS}: {', '.join(there) or 'none'}\n"
        f"To copy it from your computer: put it into the folder cluster/my, then run in cluster/\n"
        f"    ray rsync-up cluster.yaml my/ '{MY_SWEEPS}/'\n"
        f"with the name of your cluster file. `ray up` copies it, too, but restarts Ray."
    )


def _too_many(sweeps: Sequence[str]) -> str:
    return (
        f"expected one sweep, got {len(sweeps)}: {', '.join(map(repr, sweeps))}.\n"
        f"An argument that contains a blank needs quotes: --storage '/shared/my sweeps'\n"
        f"With `ray submit` it needs two pairs, because a shell on the head splits it again:\n"
        f"    --storage \"'/shared/my sweeps'\""
    )


def _usage(message: str) -> int:
    """Print a message for a wrong argument and return the exit code for it."""
    sys.stderr.write(f"sweep.py: {message}\n")
    return WRONG_USAGE


def _has_address(arguments: Sequence[str]) -> bool:
    return any(a == "--address" or a.startswith("--address=") for a in arguments)


def _cluster_is_up() -> bool:
    """Tell whether `ray start` ran on this host, without importing Ray before it is configured."""
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    recorded = Path(temporary, "ray", "ray_current_cluster")
    return bool(os.environ.get("RAY_ADDRESS")) or recorded.is_file()


def main(arguments: Sequence[str]) -> None:
    """Run `sweeps` and exit with its code."""
    try:
        from sweeps.__main__ import main as sweeps
    except ModuleNotFoundError as error:
        if error.name not in {"sweeps", "sweeps.__main__", "sweeps.cli", "click"}:
            raise
        sys.exit(f"sweep.py: {sys.executable} does not have the package `lorac-sweeps` installed")
    # With the mode unset, Ray sends no token and waits in vain for an answer.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    sweeps(prepared(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
