"""LoRAC-IPC: composition, snapshots, and what may move while a task trains (I1 to I11, I18)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clmethods.catalog.facts import SITES
from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.config import LoracIpcConfig, LoraSequentialConfig
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.backbone import SITE_SLOTS, features
from tests.clmethods.runs import (
    LORAC,
    Trained,
    copied,
    differences,
    same_bits,
    tiny_run,
    train,
)

POSITIONS = range(5)


def pixels(trained: Trained) -> Tensor:
    """The test images of all classes, ready for a network."""
    return trained.backbone.preprocess(trained.data(split="test").images)


def started(trained: Trained, position: int) -> LoracIpc:
    method = trained.method(position)
    assert isinstance(method, LoracIpc)
    return method


def test_the_chain_under_test_uses_every_part(lorac: Trained) -> None:
    """Else the invariants below would hold for nothing."""
    assert [outcome.method.frozen_count for outcome in lorac.outcomes] == [0, 2, 4, 6, 8]
    state = lorac.state(lorac.last)
    assert bool((state["omega.4"][:, :4] != 1.0).any())
    for matrix, delta in (
        lorac.composition().deltas(lorac.last, lorac.composition().matrices).items()
    ):
        assert float(delta.norm()) > 1e-3, matrix


def test_i01_without_weights_and_freezing_the_delta_is_the_plain_sum() -> None:
    method = LoracIpcConfig(rank=2, lora_alpha=3.0, module_weights="ones", importance_threshold=0)
    trained = train(tiny_run(method))
    state, composition = trained.state(trained.last), trained.composition()
    for snapshot in range(3):
        for matrix, delta in composition.deltas(snapshot, composition.matrices).items():
            modules = [f"lora.{i}.{matrix}" for i in range(snapshot + 1)]
            expected = 3 / 2 * sum(state[f"{name}.B"] @ state[f"{name}.A"] for name in modules)
            torch.testing.assert_close(delta, expected, rtol=1e-10, atol=1e-10)
            assert float(delta.norm()) > 0


@pytest.mark.parametrize("position", POSITIONS[1:])
def test_i02_a_task_starts_where_the_last_snapshot_stands(lorac: Trained, position: int) -> None:
    method = started(lorac, position)
    found = features(method.network, pixels(lorac)).detach()
    expected = features(lorac.predictor(position - 1, position - 1).network, pixels(lorac))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("position", POSITIONS)
def test_i04_training_and_snapshot_agree_at_the_end_of_a_task(
    lorac: Trained, position: int
) -> None:
    method, outcome = lorac.repeat(position)
    assert differences(outcome.delta, lorac.deltas[position]) == []
    found = features(method.network, pixels(lorac)).detach()  # type: ignore[attr-defined]
    expected = features(lorac.predictor(position, position).network, pixels(lorac))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    before = features(started(lorac, position).network, pixels(lorac)).detach()
    assert not torch.allclose(found, before, atol=1e-3)  # the task did move something


def test_i06_the_own_module_weighs_one_until_the_next_task(lorac: Trained) -> None:
    for position in POSITIONS:
        bank = lorac.deltas[position][f"omega.{position}"]
        assert bank.shape == (12, position + 1)
        assert torch.equal(bank[:, position], torch.ones(12, dtype=torch.float64))
        for adapter in started(lorac, position).adapters.values():
            assert adapter.past == position
            assert not position or adapter.omega.shape == (position,)


def test_i07_i09_what_a_snapshot_reads_never_changes_again(lorac: Trained) -> None:
    """Rows of the bank, factors and masks; the head alone is shared between snapshots."""
    for position in POSITIONS:
        then = {name: t for name, t in lorac.state(position).items() if "head" not in name}
        for later in POSITIONS[position:]:
            now = lorac.state(later)
            assert differences(then, {name: now[name] for name in then}) == []


@pytest.mark.parametrize("reload", [False, True], ids=["in memory", "after save and load"])
@pytest.mark.parametrize("snapshot", POSITIONS)
def test_i08_a_snapshot_gives_the_same_logits_after_later_tasks(
    lorac: Trained, snapshot: int, reload: bool
) -> None:
    images = lorac.data(split="test").images
    then = lorac.state(snapshot)
    expected = lorac.predictor(snapshot, snapshot).scores(images)
    later = lorac.state(lorac.last)
    if reload:
        later = state_from_bytes(state_to_bytes(later))
    same_head = later | {name: then[name] for name in ("head.weight", "head.bias")}
    found = lorac.predictor(lorac.last, snapshot, same_head).scores(images)
    assert same_bits(found, expected)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_i09_only_what_is_trained_changes_whatever_the_decay(optimizer: str) -> None:
    trained = train(tiny_run(LORAC, optimizer=optimizer, weight_decay=0.3), until=1)
    weights, parent = copied(trained.backbone.tensors), copied(trained.state(0))
    method, outcome = trained.repeat(1)
    assert differences(weights, trained.backbone.tensors) == []
    assert differences(parent, trained.state(0)) == []

    assert isinstance(method, LoracIpc)
    free = {str(matrix) for matrix in method.adapters}
    assert len(free) == 10  # of 12
    own = {f"lora.1.{matrix}.{factor}" for matrix in free for factor in "AB"}
    assert outcome.delta.keys() == own | {
        *("omega.1", "frozen.1", "trace.1", "head.weight", "head.bias")
    }
    before, after = parent["omega.0"], outcome.delta["omega.1"][:, :1]
    moved = (before != after).flatten()
    assert torch.equal(moved, ~method.frozen)


def test_i09_nothing_in_the_training_network_moves_but_the_parameters(lorac: Trained) -> None:
    before = dict(started(lorac, 2).network.state_dict())
    after = dict(lorac.repeat(2)[0].network.state_dict())  # type: ignore[attr-defined]
    trained = {name for name in before if name.rsplit(".", 1)[-1] in {"a", "b", "value"}}
    assert set(differences(before, after)) == trained


def test_i10_head_rows_of_other_classes_stay_as_they_are(lorac: Trained) -> None:
    for position in POSITIONS[1:]:
        before, after = lorac.state(position - 1), lorac.state(position)
        mine = list(lorac.chain[position].classes)
        others = [c for c in range(10) if c not in mine]
        for name in ("head.weight", "head.bias"):
            assert same_bits(before[name][others], after[name][others])
            assert bool((before[name][mine] != after[name][mine]).all())


def test_i11_a_rate_of_zero_is_the_same_as_constant_weights() -> None:
    """Without clipping, which would see the gradients of the module weights."""
    still = train(tiny_run(replace(LORAC, omega_lr_scale=0.0), grad_clip=None))
    ones = train(tiny_run(replace(LORAC, module_weights="ones"), grad_clip=None))
    assert differences(still.state(still.last), ones.state(ones.last)) == []
    moving = train(tiny_run(LORAC, grad_clip=None), until=1)
    assert differences(moving.state(1), ones.state(1)) != []


@pytest.mark.parametrize("sites", [("q", "f2"), ("k",), ("v", "o", "f1")])
def test_i13_matrices_that_are_not_adapted_keep_their_weight(sites: tuple[str, ...]) -> None:
    method = replace(LORAC, sites=sites, depth=1, importance_threshold=0.5)
    trained = train(tiny_run(method), until=1)
    network, frozen = trained.predictor(1, 1).network.state_dict(), trained.backbone
    whole = set(frozen.tensors)
    for block, site in itertools.product((0, 1), SITES):
        slot = SITE_SLOTS[site]
        name = f"blocks.{block}.{slot.module}.weight"
        found = network[name][slot.rows(len(network[name]))]
        kept = same_bits(found, frozen.weight(block, site))
        assert kept == (block == 1 or site not in sites), (block, site)
        whole.discard(name)
    assert len(whole) > 20
    assert all(same_bits(network[name], frozen.tensors[name]) for name in whole)


def test_i13_depth_zero_is_a_linear_probe() -> None:
    trained = train(tiny_run(LoracIpcConfig(rank=2, depth=0)))
    state = trained.state(trained.last)
    assert not [name for name in state if name.startswith("lora.")]
    images = trained.data(split="test").images
    plain = features(trained.backbone.build(), trained.backbone.preprocess(images))
    assert same_bits(trained.predictor(2, 2).features(images), plain)
    # Any LoRA method without modules is the same probe.
    other = train(tiny_run(LoraSequentialConfig(rank=7, depth=0))).state(2)
    assert same_bits(state["head.weight"], other["head.weight"])
    assert same_bits(state["head.bias"], other["head.bias"])


@pytest.mark.parametrize("position", POSITIONS)
def test_i18_the_penalty_pulls_at_the_unfrozen_current_a_alone(
    lorac: Trained, position: int
) -> None:
    method = started(lorac, position)
    assert method.penalty is not None
    penalty = method.penalty()
    expected = torch.zeros((), dtype=torch.float64)
    for matrix in method.adapters:
        past = [a for a, _ in method.composition.factors(matrix, position - 1)]
        stacked = torch.cat([*past, method.adapters[matrix].a.detach()])
        gram = stacked @ stacked.T
        expected += torch.linalg.matrix_norm(gram - torch.eye(len(gram)))
    torch.testing.assert_close(penalty.detach(), expected, rtol=1e-10, atol=1e-10)

    penalty.backward()
    for adapter in method.adapters.values():
        assert adapter.a.grad is not None
        assert float(adapter.a.grad.norm()) > 0
        assert adapter.b.grad is None
        assert not position or adapter.omega.grad is None
    assert method.head.weight.grad is None
    assert all(t.grad is None for t in lorac.state(position).values())


def test_the_penalty_leaves_the_modules_more_orthogonal() -> None:
    """Effect of the penalty on the orthogonality residual that every stage reports."""
    strong = train(tiny_run(replace(LORAC, ortho_lambda=10.0), epochs=8, lr=0.05), until=1)
    none = train(tiny_run(replace(LORAC, ortho_mode="none"), epochs=8, lr=0.05), until=1)
    assert strong.outcomes[0].method.ortho_residual_max is None
    found = strong.outcomes[1].method.ortho_residual_max
    control = none.outcomes[1].method.ortho_residual_max
    assert found is not None
    assert control is not None
    assert found < control
