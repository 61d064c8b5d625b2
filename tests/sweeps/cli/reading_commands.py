"""Every command that reads a storage, with its arguments, and comparable outputs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from sweeps.cli import main
from sweeps.definition import expand, sweep_from_dict
from tests.sweeps.cli.damages import DAMAGED_SWEEP, LABELS

Arguments = Callable[[Path, Path], Sequence[object]]

FIRST, SECOND = (trial.trial_id for trial in expand(sweep_from_dict(DAMAGED_SWEEP)))
COUNTED = "SELECT (SELECT count(*) FROM summary), (SELECT sum(correct) FROM evals)"

COMMANDS: dict[str, Arguments] = {
    "plan": lambda at, out: ("plan", out / "sweep.yaml", "--storage", at),
    "status": lambda at, out: ("status", at, "--trials"),
    "status as JSON": lambda at, out: ("status", at, "--json"),
    "pareto": lambda at, out: ("pareto", at, "--attained"),
    "orders": lambda at, out: ("orders", at),
    "effects": lambda at, out: ("effects", at),
    "path": lambda at, out: ("path", at, *LABELS),
    "matrices": lambda at, out: ("matrices", at),
    "compare": lambda at, out: ("compare", at, at),
    "select": lambda at, out: ("select", at),
    "query": lambda at, out: ("query", at, COUNTED),
    "export": lambda at, out: ("export", at, "--to", out / "export"),
    "report": lambda at, out: ("report", at),
    "why": lambda at, out: ("why", at, FIRST, SECOND),
    "fork": lambda at, out: ("fork", at, "--trial", FIRST, "--stage", 1, "-o", out / "f.yaml"),
    "dashboard": lambda at, out: ("dashboard", at, "-o", out / "study.log", "--no-serve"),
    "gc": lambda at, out: ("gc", at),
    "verify": lambda at, out: ("verify", at, "--sample", 20),  # last: it moves files aside
}

VARIABLE = re.compile(
    r"read_at|per_hour|last_hour|\"all\":|disk has|MB, \d+ finished|ago|^size|GB|CPU"
    r"|training stage"
)
"""Lines that depend on the time or on the size of the storage, or that show progress."""


def run_command(*arguments: object) -> Result:
    """Run `sweeps ARGUMENTS` in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def outputs(at: Path, out: Path, commands: Iterable[str]) -> dict[str, Result]:
    """Run commands on a storage, with an empty folder for the files that they write."""
    out.mkdir()
    (out / "sweep.yaml").write_text(yaml.safe_dump(DAMAGED_SWEEP), encoding="utf-8")
    return {name: run_command(*COMMANDS[name](at, out)) for name in commands}


def stable(output: str, at: Path, out: Path) -> str:
    """Return the lines of an output that do not depend on time and place.

    Columns of a table are as wide as the paths in them.
    """
    text = output.replace(str(out), "OUT").replace(str(at), "STORAGE")
    lines = (re.sub("[ ─]+", " ", line) for line in text.splitlines())
    return "\n".join(line for line in lines if not VARIABLE.search(line))


def difference(text: str, before: str) -> list[str]:
    """Return the lines of a text that differ from those before."""
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]
