"""Important-parameter constraints: what freezes, and that it then never moves (I20 to I27)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from clmethods.catalog.facts import SITES
from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.config import LoracIpcConfig, RunConfig, StreamConfig
from clmethods.methods import State
from clmethods.methods.lorac_freezing import frozen_before
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.adapted_networks import Matrix, composed_layers
from clmethods.nn.backbone import SITE_SLOTS, features
from clmethods.nn.importance import ImportanceTrace, importance_scores
from clmethods.training.stage import run_stage
from tests.clmethods.runs import (
    LORAC,
    Trained,
    differences,
    same_bits,
    tiny_run,
    train,
)

ONE_EACH = replace(LORAC, importance_threshold=0.09)  # k = 1 of 12 matrices
FIVE_TASKS = StreamConfig(tasks=5, limit=4)
MATRICES = [Matrix(block, site) for block in (0, 1) for site in SITES]


def decided(trained: Trained, method: LoracIpcConfig, state: State, position: int) -> Tensor:
    """The flags that `method` decides on in a state."""
    run = replace(trained.run, method=method)
    composition = replace(trained.composition(state), config=method)
    return frozen_before(run, composition, position, torch.Generator().manual_seed(0))


def frozen_at(state: State, position: int) -> Tensor:
    return state[f"frozen.{position}"]


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.2, [0, 2, 4, 6, 8]), (0.4, [0, 4, 8, 12, 12])]
)
def test_i20_masks_grow_by_k_until_nothing_is_left(threshold: float, expected: list[int]) -> None:
    method = replace(LORAC, importance_threshold=threshold)
    trained = train(tiny_run(method, StreamConfig(tasks=5, limit=3), epochs=1))
    state = trained.state(trained.last)
    masks = [frozen_at(state, position) for position in range(5)]
    assert [int(mask.sum()) for mask in masks] == expected
    assert [outcome.method.frozen_count for outcome in trained.outcomes] == expected
    for earlier, later in itertools.pairwise(masks):
        assert bool((later | ~earlier).all())


def test_i20_the_decision_is_the_same_after_save_and_load(lorac: Trained) -> None:
    assert isinstance(lorac.run.method, LoracIpcConfig)
    for position in range(1, 5):
        reloaded = state_from_bytes(state_to_bytes(lorac.state(position - 1)))
        mask = decided(lorac, lorac.run.method, reloaded, position)
        assert torch.equal(mask, frozen_at(lorac.state(position), position))


def test_i21_a_threshold_of_zero_is_the_run_without_the_constraint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tiny_run(replace(LORAC, importance_threshold=0.0))
    zero = train(run)
    assert not any(frozen_at(zero.state(2), position).any() for position in range(3))

    def never(*_: object) -> None:
        raise AssertionError("importance is consulted although nothing freezes")

    monkeypatch.setattr("clmethods.methods.lorac_freezing.importance_scores", never)
    monkeypatch.setattr("clmethods.methods.lorac_freezing.freeze_top", never)
    assert differences(zero.state(2), train(run).state(2)) == []
    # Nor does measuring change the training, but for the rounding of its dense products.
    monkeypatch.setattr(ImportanceTrace, "watch", lambda *_: None)
    unmeasured = train(run).state(2)
    for name, tensor in zero.state(2).items():
        if not name.startswith("trace."):
            torch.testing.assert_close(unmeasured[name], tensor, rtol=1e-8, atol=1e-8, msg=name)
    assert not unmeasured["trace.0"].any()


def test_i21_a_threshold_of_one_leaves_only_the_head_to_train() -> None:
    trained = train(tiny_run(replace(LORAC, importance_threshold=1.0)))
    images = trained.data(split="test").images
    then = trained.predictor(0, 0).features(images)
    for position in (1, 2):
        delta = trained.deltas[position]
        assert not [name for name in delta if name.startswith("lora.")]
        assert bool(frozen_at(delta, position).all())
        assert torch.equal(delta[f"omega.{position}"], torch.ones(12, position + 1).double())
        assert same_bits(trained.predictor(position, position).features(images), then)
        assert differences(
            {"head": trained.state(position - 1)["head.weight"]}, {"head": delta["head.weight"]}
        )
        head = 16 * len(trained.chain[position].classes) + len(trained.chain[position].classes)
        assert trained.outcomes[position].method.trainable_parameters == head


def planted(state: State, position: int, column: int, factor: float) -> State:
    """The state with one matrix's evidence of the task at `position` multiplied."""
    trace = state[f"trace.{position}"].clone()
    trace[:, column] *= factor
    return state | {f"trace.{position}": trace}


@pytest.fixture(scope="module")
def first_task() -> Trained:
    """The first stage, which runs with any threshold share."""
    return train(tiny_run(ONE_EACH, FIVE_TASKS), until=0)


