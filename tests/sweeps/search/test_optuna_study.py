"""The study of a sweep in Optuna's own file, and in the dashboard that reads it."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sweeps.cli import main
from sweeps.definition import Sweep, expand
from sweeps.execution.exit_codes import ExitCode
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.search.optuna_study import write_study
from sweeps.stages.live_metrics import metrics_so_far
from sweeps.stages.stage_store import StageStore
from tests.sweeps.stages.small import directory_store, run_trial, runner_of, small_sweep

dashboard_module = importlib.import_module("sweeps.cli.commands.dashboard")

FIELDS: dict[str, Any] = {
    "search": {"method.importance_threshold": [0, 0.2, 0.5]},
    "objectives": {"average_accuracy": "max"},
}


def half_finished(folder: Path, **fields: Any) -> tuple[Sweep, StageStore]:
    """Two of three configurations, and the third after its first task."""
    sweep, store = small_sweep(**{**FIELDS, **fields}), directory_store(folder)
    keep_sweep_file(sweep, store.objects)
    first, second, third = expand(sweep)
    run_trial(first, store)
    run_trial(second, store)
    runner = runner_of(third, store)
    runner.advance()
    return sweep, store


def loaded(sweep: Sweep, file: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(file)))
    return optuna.load_study(study_name=sweep.name, storage=storage)


def test_values_after_each_task_are_intermediate_values(tmp_path: Path) -> None:
    sweep, store = half_finished(tmp_path / "storage")
    assert write_study(sweep, store.objects, tmp_path / "study.log") == (3, {})
    study = loaded(sweep, tmp_path / "study.log")
    assert study.metric_names == ["average_accuracy"]
    states = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.RUNNING]
    assert [trial.state for trial in study.trials] == states
    for trial, found in zip(expand(sweep), study.trials, strict=True):
        done = trial.chain if found.state is TrialState.COMPLETE else trial.chain[:1]
        desired = {
            n: metrics_so_far(store, trial, trial.chain[:n])["average_accuracy"]
            for n in range(1, len(done) + 1)
        }
        assert found.intermediate_values.keys() >= desired.keys()
        for step, value in desired.items():
            assert found.intermediate_values[step] == pytest.approx(value)
        assert found.user_attrs["configuration"] == trial.label
        assert found.params == trial.factors


def test_several_objectives_have_no_intermediate_values(tmp_path: Path) -> None:
    objectives = {"average_accuracy": "max", "forgetting": "min"}
    sweep, store = half_finished(tmp_path / "storage", objectives=objectives)
    write_study(sweep, store.objects, tmp_path / "study.log")
    study = loaded(sweep, tmp_path / "study.log")
    assert all(not trial.intermediate_values for trial in study.trials)
    assert len(study.trials[0].values) == 2


@pytest.mark.slow
@pytest.mark.parametrize("how", ["serve", "file"])
def test_the_dashboard_shows_configurations_and_values(tmp_path: Path, how: str) -> None:
    """The real server, opened by `sweeps dashboard` and from the file that it writes."""
    pytest.importorskip("optuna_dashboard")
    sweep, _ = half_finished(tmp_path / "storage")
    file, port = tmp_path / "study.log", free_port()
    ours = "from sweeps.cli import main; main()"
    desired = [sys.executable, "-c", ours, "dashboard", str(tmp_path / "storage")]
    if how == "file":
        subprocess.run([*desired, "-o", str(file), "--no-serve"], check=True)
        theirs = "from optuna_dashboard._cli import main; main()"
        desired = [sys.executable, "-c", theirs, str(file)]
    server = subprocess.Popen([*desired, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        (summary,) = asked(port, "/api/studies")["study_summaries"]
        assert (summary["study_name"], summary["directions"]) == (sweep.name, ["maximize"])
        study = asked(port, f"/api/studies/{summary['study_id']}")
    finally:
        server.terminate()
        server.wait(20)
    assert study["has_intermediate_values"]
    assert [trial["state"] for trial in study["trials"]] == ["Complete", "Complete", "Running"]
    for trial, found in zip(expand(sweep), study["trials"], strict=True):
        (attribute,) = found["user_attrs"]
        assert attribute["value"] == trial.label
        (parameter,) = found["params"]
        assert parameter["name"] == "method.importance_threshold"
        assert float(parameter["param_external_value"]) == trial.run.method.importance_threshold
        assert found["intermediate_values"][0]["step"] == 1
    assert len(study["trials"][0]["values"]) == 1


@pytest.mark.parametrize("options", [(), ("-o", "study.log")])
def test_without_optuna_dashboard_the_command_fails_and_says_what_to_do(
    tmp_path: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    half_finished(tmp_path / "storage")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dashboard_module, "_is_installed", lambda: False)
    monkeypatch.setattr("sweeps.cli.errors._leave", sys.exit)  # as where Ray is not imported
    done = CliRunner().invoke(main, ["dashboard", str(tmp_path / "storage"), *options])
    assert done.exit_code == ExitCode.FAILED
    assert "pip install optuna-dashboard" in done.stderr
    assert "optuna-dashboard " in done.stderr.partition("pip install optuna-dashboard")[2]
    assert Path("study.log").exists() == bool(options)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def asked(port: int, path: str) -> Any:
    """Return the response of the server, after it has started."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            time.sleep(0.5)
    raise TimeoutError(path)
