"""Module weights: every scheme and every sharing over a whole chain (docs/method.md 2.8)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from clmethods.config import LoracIpcConfig, ReadoutConfig, StreamConfig
from clmethods.evaluate import Evaluator
from clmethods.methods import State
from clmethods.methods.composition import LIVE
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.adapted_networks import Matrix
from clmethods.nn.backbone import features
from tests.clmethods.runs import LORAC, Trained, differences, same_bits, tiny_run, train

FIVE = StreamConfig(tasks=5, limit=4)
FAST = replace(LORAC, omega_lr_scale=5.0)  # k = 2 of 12
SCHEMES = ("learned", "learned_pull", "decayed", "normalised", "direction_magnitude", "live")
SETTINGS: dict[str, dict[str, Any]] = {
    **{scheme: {"module_weights": scheme} for scheme in SCHEMES},
    **{f"per {share}": {"omega_share": share} for share in ("block", "site", "task")},
    "normalised per block": {"module_weights": "normalised", "omega_share": "block"},
    "weighs itself": {"omega_current": True},
}


@cache
def chain(setting: str) -> Trained:
    return train(tiny_run(replace(FAST, **SETTINGS[setting]), FIVE, lr=0.02), until=3)


def bank(trained: Trained, position: int) -> Tensor:
    return trained.state(position)[f"omega.{position}"]


def started(trained: Trained, position: int) -> LoracIpc:
    method = trained.method(position)
    assert isinstance(method, LoracIpc)
    return method


def pixels(trained: Trained) -> Tensor:
    return trained.backbone.preprocess(trained.data(split="test").images)


@pytest.mark.parametrize("setting", SETTINGS)
def test_i02_a_task_starts_where_the_last_one_ended(setting: str) -> None:
    """But for the scheme whose definition is that weights decay at the boundary."""
    trained = chain(setting)
    for position in (1, 3):
        found = features(started(trained, position).network, pixels(trained)).detach()
        before = trained.predictor(position - 1, position - 1).network
        expected = features(before, pixels(trained))
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9) == (setting != "decayed")


@pytest.mark.parametrize("setting", SETTINGS)
def test_i04_training_and_snapshot_agree_at_the_end_of_a_task(setting: str) -> None:
    trained = chain(setting)
    method, outcome = trained.repeat(3)
    assert differences(outcome.delta, trained.deltas[3]) == []
    found = features(method.network, pixels(trained)).detach()  # type: ignore[attr-defined]
    expected = features(trained.predictor(3, 3).network, pixels(trained))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("setting", SETTINGS)
def test_i06_i07_rows_of_the_bank_are_written_once_and_own_modules_weigh_one(
    setting: str,
) -> None:
    trained = chain(setting)
    final = trained.state(3)
    for position in range(4):
        row = bank(trained, position)
        assert same_bits(final[f"omega.{position}"], row)
        ones = torch.ones(12).double()
        assert torch.equal(row[:, position], ones) == (setting != "weighs itself")
    frozen = [trained.state(3)[f"frozen.{position}"] for position in range(4)]
    for position in range(1, 4):  # what is frozen repeats its row, whatever it shared
        still = frozen[position]
        assert same_bits(
            bank(trained, position)[still, :position], bank(trained, position - 1)[still]
        )
        if setting.startswith("normalised") and position == 1:
            continue
        assert bool((bank(trained, position)[~still, :position] != 1.0).all())


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("snapshot", [0, 2])
def test_i08_only_without_a_bank_do_old_snapshots_move(setting: str, snapshot: int) -> None:
    trained = chain(setting)
    images, then = trained.data(split="test").images, trained.state(snapshot)
    expected = trained.predictor(snapshot, snapshot).scores(images)
    same_head = trained.state(3) | {n: then[n] for n in ("head.weight", "head.bias")}
    found = trained.predictor(3, snapshot, same_head).scores(images)
    assert same_bits(found, expected) == (setting != "live")


@pytest.mark.parametrize("setting", SETTINGS)
def test_i09_the_optimiser_holds_one_number_per_unit_and_earlier_task(setting: str) -> None:
    trained = chain(setting)
    for position in range(4):
        method = started(trained, position)
        groups = method.parameter_groups()
        free = list(method.adapters)
        units = {
            "per block": {m.block for m in free},
            "normalised per block": {m.block for m in free},
            "per site": {m.site for m in free},
            "per task": {0},
        }.get(setting, free)
        modules = position + (setting == "weighs itself")
        if setting.startswith("normalised") and position == 1:
            modules = 0  # one weight with a constant sum has nothing to learn
        assert len(groups) == 1 + (modules > 0)
        if modules:
            assert [len(p) for p in groups[1].parameters] == [modules] * len(units)
            assert groups[1].lr_scale == 5.0
        moving = {id(p) for group in groups for p in group.parameters}
        network = [*method.network.parameters(), *method.head.parameters()]
        assert moving == {id(p) for p in network if p.requires_grad}


@pytest.mark.parametrize(
    ("setting", "unit"),
    [("per block", "block"), ("per site", "site"), ("per task", None)],
)
def test_free_matrices_of_a_unit_have_one_weight_and_units_differ(
    setting: str, unit: str | None
) -> None:
    trained = chain(setting)
    matrices = trained.composition().matrices
    for position in range(1, 4):
        frozen = trained.state(3)[f"frozen.{position}"].tolist()
        rows: dict[object, set[float]] = {}
        for matrix, row, still in zip(matrices, bank(trained, position), frozen, strict=True):
            if not still:
                key = getattr(matrix, unit) if unit else None
                rows.setdefault(key, set()).add(float(row[0]))
        assert all(len(values) == 1 for values in rows.values())
        assert len({min(values) for values in rows.values()}) == len(rows)
    # Matrices frozen at the second task kept their weight while that of their unit changed.
    early = trained.state(3)["frozen.1"]
    assert bool((bank(trained, 3)[early, 0] == 1.0).all())


def test_a_frozen_matrix_keeps_its_delta_while_its_unit_goes_on() -> None:
    trained = chain("per task")
    composition = trained.composition()
    for column, matrix in enumerate(composition.matrices):
        since = [p for p in range(4) if trained.state(3)[f"frozen.{p}"][column]]
        if since:
            kept = composition.deltas(since[0] - 1, [matrix])[matrix]
            for later in since:
                assert same_bits(composition.deltas(later, [matrix])[matrix], kept)


def test_decayed_weights_begin_with_a_fraction_of_the_last_row() -> None:
    trained = chain("decayed")
    method = started(trained, 2)
    for matrix, adapter in method.adapters.items():
        row = bank(trained, 1)[method.matrices.index(matrix)]
        assert same_bits(adapter.omega.detach(), 0.95 * row)


def test_normalised_weights_sum_to_the_number_of_modules() -> None:
    for setting in ("normalised", "normalised per block"):
        for position in range(4):
            row = bank(chain(setting), position)
            total = torch.full((12,), position + 1.0).double()
            torch.testing.assert_close(row.sum(dim=1), total, rtol=1e-10, atol=1e-10)


def test_a_strong_pull_keeps_the_weights_at_the_bank() -> None:
    loose, tight = (
        train(
            tiny_run(replace(FAST, **changes), FIVE, lr=0.02, grad_clip=None),
            until=1,
        )
        for changes in (
            {"module_weights": "learned"},
            {"module_weights": "learned_pull", "omega_pull": 1e3},
        )
    )
    free = ~loose.state(1)["frozen.1"]
    move = [(bank(t, 1)[free, 0] - 1.0).abs().mean() for t in (loose, tight)]
    assert float(move[1]) < 0.75 * float(move[0])


def test_the_pull_is_the_squared_distance_to_the_bank_of_all_free_matrices() -> None:
    method = started(chain("learned_pull"), 2)
    data = chain("learned_pull").data(2)
    rows = {m: method.composition.bank(m, 1) for m in method.adapters}
    with torch.no_grad():
        for adapter in method.adapters.values():
            adapter.omega.add_(0.5)
    terms = method.loss(method.backbone.preprocess(data.images), data.labels)
    expected = 0.01 * 0.25 * sum(len(row) for row in rows.values())
    assert float(terms["omega_pull"].detach()) == pytest.approx(expected)


def test_live_trains_as_learned_and_reads_the_newest_weights_everywhere() -> None:
    learned, live = chain("learned").state(3), chain("live").state(3)
    assert differences(learned, live) == [LIVE]
    assert same_bits(live[LIVE], live["omega.3"])
    composition = chain("live").composition()
    for snapshot, matrix in itertools.product(range(4), composition.matrices[:3]):
        modules = composition.factors(matrix, snapshot)
        row = live["omega.3"][composition.matrices.index(matrix)]
        expected = composition.scale * sum(
            w * b @ a for w, (a, b) in zip(row, modules, strict=False)
        )
        found = composition.deltas(snapshot, [matrix])[matrix]
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_routing_reads_the_first_snapshot_as_the_first_task_left_it() -> None:
    """Else the features that class statistics were taken from would move under them."""
    trained = chain("live")
    readout = ReadoutConfig(routing="instance")
    once = Evaluator(trained.run, trained.chain)
    stepwise = [once.counts(p, trained.state(p), [readout]) for p in range(4)]
    late = Evaluator(trained.run, trained.chain).counts(3, trained.state(3), [readout])
    assert late == stepwise[3]
    images = trained.data(split="test").images
    first = trained.predictor(0, 0, trained.state(3)).features(images)
    assert same_bits(first, trained.predictor(0, 0).features(images))
    assert not same_bits(first, trained.predictor(3, 0).features(images))


def test_i11_schemes_that_cannot_move_are_constant_weights() -> None:
    """Without clipping, which would see the gradients of the module weights."""

    def end(**changes: Any) -> State:
        method = replace(LORAC, importance_threshold=0.2, **changes)
        trained = train(tiny_run(method, grad_clip=None))
        return trained.state(trained.last)

    ones = end(module_weights="ones")
    for scheme in ("learned", "learned_pull"):
        assert differences(end(module_weights=scheme, omega_lr_scale=0.0), ones) == []
    for share in ("block", "task"):
        assert differences(end(omega_share=share, omega_lr_scale=0.0), ones) == []


def test_a_weight_of_its_own_starts_at_one_and_learns_from_the_first_task_on() -> None:
    trained = chain("weighs itself")
    assert isinstance(trained.run.method, LoracIpcConfig)
    method = started(trained, 0)
    assert all(torch.equal(a.omega, torch.ones(1).double()) for a in method.adapters.values())
    row = bank(trained, 0)
    assert bool((row != 1.0).all())
    later = started(trained, 1)
    for matrix, adapter in later.adapters.items():
        start = torch.cat([row[later.matrices.index(matrix)], torch.ones(1).double()])
        assert same_bits(adapter.omega.detach(), start)
    assert Matrix(0, "q") in method.adapters
