"""Matrices that are frozen under every selector, scope, statistic and rounding (section 4.3)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from clmethods.catalog.facts import SITES
from clmethods.config import InvalidConfigError, LoracIpcConfig, RunConfig, StreamConfig
from clmethods.methods import State
from clmethods.methods.lorac_freezing import frozen_before, selection_scores
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.adapted_networks import Matrix
from clmethods.nn.importance import importance_scores
from tests.clmethods.runs import LORAC, Trained, differences, same_bits, tiny_run, train

MATRICES = [Matrix(block, site) for block in (0, 1) for site in SITES]
FIVE = StreamConfig(tasks=5, limit=3)


def run_with(**changes: Any) -> RunConfig:
    return tiny_run(replace(LORAC, **changes), FIVE)


@cache
def first_task() -> Trained:
    """The first stage, which all choices share."""
    return train(run_with(), until=0)


def chosen(state: State | None = None, position: int = 1, **changes: Any) -> list[Matrix]:
    """Return the matrices that are frozen when the second task begins.

    `state` is a state of the first stage.
    """
    trained, run = first_task(), run_with(**changes)
    composition = trained.composition(state if state is not None else trained.state(0))
    composition = replace(composition, config=run.method)
    generator = torch.Generator().manual_seed(0)
    flags = frozen_before(run, composition, position, generator)
    return [matrix for matrix, frozen in zip(MATRICES, flags.tolist(), strict=True) if frozen]


def with_trace(*samples: Tensor) -> State:
    """The first stage's state with another evidence."""
    return first_task().state(0) | {"trace.0": torch.stack(samples).double()}


RISING = torch.arange(1.0, 13.0)


def test_selectors_choose_as_they_are_called() -> None:
    state = with_trace(RISING, RISING)
    assert chosen(state) == MATRICES[-2:]
    assert chosen(state, ipc_selector="inverse") == MATRICES[:2]
    assert chosen(state, ipc_selector="first_blocks") == MATRICES[:2]
    assert chosen(state, ipc_selector="last_blocks") == MATRICES[6:8]
    sizes = first_task().composition().deltas(0, MATRICES)
    largest = sorted(MATRICES, key=lambda m: -float(sizes[m].abs().mean()))[:2]
    assert set(chosen(state, ipc_selector="magnitude")) == set(largest)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_i20_the_least_important_never_has_an_undefined_score(bad: float) -> None:
    samples = RISING.clone()
    samples[0] = bad
    assert chosen(with_trace(samples, samples), ipc_selector="inverse") == MATRICES[1:3]


@pytest.mark.parametrize("column", range(12), ids=lambda c: str(MATRICES[c]))
def test_i27_a_planted_matrix_goes_first_or_last(column: int) -> None:
    samples = RISING.clone()
    samples[column] *= 1e3
    state = with_trace(samples, samples)
    assert MATRICES[column] in chosen(state)
    assert MATRICES[column] not in chosen(state, ipc_selector="inverse")
    assert MATRICES[column] in chosen(state, ipc_scope="per_block")


def test_i21_where_nothing_is_left_to_choose_no_score_is_asked() -> None:
    """Otherwise an undefined score would leave a matrix free that the plan lists as frozen."""
    samples = torch.full((12,), float("nan"))
    assert chosen(with_trace(samples, samples)) == []
    assert chosen(with_trace(samples, samples), importance_threshold=1.0) == MATRICES


def test_scopes_take_from_every_site_or_block() -> None:
    state = with_trace(RISING, RISING)
    blocks = chosen(state, importance_threshold=0.4, ipc_scope="per_block")  # k = 4
    assert blocks == [*MATRICES[4:6], *MATRICES[10:12]]
    sites = chosen(state, importance_threshold=0.6, ipc_scope="per_site")  # k = 7 of 6 sites
    assert sites == [MATRICES[5], *MATRICES[6:]]
    # Fewer than there are sites: nobody has a share of his own.
    assert chosen(state, ipc_scope="per_site") == chosen(state)


def test_random_choices_come_from_the_seed_and_differ_between_tasks_and_seeds() -> None:
    def masks(seed: int) -> list[Tensor]:
        run = replace(run_with(ipc_selector="random"), seed=seed)
        state = train(run, until=2).state(2)
        return [state[f"frozen.{position}"] for position in (1, 2)]

    first, again, other = masks(0), masks(0), masks(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1] & ~first[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"ipc_relative": True, "importance_threshold": 0.4},
        {"ipc_round": "ceil", "importance_threshold": 0.1},
        {"ipc_round": "nearest", "importance_threshold": 0.3, "ipc_selector": "random"},
        {"ipc_scope": "per_site", "importance_threshold": 0.6, "ipc_relative": True},
        {"ipc_scope": "per_block", "ipc_selector": "inverse", "importance_threshold": 0.4},
        {"ipc_target": "factors", "ipc_selector": "importance"},
        {"ipc_target": "current", "ipc_stat": "epoch_mean"},
        {"ipc_target": "delta", "ipc_stat": "ema_unbiased", "ipc_reducer": "l2"},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
