"""`sweeps fork`: the file that it writes is the trial again, and its notes are true."""

from __future__ import annotations

from typing import Any

import yaml

from sweeps.definition import TrialSpec, expand, sweep_from_dict
from sweeps.definition.derive.fork import fork_document, fork_text, late_fields

DOCUMENT: dict[str, Any] = {
    "name": "trunk",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 3, "limit": 4, "class_order_seed": 7},
    "method": {"kind": "lorac_ipc", "rank": 2},
    "train": {"epochs": 1, "batch_size": 8, "lr_first_task": 0.01},
    "search": {"method.importance_threshold": [0.1, 0.2]},
    "orders": {"design": "explicit", "list": [[2, 0, 1]]},
    "seeds": [4],
    "readouts": [{"routing": "batch", "batch_size": 4}, {"routing": "last"}],
    "objectives": {"learning_accuracy": "max"},
    "resources": {"max_concurrent": 1},
}
TRUNK = sweep_from_dict(DOCUMENT)
TRIAL = expand(TRUNK)[1]


def forked(**changes: Any) -> tuple[TrialSpec, ...]:
    return expand(sweep_from_dict({**fork_document(TRUNK, TRIAL, "branch"), **changes}))


def shared(trial: TrialSpec) -> int:
    keys = [stage.key for stage in TRIAL.chain]
    return sum(stage.key == key for stage, key in zip(trial.chain, keys, strict=True))


def test_unchanged_it_is_the_trial_itself() -> None:
    text = fork_text(TRUNK, TRIAL, 2, "branch")
    again = sweep_from_dict(yaml.safe_load(text))
    (trial,) = expand(again)
    assert (again.name, trial.trial_id) == ("branch", TRIAL.trial_id)
    assert trial.readouts == TRIAL.readouts
    assert (again.objectives, again.resources) == (TRUNK.objectives, TRUNK.resources)
    assert TRIAL.trial_id in text


def test_what_acts_late_keeps_the_stages_that_are_shared() -> None:
    """Importance freezes at the start of the second task; lr_first_task hides lr at the first."""
    late = {field.path: field.acts_at for field in late_fields(TRIAL, 1)}
    assert late["method.importance_threshold"] == 2
    assert late["train.lr"] == 2
    assert "train.lr_first_task" not in late
    assert "method.rank" not in late
    values = {"method.importance_threshold": [0.2, 0.5], "train.lr": [0.001, 0.1]}
    trials = forked(search=values)
    assert [shared(trial) for trial in trials] == [1] * 4


def test_nothing_acts_after_the_end() -> None:
    assert late_fields(TRIAL, 3) == ()
    assert "no field" in fork_text(TRUNK, TRIAL, 3, "branch")


def test_orders_that_begin_alike_share_the_beginning() -> None:
    trials = forked(orders={"design": "explicit", "list": [[2, 1, 0], [0, 2, 1]]})
    assert [shared(trial) for trial in trials] == [1, 0]
