"""Searches of every kind, trained for real: all commands that read have the right values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result

from sweeps.definition import Sweep, TrialSpec, measured_sweep, missing_data, sweep_from_dict
from sweeps.definition.orders.task_similarity_measurement import known_tables
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.report.report_inputs import read_report_inputs
from sweeps.report.summary import summary_of
from sweeps.search.stored_observations import current_step
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import open_storage
from tests.sweeps.cli.fabricated import fabricate
from tests.sweeps.stages.small import run_trial

Command = Callable[..., Result]

BASE: dict[str, Any] = {
    "name": "small",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 2, "limit": 6},
    "method": {"kind": "linear_probe"},
    "train": {"epochs": 1, "batch_size": 16},
    "search": {"train.lr": [0.005, 0.01]},
    "orders": {"design": "explicit", "list": [[1, 0], [0, 1]]},
}
TPE = {"algorithm": {"kind": "tpe", "trials": 2, "batch": 1}}
RANGE = {"train.lr": {"log": [0.005, 0.01]}}
JOINT = [{"method": {"kind": "joint_lora", "rank": 1, "lora_alpha": 1}}]
SEARCHES: dict[str, dict[str, Any]] = {
    "tpe": TPE,
    "gp": {"algorithm": {"kind": "gp", "trials": 2, "batch": 1}},
    "nsga2": {"search": RANGE, "algorithm": {"kind": "nsga2", "trials": 2, "batch": 2}},
    "tpe with a joint baseline alone": TPE | {"baselines": JOINT},
    "where leaves one": {"where": ["train.lr > 0.007"]},
    "where leaves little to a model": {
        "search": RANGE,
        "where": ["train.lr > 0.0098"],
        "algorithm": {"kind": "nsga2", "trials": 4, "batch": 2, "max_rejected": 0.97},
    },
}
by_search = pytest.mark.parametrize("fields", SEARCHES.values(), ids=SEARCHES)


def sweep_at(storage: Path, fields: dict[str, Any], *, fails: bool = False) -> Sweep:
    """Store a sweep whose requested trials have all finished, or failed before the first stage."""
    objects = open_storage(str(storage))
    sweep = sweep_from_dict(BASE | fields)
    keep_sweep_file(sweep, objects)
    store, done = StageStore(objects), set[str]()
    while todo := [t for t in current_step(sweep, objects).trials if t.trial_id not in done]:
        for trial in todo:
            done.add(trial.trial_id)
            record_trial(store, sweep, trial, 1, _ended(trial, store, fails))
    (storage / "sweep.yaml").write_text(yaml.safe_dump(BASE | fields), encoding="utf-8")
    return sweep


def _ended(trial: TrialSpec, store: StageStore, fails: bool) -> AttemptResult:
    if fails:
        kind = "DivergedError"
        return AttemptResult(status="failed", stages_done=0, error="loss is inf", error_kind=kind)
    run_trial(trial, store)
    return AttemptResult(status="finished", stages_done=len(trial.chain))


def exported(storage: Path) -> Path:
    """The folder for exports, beside the storage."""
    return storage.with_name(f"{storage.name}-export")


def readers(storage: Path, trials: tuple[TrialSpec, ...]) -> dict[str, tuple[object, ...]]:
    """Return the arguments of every command that reads a storage."""
    first, last = trials[0], trials[-1]
    return {
        "status": (storage, "--trials"),
        "plan": (storage / "sweep.yaml", "--storage", storage),
        "pareto": (storage, "--attained"),
        "orders": (storage,),
        "effects": (storage,),
        "matrices": (storage,),
        "select": (storage,),
        "report": (storage, "-o", storage / "report.html"),
        "query": (storage, "SELECT label, count(*) AS n FROM summary GROUP BY 1"),
        "export": (storage, "--to", exported(storage)),
        "path": (storage, first.config_id, last.config_id),
        "compare": (storage, storage),
        "why": (storage, first.trial_id, last.trial_id),
        "verify": (storage, "--sample", "1"),
        "dashboard": (storage, "-o", storage / "study.log", "--no-serve"),
        "gc": (storage,),
    }


def outputs(
    run: Command, storage: Path, trials: tuple[TrialSpec, ...], codes: dict[str, int]
) -> dict[str, str]:
    """Return the output of each reader. Exit codes are 0 except for those in `codes`."""
    found = {}
    for name, arguments in readers(storage, trials).items():
        result = run(name, *arguments)
        expected = codes.get(name, 0)
        assert result.exit_code == expected, (name, result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), name
        found[name] = result.output
    return found


@by_search
def test_every_reader_answers(
    sweeps_command: Command, tmp_path: Path, fields: dict[str, Any]
) -> None:
    sweep = sweep_at(tmp_path, fields)
    step = current_step(sweep, open_storage(str(tmp_path)))
    assert step.finished
    trials = tuple(t for t in step.trials if t.run.method.kind == "linear_probe")
    configurations = {trial.config_id: trial.label for trial in trials}
    said = outputs(sweeps_command, tmp_path, trials, {})
    all_of_them = len({trial.config_id for trial in step.trials})
    plural = "s" * (all_of_them > 1)
    assert (
        f"{len(step.trials)} in {all_of_them} configuration{plural}: "
        f"{len(step.trials)} finished, 0 failed" in said["status"]
    )
    for label in configurations.values():
        assert label in said["pareto"]
        assert label in said["orders"]
    assert any(f"choose    {label}, " in said["select"] for label in configurations.values())
    summary = pq.read_table(exported(tmp_path) / "summary.parquet").to_pylist()
    assert len(summary) == 2 * len(step.trials)
    searched = [row for row in summary if row["method"] == "linear_probe"]
    assert {row["train.lr"] for row in searched} == {t.factors.get("train.lr") for t in trials}
    assert "equal" in said["verify"]
    assert "orders: explicit." in said["plan"]


@by_search
def test_the_report_counts_what_was_proposed(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Configurations are those that are requested, orders those of the design, not of a joint
    baseline, which has only one."""
    sweep = sweep_at(tmp_path, fields)
    objects = open_storage(str(tmp_path))
    inputs = read_report_inputs(sweep, objects)
    facts = dict(summary_of(inputs).facts)
    trials = current_step(sweep, objects).trials
    assert facts["configurations"] == str(len({trial.config_id for trial in trials}))
    assert facts["orders x seeds"] == "2 x 1"
    assert inputs.selection.question.order == "1-0"


