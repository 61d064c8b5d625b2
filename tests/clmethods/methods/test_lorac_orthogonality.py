"""Orthogonality over a whole chain: what exact modes keep, and what every mode reports."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from clmethods.config import InvalidConfigError, RunConfig, StreamConfig
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.backbone import features
from clmethods.nn.orthogonality import orthogonality_residual
from tests.clmethods.runs import LORAC, Trained, differences, tiny_run, train

HARD = ("project", "reparam_qr", "reparam_torch", "fixed_basis")
MODES = ("none", "gram", "gram_sq", "cross", "cross_l1", "qr", *HARD)
STREAM = StreamConfig(tasks=4, limit=4)


def with_mode(mode: str, **changes: Any) -> RunConfig:
    method = replace(LORAC, ortho_mode=mode, **changes)  # T r = 8 of 16 dimensions
    return tiny_run(method, STREAM, weight_decay=0.05, optimizer="adamw", lr=0.02)


@cache
def chain(mode: str) -> Trained:
    return train(with_mode(mode))


@pytest.mark.parametrize("mode", HARD)
def test_i17_exact_modes_keep_to_the_complement_after_every_step(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worst: list[float] = []
    after_step = LoracIpc.after_step

    def watching(method: LoracIpc) -> None:
        after_step(method)
        for adapter in method.adapters.values():
            if adapter.past:
                for module in adapter.past_a.split(adapter.rank):  # type: ignore[operator]
                    basis = torch.linalg.qr(module.T).Q
                    overlap = (adapter.a.detach() @ basis).abs().max()
                    worst.append(float(overlap / adapter.a.detach().norm()))

    monkeypatch.setattr(LoracIpc, "after_step", watching)
    train(with_mode(mode))
    assert len(worst) > 100
    assert max(worst) < 1e-10


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_reports_its_largest_cosine(mode: str) -> None:
    trained = chain(mode)
    reported = [outcome.method.ortho_residual_max for outcome in trained.outcomes]
    assert reported[0] is None
    for position in (1, 3):
        composition = trained.composition(trained.state(position))
        cosines = []
        for matrix in composition.matrices:
            modules = [a for a, _ in composition.factors(matrix, position)]
            if len(modules) == position + 1:  # not frozen
                cosines.append(orthogonality_residual(modules[-1], torch.cat(modules[:-1])))
        assert reported[position] == pytest.approx(max(cosines), abs=1e-9)
        assert (max(cosines) < 1e-6) == (mode in HARD)


@pytest.mark.parametrize("mode", ["reparam_qr", "reparam_torch", "fixed_basis"])
def test_modes_that_bind_a_leave_orthonormal_rows(mode: str) -> None:
    state = chain(mode).state(3)
    for name, a in state.items():
        if name.endswith(".A"):
            torch.testing.assert_close(a @ a.T, torch.eye(2).double(), rtol=1e-9, atol=1e-9)


def test_a_fixed_basis_is_not_trained_and_halves_what_is() -> None:
    fixed, free = chain("fixed_basis"), chain("none")
    method = fixed.method(1)
    assert isinstance(method, LoracIpc)
    for matrix, adapter in method.adapters.items():
        stored = fixed.deltas[1][f"lora.1.{matrix}.A"]
        assert torch.equal(stored, adapter.a.detach())
        assert bool(fixed.deltas[1][f"lora.1.{matrix}.B"].any())
    first, second = (t.outcomes[0].method.trainable_parameters for t in (fixed, free))
    factors = sum(t.numel() for n, t in free.deltas[0].items() if n.endswith(".A"))
    assert second - first == factors


@pytest.mark.parametrize("mode", HARD)
def test_i09_what_an_exact_mode_does_not_train_stays_as_it_is(mode: str) -> None:
    trained = chain(mode)
    parent = {name: t.clone() for name, t in trained.state(1).items()}
    method, outcome = trained.repeat(2)
    assert differences(outcome.delta, trained.deltas[2]) == []
    assert differences(parent, trained.state(1)) == []
    moving = {id(p) for group in method.parameter_groups() for p in group.parameters}
    network: Any = method
    trainable = [*network.network.parameters(), *network.head.parameters()]
    assert moving == {id(p) for p in trainable if p.requires_grad}


@pytest.mark.parametrize("mode", MODES)
def test_i04_the_snapshot_is_the_network_that_was_trained(mode: str) -> None:
    trained = chain(mode)
    pixels = trained.backbone.preprocess(trained.data(split="test").images)
    method: Any = trained.repeat(2)[0]
    found = features(method.network, pixels).detach()
    expected = features(trained.predictor(2, 2).network, pixels)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", ["gram_sq", "cross", "cross_l1", "qr"])
def test_i18_every_penalty_pulls_at_the_unfrozen_current_a_alone(mode: str) -> None:
    trained = chain(mode)
    method = trained.method(2)
    assert isinstance(method, LoracIpc)
    assert method.penalty is not None
    assert len(method.adapters) == 8  # of 12
    method.penalty().backward()
    for adapter in method.adapters.values():
        assert adapter.a.grad is not None
        assert float(adapter.a.grad.norm()) > 0
        assert adapter.b.grad is None
        assert adapter.omega.grad is None
    assert all(tensor.grad is None for tensor in trained.state(1).values())


@pytest.mark.parametrize("mode", ["cross", "cross_l1", "qr", "project"])
def test_modes_that_speak_of_pairs_do_not_know_the_first_task(mode: str) -> None:
    assert differences(chain(mode).state(0), chain("none").state(0)) == []
    assert chain(mode).chain[0].key == chain("none").chain[0].key
    assert chain(mode).chain[1].key != chain("none").chain[1].key


@pytest.mark.parametrize("mode", ["gram", "gram_sq", "cross", "cross_l1", "qr"])
def test_a_strong_penalty_lowers_the_residual(mode: str) -> None:
    def residual(run: RunConfig) -> float:
        found = train(run, until=1).outcomes[1].method.ortho_residual_max
        assert found is not None
        return found

    assert residual(with_mode(mode, ortho_lambda=30.0)) < residual(with_mode("none"))


def test_i19_a_module_without_rank_is_counted_and_does_not_break_the_task() -> None:
    trained = train(with_mode("qr", a_init="orthonormal"), until=1)
    assert [outcome.method.ortho_fallbacks for outcome in trained.outcomes] == [0, 0]
    method = trained.method(1)
    assert isinstance(method, LoracIpc)
    with torch.no_grad():
        next(iter(method.adapters.values())).a[1] = 0.0
    data = trained.data(1)
    terms = method.loss(trained.backbone.preprocess(data.images), data.labels)
    sum(terms.values(), torch.zeros(())).backward()
    gradients: list[Tensor] = [p.grad for p in method.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert method.report(trained.state(1)).ortho_fallbacks == 1


@pytest.mark.parametrize("mode", HARD)
def test_i17_more_modules_than_dimensions_are_refused(mode: str) -> None:
    with_mode(mode, rank=4)  # 4 tasks of rank 4 fill the 16 dimensions
    with pytest.raises(InvalidConfigError) as refused:
        with_mode(mode, rank=5)
    (issue,) = refused.value.issues
    assert issue.path == "method.rank"
    assert str(issue).startswith(f"method.rank: got 5, allowed: at most 4 with ortho_mode: {mode}")
    assert "whose fan-in is 16" in str(issue)
    assert "lower the rank, train fewer tasks" in str(issue)
    with_mode(mode, rank=5, depth=0)  # nothing to be orthogonal
    with_mode(mode, rank=16, sites=("f2",))  # whose fan-in is 64


def test_starts_that_are_orthonormal_have_limits_too() -> None:
    with pytest.raises(InvalidConfigError, match="at most 4 with a_init: complement"):
        with_mode("none", rank=5, a_init="complement")
    with_mode("none", rank=16, a_init="orthonormal")
    with pytest.raises(InvalidConfigError, match="at most 16 with a_init: orthonormal"):
        with_mode("none", rank=17, a_init="orthonormal")
    with pytest.raises(InvalidConfigError, match="at most 16 with ortho_mode: qr"):
        with_mode("qr", rank=17)


def test_a_soft_mode_over_capacity_is_allowed_and_warned_about() -> None:
    for mode in ("gram", "gram_sq", "cross", "cross_l1", "qr"):
        run = with_mode(mode, rank=5)
        (warning,) = run.method.warnings_in(run.context)
        assert "4 modules of rank 5 cannot all be orthogonal" in warning
        assert mode in warning
        run = with_mode(mode, rank=4)
        assert run.method.warnings_in(run.context) == []
    run = with_mode("gram", rank=5, ortho_lambda=0.0)
    assert run.method.warnings_in(run.context) == []