@pytest.mark.parametrize("column", range(12), ids=lambda c: str(MATRICES[c]))
def test_i27_the_matrix_with_by_far_the_largest_score_freezes_first(
    first_task: Trained, column: int
) -> None:
    state = planted(first_task.state(0), 0, column, 1e3)
    assert decided(first_task, ONE_EACH, state, 1).nonzero().flatten().tolist() == [column]
    state = planted(first_task.state(0), 0, column, 1e-6)
    last = replace(ONE_EACH, importance_threshold=11 / 12)
    assert (~decided(first_task, last, state, 1)).nonzero().flatten().tolist() == [column]


def rows(layer_rows: Tensor, site: str) -> Tensor:
    return layer_rows[SITE_SLOTS[site].rows(layer_rows.shape[0])]


@pytest.mark.parametrize("column", range(12), ids=lambda c: str(MATRICES[c]))
def test_i22_a_frozen_matrix_keeps_its_bits(first_task: Trained, column: int) -> None:
    """Every site by itself: a mask that is read at the wrong site frees one and blocks another.

    The matrix is frozen when the third task begins, with two modules and a learned weight; its
    neighbour one task earlier.
    """
    matrix, neighbour = MATRICES[column], MATRICES[column - 1]
    frozen: dict[Matrix, Tensor] = {}
    outputs: dict[Matrix, Tensor] = {}
    state = planted(first_task.state(0), 0, MATRICES.index(neighbour), 1e6)
    for position in (1, 2, 3):
        newly = {1: neighbour, 2: matrix}.get(position)
        if newly is not None:
            frozen[newly] = first_task.composition(state).deltas(position - 1, [newly])[newly]
        method, outcome = first_task.repeat(position, state)
        assert isinstance(method, LoracIpc)
        assert set(frozen) <= {m for m, f in zip(MATRICES, method.frozen, strict=True) if f}
        for one, delta in frozen.items():
            # Training: no adapter, a constant weight, and the same output when all is over.
            weight, slot = first_task.backbone.weight(*one) + delta, SITE_SLOTS[one.site]
            layer = composed_layers(method.network)[(one.block, slot.module)]
            assert str(slot.part) not in layer.adapters
            assert same_bits(rows(layer.weight, one.site), weight)  # type: ignore[arg-type]
            assert same_bits(rows(layer.effective_weight(), one.site), weight)
            x = torch.linspace(-1, 1, 4 * weight.shape[1], dtype=torch.float64).view(4, -1)
            output = layer(x).detach().split(layer.part_size, dim=-1)[slot.part]
            assert torch.equal(output, outputs.setdefault(one, output))
        free = [m for m in MATRICES if f"lora.{position}.{m}.B" in outcome.delta]
        assert len(free) == 12 - position
        assert all(bool(outcome.delta[f"lora.{position}.{m}.B"].any()) for m in free)
        state = state | outcome.delta
        if position == 1:
            state = planted(state, 1, column, 1e6)

    assert bool((state["omega.1"][column] != 1).any())
    for since, one in ((1, neighbour), (2, matrix)):
        expected, slot = frozen[one], SITE_SLOTS[one.site]
        assert bool(expected.any())
        for snapshot in range(since - 1, 4):
            composed = first_task.composition(state).deltas(snapshot, [one])[one]
            assert same_bits(composed, expected)
            network = first_task.predictor(3, snapshot, state).network
            merged = network.blocks[one.block].get_submodule(slot.module).weight  # type: ignore[index, union-attr]
            weight = first_task.backbone.weight(*one) + expected
            assert same_bits(rows(merged, one.site), weight)  # type: ignore[arg-type]


def sensitivities(method: LoracIpc, pixels: Tensor, labels: Tensor) -> Tensor:
    """mean |E * dCE/dE| of every matrix, from retained gradients of explicit weights."""
    network = method.backbone.build()
    weights = dict(network.named_parameters())
    for (block, name), layer in composed_layers(method.network).items():
        weights[f"blocks.{block}.{name}.weight"] = (
            layer.effective_weight().detach().requires_grad_()
        )
    logits = functional_call(
        Logits(network, method), {f"net.{n}": w for n, w in weights.items()}, (pixels,)
    )
    rows_of = {label: row for row, label in enumerate(method.stage.classes)}
    targets = torch.tensor([rows_of[label] for label in labels.tolist()])
    torch.nn.functional.cross_entropy(logits, targets).backward()
    found = []
    for block, site in method.matrices:
        weight = weights[f"blocks.{block}.{SITE_SLOTS[site].module}.weight"]
        found.append((rows(weight, site) * rows(weight.grad, site)).abs().mean())
    return torch.stack(found).detach()


