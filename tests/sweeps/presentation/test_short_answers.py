"""Short answers: disparity between orders, and what shared stages saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.definition import Sweep, TrialSpec
from sweeps.presentation.short_answers import order_answer, stage_sharing
from sweeps.results.rows import StageRow, TrialRow
from sweeps.search.requested_results import read_results
from sweeps.storage import open_storage
from tests.sweeps.cli.conftest import ANSWERS
from tests.sweeps.cli.fabricated import fabricate

FIRST = "0-1-2-3-4"
READOUTS = [{"routing": "instance"}, {"routing": "last"}, {"routing": "oracle"}]


def accuracy(trial: TrialSpec) -> float:
    """Ten points more in one order, and one point more with each seed."""
    return 0.6 + 0.1 * (trial.order_id == FIRST) + 0.01 * trial.seed


def answer(folder: Path, **fields: Any) -> str | None:
    """The answer on a sweep without baselines, with three orders."""
    sweep = fabricate(folder, ANSWERS | {"readouts": READOUTS, "baselines": []} | fields, accuracy)
    results = read_results(sweep, open_storage(str(folder)))
    return order_answer(results.trials, results.evals, ranked(sweep), readouts(sweep))


def ranked(sweep: Sweep) -> list[str]:
    return [configuration.run.config_id for configuration in sweep.configurations]


def readouts(sweep: Sweep) -> list[str]:
    return [readout.readout_id for readout in sweep.readouts]


def test_disparity_of_orders_and_of_seeds(tmp_path: Path) -> None:
    assert answer(tmp_path) == (
        "With lorac_ipc importance_threshold=0, the final accuracy of a task differs between 3 "
        "orders by 10.0 points on average, and by 10.0 points for the most sensitive task. "
        "Between 3 seeds of one order it differs by 2.0 points. Between orders it differs by "
        "10.0 points with readout `last`."
    )


def test_seeds_are_counted_per_order_in_a_spread_design(tmp_path: Path) -> None:
    found = answer(tmp_path, replicates={"kind": "spread", "runs": 6}, readouts=READOUTS[:1])
    assert found is not None
    assert "Between 2 seeds of one order" in found
    assert found.endswith(
        "There are fewer seeds per order than orders, and the range of fewer values is smaller "
        "on average."
    )
    alone = answer(tmp_path / "b", replicates={"kind": "spread", "runs": 3}, readouts=READOUTS[:1])
    assert alone is not None
    assert alone.endswith("is not known, because each order has one seed.")


def test_one_order_gives_no_answer(tmp_path: Path) -> None:
    assert answer(tmp_path, orders={"design": "explicit", "list": [[0, 1, 2, 3, 4]]}) is None


def trial(status: str, *keys: str) -> TrialRow:
    row: Any = {"status": status, "stage_keys": list(keys), "readout_ids": ["last"]}
    return row  # type: ignore[no-any-return]


def stage(key: str, cpu_s: float) -> StageRow:
    row: Any = {"stage_key": key, "cpu_s": cpu_s}
    return row  # type: ignore[no-any-return]


def test_a_shared_stage_counts_once() -> None:
    trials = [trial("finished", "a", "b"), trial("finished", "a", "c"), trial("failed", "d")]
    sharing = stage_sharing(
        trials, [stage("a", 30), stage("b", 20), stage("c", 20), stage("d", 9)]
    )
    assert sharing is not None
    assert (sharing.runs, sharing.steps, sharing.stages) == (2, 4, 3)
    assert sharing.text == (
        "2 finished runs took 4 steps, of which 1 was shared: 3 stages and 70.0 s of processor "
        "time instead of 1.7 min, 30% less."
    )
    several = [trial("finished", "a") | {"readout_ids": ["last", "instance-cosine"]}]
    sharing = stage_sharing(several, [stage("a", 30)])  # type: ignore[arg-type]
    assert sharing is not None
    assert sharing.text.endswith(
        ". The 2 readouts of a run use the same stages, without further training."
    )


@pytest.mark.parametrize("stages", [[], [stage("z", 1)]])
def test_without_known_costs_there_is_no_saving(stages: list[StageRow]) -> None:
    assert stage_sharing([trial("finished", "a")], stages) is None
