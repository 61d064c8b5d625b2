"""Observations of a run of the cluster tests, counted over its scenarios."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.lab.records import BUILD

FILE = BUILD / "observed.jsonl"


@dataclass(frozen=True)
class Observation:
    """One scenario: its hosts, what was done to them, and what became of the stages."""

    scenario: str
    hosts: int
    faults: tuple[str, ...]
    trained: int
    """Stages in the storage at the end."""
    lost: int
    """Stages that were seen in the storage and are no longer there as they were."""
    double: int
    """Rows of the final tables whose key occurs more than once."""
    seconds: float


def record(observation: Observation, file: Path = FILE) -> None:
    """Append it; short writes of several processes do not mix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write(json.dumps(asdict(observation)) + "\n")


def read(file: Path = FILE) -> list[Observation]:
    """All observations of the run."""
    if not file.exists():
        return []
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [Observation(**{**row, "faults": tuple(row["faults"])}) for row in rows]


def render(observed: Sequence[Observation]) -> tuple[str, int]:
    """Return the text, which ends in the number of lost stages, and 1 if the run must fail."""
    lines = [
        f"{o.scenario}: {o.hosts} hosts, {o.trained} stages, "
        f"{', '.join(o.faults) or 'no fault'}, {o.seconds:.0f} s"
        for o in observed
    ]
    faults = Counter(fault for o in observed for fault in o.faults)
    lost = sum(o.lost for o in observed)
    lines += [
        f"scenarios: {len(observed)}",
        f"hosts: {sum(o.hosts for o in observed)}",
        f"faults_injected: {faults.total()}",
        f"stages_trained: {sum(o.trained for o in observed)}",
        f"double_rows: {sum(o.double for o in observed)}",
    ]
    if not observed:
        return "no scenario of the cluster tests has finished\nfinished_stages_lost: unknown\n", 1
    return "\n".join([*lines, f"finished_stages_lost: {lost}"]) + "\n", int(lost > 0)
