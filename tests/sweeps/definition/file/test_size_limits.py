"""Large inputs are counted before they are checked: refused at once, with the way around."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from clmethods.config import InvalidConfigError
from sweeps.definition import expand, load_sweep, sweep_from_dict
from sweeps.definition.file import size_limits

BASE: dict[str, Any] = {
    "name": "x",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "limit": 4},
}
TEN = [round(0.1 * n, 1) for n in range(1, 11)]


def many(count: int) -> list[float]:
    return [round(1e-5 + 1e-7 * n, 9) for n in range(count)]


LARGE: dict[str, tuple[dict[str, Any], str]] = {
    "two long axes": (
        {"search": {"train.lr": many(3162), "train.weight_decay": many(3162)}},
        "search: got '9998244 combinations', allowed: at most 100000 combinations of a grid. "
        "Use `algorithm: {kind: sobol, trials: 100}`, or `random`",
    ),
    "one long axis": (
        {"search": {"train.lr": many(10**6)}, "algorithm": {"kind": "random", "trials": 3}},
        "search.train.lr: got 1000000, allowed: at most 100000 items. Use a range",
    ),
    "unknown keys": ({f"unknown_{n}": 1 for n in range(50_000)}, "at most 1000 keys"),
    "unknown keys of a section": (
        {"train": {f"unknown_{n}": 1 for n in range(50_000)}},
        "train: got 50000, allowed: at most 1000 keys in a mapping",
    ),
    "short axes": (
        {"search": {f"train.field_{n}": TEN for n in range(7)}},
        "search: got '10000000 combinations'",
    ),
    "very many short axes": (
        {"search": {f"train.field_{n}": TEN for n in range(900)}},
        "search: got 'more than 10^12'",
    ),
    "axes of choices": (
        {
            "search": {
                "method": [
                    {"kind": "lora_sequential", "search": {"rank": [*range(1, 400)]}}
                    for _ in range(900)
                ]
            }
        },
        "search: got '359100 combinations'",
    ),
    "choices": (
        {"search": {"method": [{"kind": "lora_sequential"}] * 1001}},
        "search.method: got 1001, allowed: at most 1000 items. Vary single fields instead.",
    ),
    "seeds": (
        {"seeds": [*range(5000)]},
        "seeds: got 5000, allowed: at most 1000 items. More task orders (`orders.count`)",
    ),
    "orders": (
        {"orders": {"design": "random", "count": 10**9}},
        "orders.count: got 1000000000, allowed: at most 10000 orders",
    ),
    "conditions": ({"where": ["method.rank > 1"] * 101}, "Join conditions with `and`."),
    "baselines": ({"baselines": [{"unknown": 1}] * 1001}, "Vary their fields under `search`."),
    "readouts": ({"readouts": [{}] * 101}, "readouts: got 101, allowed: at most 100 items"),
    "trials": (
        {"search": {"train.lr": many(1001)}, "seeds": [*range(1000)]},
        "search: got '1001000 trials', allowed: at most 1000000 trials. They are 1001 "
        "configurations x 1 orders x 1000 seeds.",
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_sweep_is_refused_at_once(name: str) -> None:
    fields, message = LARGE[name]
    start = time.process_time()
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict(BASE | fields)
    assert time.process_time() - start < 2
    (issue,) = refused.value.issues
    assert message in str(issue)


@pytest.mark.parametrize("name", ["two long axes", "one long axis", "unknown keys", "seeds"])
def test_a_large_file_needs_little_memory(name: str, tmp_path: Path) -> None:
    """In a process of its own: the peak of memory is that of a process.

    `VmHWM` starts anew with a program; `ru_maxrss` would include the test process before it.
    """
    path = tmp_path / "large.yaml"
    path.write_text(json.dumps(BASE | LARGE[name][0]))  # JSON is YAML, and faster to write
    script = f"""
import re, time
from pathlib import Path
from clmethods.config import InvalidConfigError
from sweeps.definition import load_sweep
start = time.process_time()
try:
    load_sweep(Path({str(path)!r}))
except InvalidConfigError as error:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    print(len(error.issues), time.process_time() - start, int(peak[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    issues, seconds, megabytes = map(float, done.stdout.split())
    assert issues == 1
    assert seconds < 2
    assert megabytes < 500


def test_many_invalid_values_are_counted() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict(BASE | {"search": {"train.lr": ["x"] * 50_000}})
    assert len(refused.value.issues) == 21
    assert "The values from search.train.lr[20] on are not checked yet." in str(refused.value)
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict(BASE | {f"unknown_{n}": 1 for n in range(900)})
    assert len(refused.value.issues) == 101
    assert "There are 800 more issues." in str(refused.value)


def test_equal_values_of_a_long_axis_are_found() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict(BASE | {"search": {"train.weight_decay": [1, *many(2000), 1.0, 1]}})
    assert [issue.path for issue in refused.value.issues] == [
        "search.train.weight_decay[2001]",
        "search.train.weight_decay[2002]",
    ]


def test_a_sweep_at_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limits, "MAX_TRIALS", 36)
    fields = {"search": {"train.lr": many(12)}, "seeds": [0, 1, 2]}
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(BASE | fields))
    assert len(expand(load_sweep(path))) == 36
    path.write_text(yaml.safe_dump(BASE | fields | {"seeds": [0, 1, 2, 3]}))
    with pytest.raises(InvalidConfigError, match="got '48 trials'"):
        load_sweep(path)
