"""Batches of a model: replayed, merged, bounded, and none of it random."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition import Sweep
from sweeps.search.proposals import Batch, Outcome, Proposer, proposals
from tests.sweeps.search.steps import SEARCH, TWO, learning_sweep
from tests.sweeps.stages.small import small_sweep


def outcome(config_id: str, objectives: int) -> Outcome:
    """Made up from the id; some fail, some are stopped."""
    value = int(config_id[:6], 16) / 0xFFFFFF
    if value < 0.1:
        return Outcome()
    if value < 0.2:
        return Outcome(stopped_after=1, value_when_stopped=value)
    return Outcome(values=(value, 1 - value)[:objectives])


def printed(sweep: Sweep) -> tuple[Batch, ...]:
    """All batches, with made-up outcomes."""
    proposer, found = Proposer(sweep), list[Batch]()
    while (batch := proposer.ask()) is not None:
        found.append(batch)
        ids = [c.run.config_id for c in batch.new]
        proposer.tell({i: outcome(i, len(sweep.objectives)) for i in ids})
    return tuple(found)


@pytest.mark.parametrize("objectives", [{"average_accuracy": "max"}, TWO], ids=["one", "two"])
@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_a_replay_gives_the_same_batches_whatever_came_first(
    kind: str, objectives: dict[str, str]
) -> None:
    """Outcomes are a mapping: neither their order nor where a replay stopped before matters."""
    sweep = learning_sweep(kind, objectives=objectives)
    whole = printed(sweep)
    assert [len(batch.proposals) for batch in whole] == [4, 4, 4]
    ids = [c.run.config_id for batch in whole for c in batch.new]
    outcomes = {i: outcome(i, len(objectives)) for i in ids}
    assert proposals(sweep, dict(reversed(outcomes.items()))) == whole
    for known in range(len(ids)):
        part = proposals(sweep, {i: outcomes[i] for i in ids[:known]})
        assert part == whole[: len(part)]
    assert proposals(sweep, {}) == whole[:1]


def test_observations_steer_later_proposals() -> None:
    sweep = learning_sweep(trials=24, objectives={"average_accuracy": "max"})

    def last_rates(good: bool) -> list[float]:
        proposer = Proposer(sweep)
        while (batch := proposer.ask()) is not None:
            last = [float(str(proposal.draw["train.lr"])) for proposal in batch.proposals]
            proposer.tell(
                {
                    c.run.config_id: Outcome(
                        values=(c.run.train.lr if good else 1.0 - c.run.train.lr,)
                    )
                    for c in batch.new
                }
            )
        return last

    assert sum(last_rates(good=True)) > 4 * sum(last_rates(good=False))


def test_more_trials_keep_the_batches_of_before() -> None:
    few, more = printed(learning_sweep(trials=6)), printed(learning_sweep(trials=12))
    draws = [p.draw for batch in more for p in batch.proposals]
    assert [p.draw for batch in few for p in batch.proposals] == draws[:6]


def test_another_seed_proposes_other_trials() -> None:
    one = printed(learning_sweep())
    sweep = learning_sweep()
    other = printed(replace(sweep, algorithm=replace(sweep.algorithm, seed=1)))
    assert [p.draw for p in one[0].proposals] != [p.draw for p in other[0].proposals]


def test_equal_settings_are_trained_once_and_observed_each_time() -> None:
    """Three ranks: whatever is proposed after them costs nothing."""
    sweep = learning_sweep(trials=12, search={"method.rank": [1, 2, 4]})
    batches = printed(sweep)
    assert sum(len(batch.new) for batch in batches) == 3
    assert sum(len(batch.proposals) for batch in batches) == 12
    proposer = Proposer(sweep)
    while (batch := proposer.ask()) is not None:
        proposer.tell({c.run.config_id: Outcome(values=(0.5, 0.5)) for c in batch.new})
    assert [trial.values for trial in proposer.study.trials] == [[0.5, 0.5]] * 12


def test_thresholds_that_freeze_alike_are_one_configuration() -> None:
    """Equal in effect, not in spelling: none of them freezes a whole matrix of the tiny model."""
    axis = {"method.importance_threshold": {"uniform": [0.26, 0.29]}}
    batches = printed(learning_sweep(trials=8, search=axis))
    drawn = {p.draw["method.importance_threshold"] for b in batches for p in b.proposals}
    assert len(drawn) == 8
    assert sum(len(batch.new) for batch in batches) < 8


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_rejected_draws_are_replaced(kind: str) -> None:
    sweep = learning_sweep(kind, where=["method.rank * train.lr < 0.01"])
    batches = printed(sweep)
    assert [len(batch.proposals) for batch in batches] == [4, 4, 4]
    assert sum(batch.rejected for batch in batches) > 0
    for batch in batches:
        for proposal in batch.proposals:
            assert proposal.draw["method.rank"] * proposal.draw["train.lr"] < 0.01


def test_a_search_that_is_rejected_too_often_ends_early() -> None:
    """The bound holds over the whole search; what was proposed by then stays."""
    sweep = learning_sweep(trials=12, where=["train.lr < 0.0004"])
    bounded = replace(sweep.algorithm, max_rejected=0.0)
    proposer = Proposer(replace(sweep, algorithm=bounded))
    asked = 0
    while (batch := proposer.ask()) is not None:
        asked += len(batch.proposals)
        proposer.tell({c.run.config_id: Outcome(values=(0.1, 0.1)) for c in batch.new})
    assert proposer.exhausted
    assert asked < 12


CHOICES = [
    {"kind": "lorac_ipc", "search": {"rank": [1, 2], "importance_threshold": {"uniform": [0, 1]}}},
    {"kind": "lora_sequential", "search": {"rank": [2, 4, 8]}},
]


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_axes_of_one_choice_only(kind: str) -> None:
    sweep = learning_sweep(
        kind,
        trials=16,
        search={"method": CHOICES, "train.lr": {"log": [0.01, 1]}},
        readouts=[{"routing": "last"}],
    )
    draws = [p.draw for batch in printed(sweep) for p in batch.proposals]
    assert {draw["method"] for draw in draws} == {"lorac_ipc", "lora_sequential"}
    for draw in draws:
        assert ("method.importance_threshold" in draw) == (draw["method"] == "lorac_ipc")
        assert draw["method.rank"] in ([1, 2] if draw["method"] == "lorac_ipc" else [2, 4, 8])


def test_an_ablation_trains_every_state_and_judges_by_the_first() -> None:
    parts = {"clipping": {"on": {"train.grad_clip": 1.0}, "off": {"train.grad_clip": None}}}
    sweep = learning_sweep(trials=4, ablation={"plan": "leave_one_out", "parts": parts})
    (batch,) = proposals(sweep, {})
    assert [len(p.configurations) for p in batch.proposals] == [2] * 4
    assert {p.configurations[0].parts["clipping"] for p in batch.proposals} == {"on"}
    assert len(batch.new) == 8


def test_a_gaussian_process_proposes_what_is_good() -> None:
    """Past its ten random draws it models; the study is replayed like any other."""
    sweep = learning_sweep(
        "gp",
        trials=13,
        batch=11,
        search={"train.lr": {"log": [1e-4, 1]}},
        objectives={"average_accuracy": "max"},
    )
    batches = proposals(sweep, {})
    outcomes = {
        c.run.config_id: Outcome(values=(math.log(c.run.train.lr),)) for c in batches[0].new
    }
    _, second = proposals(sweep, outcomes)
    assert max(float(str(p.draw["train.lr"])) for p in second.proposals) > 0.5
    assert proposals(sweep, outcomes)[1] == second


@pytest.mark.parametrize(
    ("algorithm", "fields", "path", "message"),
    [
        ({"kind": "tpe"}, {}, "algorithm.trials", "Set the number of"),
        ({"kind": "tpe", "trials": 20_000}, {}, "algorithm.trials", "1 to 10000"),
        ({"kind": "tpe", "trials": 4, "batch": 5}, {}, "algorithm.batch", "1 to 4"),
        ({"kind": "nsga2", "trials": 4, "batch": 1}, {}, "algorithm.batch", "a generation"),
        (
            {"kind": "random", "trials": 4, "batch": 2},
            {},
            "algorithm.batch",
            "does not use results",
        ),
        ({"kind": "tpe", "trials": 4}, {"search": {}}, "search", "nothing to optimize"),
        (
            {"kind": "gp", "trials": 4},
            {"search": {"method": CHOICES}, "readouts": [{"routing": "last"}]},
            "algorithm.kind",
            "tpe or nsga2",
        ),
        ({"kind": "tpe", "trials": 4}, {"where": ["method.rank > 9"]}, "where", "rejects"),
        (
            {"kind": "tpe", "trials": 4},
            {"stream": {"dataset": "digits", "tasks": 3, "limit": 4, "validation_fraction": 0}},
            "stream.validation_fraction",
            "greater than 0",
        ),
    ],
)
def test_bad_input(
    algorithm: dict[str, object], fields: dict[str, object], path: str, message: str
) -> None:
    given = {"search": SEARCH, **fields}
    with pytest.raises(InvalidConfigError) as caught:
        small_sweep(algorithm=algorithm, **given)
    issues = {issue.path: str(issue) for issue in caught.value.issues}
    assert path in issues
    assert message in issues[path]


def test_nothing_of_torch_ray_or_optuna_is_loaded_before_it_is_needed() -> None:
    program = (
        "import sys, sweeps.search.controller, sweeps.search.stored_observations\n"
        "assert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
