"""The benchmark of all methods can be planned; that of GPUs runs but for the kernels."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from clmethods.config import METHOD_CONFIGS
from sweeps.definition import expand

FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "methods.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_of_methods", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["digits", "glyph100", "embedded4"])
def test_every_embedded_benchmark_can_be_planned(benchmark: ModuleType, name: str) -> None:
    """Three orders by three seeds of every configuration that depends on the order."""
    assert sorted(benchmark.STREAMS) == ["digits", "embedded4", "glyph100"]
    trials = expand(benchmark.make_sweep(name, None))
    base = [trial for trial in trials if trial.role == "search"]
    assert len({trial.order_id for trial in base}) == 3
    assert len(base) == 9
    assert all(trial.run.stream.dataset == name for trial in trials)


def test_no_method_is_left_out(benchmark: ModuleType) -> None:
    trials = expand(benchmark.make_sweep("digits", None))
    assert {trial.run.method.kind for trial in trials} == METHOD_CONFIGS.keys()


def test_the_benchmark_of_gpus_runs_on_the_cpu() -> None:
    """Steps at two tasks and a stage, in two precisions, on a tiny network."""
    result = subprocess.run(
        [sys.executable, str(FILE.with_name("gpu.py")), "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if "tiny" in line]
    assert [row[1] for row in rows] == ["step, task 1", "step, task 10", "stage"] * 2
    assert all(float(row[3]) > 0 for row in rows)
