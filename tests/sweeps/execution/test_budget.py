"""An exhausted budget, with the real Ray: stored results, messages and continuation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.definition import sweep_from_dict
from sweeps.execution.exit_codes import ExitCode
from sweeps.planning.plan import make_plan
from sweeps.results import read_table
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.execution.drivers import run_to_end, write_sweep
from tests.sweeps.stages.small import DOCUMENT

SWEEP: dict[str, Any] = {
    **DOCUMENT,
    "search": {"method.importance_threshold": [0, 0.2]},
    "seeds": [0, 1],
    "objectives": {"average_accuracy": "max"},
    "resources": {"max_concurrent": 1},
}
"""Four trials of three stages; two seeds with a first stage each make ten of twelve."""


@pytest.mark.slow
def test_a_used_up_budget_keeps_what_is_done_and_goes_on_when_it_is_raised(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    store = StageStore(open_storage(str(storage)))

    def run(stages: int) -> tuple[int, str, set[str]]:
        document = SWEEP | {"budget": {"stages": stages}}
        done = run_to_end(write_sweep(tmp_path / "sweep.yaml", document), storage)
        assert "Traceback" not in done.stderr
        plan = make_plan(sweep_from_dict(document), store)
        return done.returncode, done.stdout, set(plan.stored)

    code, said, first = run(4)
    assert code == ExitCode.BUDGET_USED
    assert len(first) in {4, 5}  # one that has begun when the fourth is counted is finished
    left = 10 - len(first)
    assert f"the budget is used up (stages: 4 of 4 are used), {left} stages are left" in said
    rows = {key: store.objects.get(key) for key in store.objects.list("sweeps/small/results")}
    assert rows

    code, said, still = run(4)  # nothing more is started
    assert (code, still) == (ExitCode.BUDGET_USED, first)
    assert "no stage was trained" in said

    code, said, whole = run(100)
    assert (code, len(whole)) == (0, 10)
    assert first < whole
    assert f"trained {left} stages, found {len(first)} in the storage" in said
    assert {key: store.objects.get(key) for key in rows} == rows
    trials = read_table(store.objects, "small", "trials").table.to_pylist()
    assert [row["status"] for row in trials] == ["finished"] * 4