class Logits(torch.nn.Module):
    """A network with the classes of the task on top."""

    def __init__(self, network: torch.nn.Module, method: LoracIpc) -> None:
        super().__init__()
        self.net = network
        self.head = method.head

    def forward(self, pixels: Tensor) -> Tensor:
        found = features(self.net, pixels)
        return found @ self.head.weight.T + self.head.bias


@pytest.mark.parametrize("position", range(5))
def test_i25_the_trace_is_the_sensitivity_of_retained_gradients(
    lorac: Trained, position: int
) -> None:
    method = lorac.method(position)
    assert isinstance(method, LoracIpc)
    data = lorac.data(position)
    pixels = lorac.backbone.preprocess(data.images)
    terms = method.loss(pixels, data.labels)
    sum(terms.values(), torch.zeros(())).backward()
    method.after_backward()
    (found,) = method.trace.tensor()
    free = ~method.frozen
    expected = sensitivities(method, pixels, data.labels)
    torch.testing.assert_close(found[free], expected[free], rtol=1e-10, atol=1e-12)
    assert float(found[free].min()) > 0


CHANGES: list[Callable[[RunConfig], RunConfig]] = [
    lambda run: replace(run, train=replace(run.train, grad_clip=1e-4)),
    lambda run: replace(run, train=replace(run.train, grad_clip=None)),
    lambda run: replace(run, method=replace(run.method, ortho_lambda=7.0)),
    lambda run: replace(run, method=replace(run.method, ortho_mode="none")),
]


@pytest.mark.parametrize("change", CHANGES, ids=["clipped", "not clipped", "lambda 7", "none"])
def test_i25_clipping_and_penalty_leave_a_sample_as_it_is(
    first_task: Trained, change: Callable[[RunConfig], RunConfig]
) -> None:
    """The first step starts from equal parameters, so its sample must be equal."""
    other = train(change(first_task.run), until=0)
    ours, theirs = first_task.deltas[0]["trace.0"], other.deltas[0]["trace.0"]
    assert same_bits(ours[0], theirs[0])
    assert not same_bits(ours[1:], theirs[1:])


def test_i26_the_spelling_of_the_sites_decides_nothing(first_task: Trained) -> None:
    method = replace(ONE_EACH, sites=("f2", "k", "o", "q", "f1", "v"))
    other = train(replace(first_task.run, method=method), until=0)
    assert other.chain == first_task.chain
    assert differences(other.state(0), first_task.state(0)) == []


def test_all_thresholds_leave_the_same_evidence_behind(first_task: Trained) -> None:
    """Evidence at the end of a task, decisions at the start of the next."""
    for threshold in (0.0, 0.5, 1.0):
        method = replace(ONE_EACH, importance_threshold=threshold)
        other = train(replace(first_task.run, method=method), until=0)
        assert differences(other.state(0), first_task.state(0)) == []


def test_the_report_shows_the_evidence_and_the_mask_in_force(lorac: Trained) -> None:
    for position in range(5):
        state, outcome = lorac.state(position), lorac.outcomes[position]
        scores = importance_scores(state[f"trace.{position}"], 0.85, 0.85)
        reported = outcome.method.matrices
        assert [Matrix(row.block, row.site) for row in reported] == MATRICES
        mask = frozen_at(state, position).tolist()
        assert [row.importance for row in reported] == [
            None if frozen else score for score, frozen in zip(scores.tolist(), mask, strict=True)
        ]
        assert [row.frozen for row in reported] == mask
        assert [row.omega for row in reported] == state[f"omega.{position}"].tolist()


def test_a_frozen_matrix_is_reported_to_stand_still(lorac: Trained) -> None:
    composition, last = lorac.composition(), lorac.last
    for column, row in enumerate(lorac.outcomes[last].method.matrices):
        since = next((p for p in range(5) if frozen_at(lorac.state(last), p)[column]), None)
        base = lorac.backbone.weight(row.block, row.site)
        updates = [composition.deltas(j, [MATRICES[column]])[MATRICES[column]] for j in range(5)]
        expected = [
            float((updates[last] - then).norm() / (base + then).norm()) for then in updates[:last]
        ]
        assert row.change_since == pytest.approx(expected)
        assert row.delta_norm == pytest.approx(float(updates[last].norm()))
        if since is not None:  # from the task before its freezing on
            assert row.change_since[since - 1 :] == [0.0] * (last - since + 1)
        else:
            assert min(row.change_since) > 0


def test_run_stage_refuses_nothing_but_needs_its_parent(first_task: Trained) -> None:
    """A stage whose parent is not there is a mistake of the caller, never a silent restart."""
    with pytest.raises(KeyError, match=r"frozen\.0"):
        run_stage(first_task.run, first_task.chain[1], {})