@pytest.mark.parametrize("fields", [TPE, {}], ids=["tpe", "grid"])
def test_a_search_in_which_every_trial_fails(
    sweeps_command: Command, tmp_path: Path, fields: dict[str, Any]
) -> None:
    sweep = sweep_at(tmp_path, fields, fails=True)
    trials = current_step(sweep, open_storage(str(tmp_path))).trials
    codes = {"select": 1, "path": 0, "verify": 0, "gc": 2}
    said = outputs(sweeps_command, tmp_path, trials, codes)
    assert f": {len(trials)} failed\n" in said["status"]
    assert "no run has both objectives yet" in said["pareto"]
    assert "no configuration has a finished run with these metrics" in said["select"]
    assert "failed: DivergedError" in said["select"]
    assert "STORAGE" in said["gc"]  # nothing was stored


def test_one_configuration_of_a_joint_method_has_one_order(
    sweeps_command: Command, tmp_path: Path
) -> None:
    fields = TPE | {"method": JOINT[0]["method"], "objectives": {"average_accuracy": "max"}}
    sweep = sweep_at(tmp_path, fields)
    assert sweep.task_orders == ((0, 1),)
    result = sweeps_command("select", tmp_path)  # a reference line is no choice
    assert (result.exit_code, result.output[:18]) == (1, "choose    nothing:")


def test_a_search_by_a_model_needs_its_data_and_knows_its_task_tables(tmp_path: Path) -> None:
    """Both are properties of the streams, which are known before the first proposal."""
    cifar = {"stream": {"dataset": "cifar100", "root": str(tmp_path / "none"), "tasks": 10}}
    (issue,) = missing_data(sweep_from_dict(BASE | TPE | cifar | {"orders": {}}))
    assert issue.path == "stream.root"
    by_data = sweep_from_dict(BASE | TPE | {"orders": {"design": "near_first"}})
    assert len(known_tables(by_data)) == 1
    assert len(measured_sweep(by_data).task_orders) == 1


LARGE = {"train.lr": [0.005, 1e30]}
ONE_ORDER = {"orders": {"design": "explicit", "list": [[0, 1]]}}


def test_values_beyond_64_bits_are_exported_and_queried(
    sweeps_command: Command, tmp_path: Path
) -> None:
    """JSON has 1e30 as an integer, and Arrow has no integers of that size."""
    sweep = sweep_at(tmp_path, {"search": LARGE} | ONE_ORDER)
    trials = current_step(sweep, open_storage(str(tmp_path))).trials
    said = outputs(sweeps_command, tmp_path, trials, {})
    assert "2 finished, 0 failed" in said["status"]
    summary = pq.read_table(exported(tmp_path) / "summary.parquet")
    assert sorted(set(summary["train.lr"].to_pylist())) == [0.005, 1e30]
    stages = pq.read_table(exported(tmp_path) / "stages.parquet")
    assert max(stages["cross_entropy"].to_pylist()) > 2**63
    sql = 'SELECT DISTINCT "train.lr" AS lr FROM summary ORDER BY 1'
    answer = sweeps_command("query", tmp_path, sql, "--format", "json").output
    assert [json.loads(line)["lr"] for line in answer.splitlines()] == [0.005, 1e30]


def test_sweeps_with_whole_and_broken_values_of_a_field_are_read_together(
    sweeps_command: Command, tmp_path: Path
) -> None:
    for name, values in (("broken", [0.5, 1.5]), ("whole", [1, 2]), ("large", [1e30, 2e30])):
        document = BASE | {"name": name, "search": {"train.lr": values}}
        fabricate(tmp_path, document, lambda trial: 0.5)
    sql = 'SELECT DISTINCT "train.lr" AS lr FROM summary ORDER BY 1'
    answer = sweeps_command("query", tmp_path, sql, "--format", "json").output
    values = [json.loads(line)["lr"] for line in answer.splitlines()]
    assert values == [0.5, 1.0, 1.5, 2.0, 1e30, 2e30]
