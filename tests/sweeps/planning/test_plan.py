"""A plan looks at the storage once, computes what acts once, and is quick however large it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clmethods.config import keys
from sweeps.definition import expand
from sweeps.planning.plan import make_plan
from sweeps.planning.stage_tree import StageTree
from sweeps.storage import ObjectStore
from tests.sweeps.stages.small import directory_store, run_trial, small_sweep

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "planning.py"


def test_what_is_stored_is_found_by_one_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = directory_store(tmp_path)
    one, two = small_sweep(readouts=[{"routing": "last"}]), small_sweep(seeds=[0, 1])
    run_trial(expand(one)[0], store)
    listed: list[str] = []
    plain = ObjectStore.list

    def listing(self: ObjectStore, prefix: str = "") -> object:
        listed.append(prefix)
        return plain(self, prefix)

    monkeypatch.setattr(ObjectStore, "list", listing)
    monkeypatch.setattr(ObjectStore, "exists", lambda self, key: pytest.fail(f"asked for {key}"))
    plan = make_plan(one, store)
    assert plan.stored == plan.complete == plan.tree.nodes.keys()
    assert listed.count("stages") == 1
    plan = make_plan(two, store)
    assert (len(plan.tree.nodes), len(plan.stored)) == (6, 3)
    assert plan.complete == frozenset()  # the second readout has not been read


def test_what_acts_is_computed_once_for_all_orders_and_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    plain = keys._method_effect.__wrapped__

    def asking(*arguments: object) -> object:
        asked.append(1)
        return plain(*arguments)

    monkeypatch.setattr(keys, "_method_effect", asking)
    keys._cached_stage_effects.cache_clear()
    sweep = small_sweep(orders={"design": "all"}, seeds=[*range(7)])
    asked.clear()
    keys._cached_stage_effects.cache_clear()
    tree = StageTree.of(expand(sweep))
    assert (tree.trials, tree.total) == (42, 126)
    assert len(asked) == 3  # once per position
    keys._cached_stage_effects.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replicates", "settings"])
def test_a_plan_of_20000_trials_fits_20_seconds_and_2_gigabytes(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--only", name],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert found["trials"] == 20_000
    assert found["cpu_s"] < 20
    assert found["peak_rss_bytes"] < 2e9
