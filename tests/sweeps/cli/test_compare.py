"""`sweeps path` and `sweeps compare` on sweeps whose counts are made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from sweeps.definition import expand, load_sweep
from tests.sweeps.cli.conftest import DOCUMENT
from tests.sweeps.cli.fabricated import fabricate

Command = Callable[..., Result]

AXES = {
    "stream": {"dataset": "digits", "tasks": 2, "limit": 6},
    "orders": {"design": "explicit", "list": [[0, 1], [1, 0]]},
    "search": {"method.importance_threshold": [0, 0.2], "train.lr": [0.001, 0.01]},
    "baselines": [],
    "readouts": [{"routing": "last"}],
}


def gain(trial):
    """Each factor adds 0.1 and the seed 0.05, whatever else there is."""
    factors = trial.factors
    freezes, fast = factors["method.importance_threshold"] > 0, factors["train.lr"] == 0.01
    return 0.5 + 0.1 * freezes + 0.1 * fast + 0.05 * trial.seed


def test_a_path_shows_every_step_that_was_run(sweeps_command: Command, tmp_path: Path) -> None:
    sweep = fabricate(tmp_path, DOCUMENT | AXES, gain)
    a, b = sweep.configurations[0].label, sweep.configurations[-1].label
    result = sweeps_command("path", tmp_path, a, b)
    assert result.exit_code == 0, result.output
    assert result.output.count("2 steps") == 2
    lines = [line for line in result.output.splitlines() if "train.lr: 0.001 -> 0.01" in line]
    assert len(lines) == 2
    assert all("+10.0" in line and "yes" in line for line in lines)
    unneeded = sweeps_command("path", tmp_path, a, b, "-o", tmp_path / "missing.yaml")
    assert "nothing is missing" in unneeded.output
    assert not (tmp_path / "missing.yaml").exists()


def test_missing_steps_are_offered_as_a_sweep_that_plans(
    sweeps_command: Command, tmp_path: Path
) -> None:
    storage, file = tmp_path / "runs", tmp_path / "missing.yaml"
    ends = (
        {"method.importance_threshold": 0, "train.lr": 0.001},
        {"method.importance_threshold": 0.2, "train.lr": 0.01},
    )
    sweep = fabricate(storage, DOCUMENT | AXES, gain, lambda trial: trial.factors in ends)
    a, b = (next(c.label for c in sweep.configurations if c.factors == end) for end in ends)
    printed = sweeps_command("path", storage, a, b)
    assert "no path of 2 steps was run; one lacks 1 configuration" in printed.output
    assert "-o missing.yaml" in printed.output
    result = sweeps_command("path", storage, a, b, "-o", file)
    assert result.exit_code == 0, result.output
    assert "12 trials of 3 configurations" in result.output
    planned = expand(load_sweep(file))
    assert {t.trial_id for t in planned} < {t.trial_id for t in expand(sweep)}
    plan = sweeps_command("plan", file, "--storage", storage)
    assert plan.exit_code == 0, plan.output
    assert "12 trials of 3 configurations" in plan.output


def test_a_configuration_that_is_not_there_is_refused_with_the_nearest(
    sweeps_command: Command, tmp_path: Path
) -> None:
    sweep = fabricate(tmp_path, DOCUMENT | AXES, gain)
    label = sweep.configurations[0].label
    result = sweeps_command("path", tmp_path, label, label.replace("threshold", "treshold"))
    assert result.exit_code == 2
    assert "Did you mean" in result.output


def test_two_storages_are_compared_pair_by_pair(sweeps_command: Command, tmp_path: Path) -> None:
    """The second has 0.02 more everywhere; one run of it is missing."""
    one, two = tmp_path / "one", tmp_path / "two"
    sweep = fabricate(one, DOCUMENT | AXES, gain)
    lost = expand(sweep)[0]
    fabricate(two, DOCUMENT | AXES, lambda t: gain(t) + 0.02, lambda t: t != lost)
    result = sweeps_command("compare", one, two)
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if " +2.0 " in line]
    assert len(rows) == 5  # four configurations and their mean
    incomplete = [line for line in rows if " 3 " in line]
    assert len(incomplete) == 2  # its own row, and the mean
    assert all(("+2.0 to +2.0" in line) == (line not in incomplete) for line in rows)
    assert f"only in 1: {lost.label}, order {lost.order_id} seed {lost.seed}" in result.output
    assert "(16 trials)" in result.output
    assert "(15 trials)" in result.output
    assert "forgetting (lower is better)" in result.output


def test_what_has_no_partner_and_what_differs_is_named(
    sweeps_command: Command, tmp_path: Path
) -> None:
    """Labels show what a sweep varies, not its sections: there the runs differ."""
    one, two = tmp_path / "one", tmp_path / "two"
    fabricate(one, DOCUMENT | AXES, gain)
    other = (
        DOCUMENT
        | AXES
        | {
            "train": {"epochs": 2, "batch_size": 16},
            "search": {"method.importance_threshold": [0, 0.3], "train.lr": [0.001, 0.01]},
        }
    )
    fabricate(two, other, gain)
    output = sweeps_command("compare", one, two, "--metric", "average_accuracy").output
    assert output.count("is matched by its label, its runs differ in train.epochs: 1 | 2") == 2
    assert "only in 1: " in output
    assert "only in 2: " in output
    assert "importance_threshold=0.3" in output


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--metric", "forgeting"], ["Did you mean 'forgetting'?"]),
        (["--readout", "lst"], ["--readout", "last"]),
    ],
)
def test_what_cannot_be_compared_is_refused(
    sweeps_command: Command, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    fabricate(tmp_path, DOCUMENT | AXES, gain)
    result = sweeps_command("compare", tmp_path, tmp_path, *arguments)
    assert result.exit_code == 2
    assert all(part in result.output for part in parts)