def test_i20_i22_what_is_forecast_is_what_freezes_and_stays(changes: dict[str, Any]) -> None:
    trained = train(run_with(**changes))
    assert isinstance(trained.run.method, LoracIpcConfig)
    state, composition = trained.state(4), trained.composition()
    masks = [state[f"frozen.{position}"] for position in range(5)]
    forecast = trained.run.method.forecast(trained.run.context)
    assert [int(mask.sum()) for mask in masks] == list(forecast)
    assert forecast[-1] > forecast[1] > 0
    for (position, earlier), later in zip(enumerate(masks), masks[1:], strict=False):
        assert bool((later | ~earlier).all())
        for matrix, still in zip(MATRICES, earlier.tolist(), strict=True):
            if still:
                kept = composition.deltas(position - 1, [matrix])[matrix]
                assert same_bits(composition.deltas(4, [matrix])[matrix], kept)
    for (position, before), (_, after) in itertools.pairwise(enumerate(masks)):
        newly = int((after & ~before).sum())
        assert newly == forecast[position + 1] - forecast[position]


@pytest.mark.parametrize("stat", ["sensitivity", "uncertainty", "ema_unbiased", "epoch_mean"])
def test_the_statistic_that_is_named_decides(stat: str) -> None:
    """Of three samples the last is the last epoch: six images in batches of eight."""
    trained, run = first_task(), run_with(ipc_stat=stat)
    samples = [torch.rand(12, generator=torch.Generator().manual_seed(s)) for s in range(3)]
    composition = trained.composition(with_trace(*samples))
    found = selection_scores(run, composition, 1, torch.Generator())
    last = 1 if stat == "epoch_mean" else None
    trace = torch.stack(samples).double()
    expected = importance_scores(trace, 0.85, 0.85, stat, last)
    torch.testing.assert_close(found, expected)


def test_a_window_shorter_than_an_epoch_is_refused_before_the_first_step() -> None:
    short = {"ipc_stat": "epoch_mean", "ipc_window": 2}
    run = tiny_run(replace(LORAC, **short), FIVE, batch_size=2)  # 3 steps an epoch
    with pytest.raises(InvalidConfigError) as refused:
        train(run, until=0)
    (issue,) = refused.value.issues
    assert str(issue).startswith(
        "method.ipc_window: got 2, allowed: at least 3, the samples of one epoch"
    )
    enough = replace(run, method=replace(run.method, ipc_window=3))
    sparse = replace(run, method=replace(run.method, ipc_every=2))
    unread = replace(run, method=replace(run.method, ipc_selector="random"))
    for allowed in (enough, sparse, unread):
        train(allowed, until=0)


@pytest.mark.parametrize("target", ["delta", "current", "factors"])
def test_i25_no_target_sees_the_penalty(target: str) -> None:
    """One step with a B that is not zero, or no target but the effective weight has a size."""
    traces = []
    for weight in (0.0, 9.0):
        method = replace(LORAC, ipc_target=target, ipc_stat="sensitivity", ortho_lambda=weight)
        trained = train(tiny_run(method, FIVE), until=0)
        lorac = trained.method(0)
        assert isinstance(lorac, LoracIpc)
        with torch.no_grad():
            for matrix, adapter in lorac.adapters.items():
                seed = MATRICES.index(matrix)
                draw = torch.randn(adapter.b.shape, generator=torch.Generator().manual_seed(seed))
                adapter.b.copy_(draw)
        data = trained.data(0)
        terms = lorac.loss(trained.backbone.preprocess(data.images), data.labels)
        sum(terms.values(), torch.zeros(())).backward()
        lorac.after_backward()
        traces.append(lorac.trace.tensor())
    assert same_bits(*traces)
    assert float(traces[0].min()) > 0


def test_choices_that_read_no_evidence_keep_the_default_one() -> None:
    """So that the controls share their first stage with the runs that they control."""
    default = first_task()
    for selector in ("random", "first_blocks", "last_blocks", "magnitude"):
        other = train(run_with(ipc_selector=selector, ipc_target="factors", ipc_every=3), until=0)
        assert other.chain[0].key == default.chain[0].key
        assert differences(other.state(0), default.state(0)) == []


def test_frozen_matrices_have_no_score_of_factors() -> None:
    trained = train(run_with(ipc_target="factors"), until=2)
    trace, frozen = trained.state(2)["trace.2"], trained.state(2)["frozen.2"]
    assert trace.shape == (1, 12)
    assert torch.equal(trace[0] == 0, frozen)
    rows = trained.outcomes[2].method.matrices
    shown = [None if still else float(x) for x, still in zip(trace[0], frozen, strict=True)]
    assert [row.importance for row in rows] == shown
