"""LwF: distillation from the network before the task (I38)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clmethods.config import LwfConfig, SequentialFinetuningConfig
from clmethods.methods.lwf import Lwf, distillation
from clmethods.nn.backbone import features
from tests.clmethods.runs import Trained, differences, same_bits, tiny_run, train

LOSSES = pytest.mark.parametrize("head_loss", ["local", "global"])


@pytest.fixture(scope="module")
def lwf() -> Trained:
    return train(tiny_run(LwfConfig()))


@LOSSES
def test_i38_without_weight_it_is_sequential_fine_tuning(head_loss: str) -> None:
    method = LwfConfig(lwf_alpha=0.0, head_loss=head_loss)  # type: ignore[arg-type]
    plain = SequentialFinetuningConfig(head_loss=head_loss)  # type: ignore[arg-type]
    free, other = train(tiny_run(method)), train(tiny_run(plain))
    assert differences(free.state(2), other.state(2)) == []


def test_i38_at_the_first_task_there_is_nothing_to_distil(lwf: Trained) -> None:
    plain = train(tiny_run(SequentialFinetuningConfig()), until=1)
    assert differences(lwf.state(0), plain.state(0)) == []
    assert differences(lwf.state(1), plain.state(1)) != []


def test_the_loss_is_that_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    p, q = (teacher / 3.0).softmax(dim=1), (student / 3.0).softmax(dim=1)
    expected = 9.0 * (p * (p / q).log()).sum(dim=1).mean()
    torch.testing.assert_close(distillation(student, teacher, 3.0), expected)
    assert float(distillation(teacher, teacher, 3.0)) == pytest.approx(0.0, abs=1e-12)


def test_the_term_compares_both_networks_on_the_same_batch(lwf: Trained) -> None:
    method, outcome = lwf.repeat(2)
    assert isinstance(method, Lwf)
    assert differences(outcome.delta, lwf.deltas[2]) == []
    pixels = lwf.backbone.preprocess(lwf.data(2).images)
    with torch.no_grad():
        terms = method.extra_terms(pixels, features(method.network, pixels))
    images, old = lwf.data(2).images, list(range(8))
    now, then = lwf.predictor(2, 2).scores(images), lwf.predictor(1, 1).scores(images)
    expected = distillation(now[:, old], then[:, old], 2.0)
    torch.testing.assert_close(terms["distillation"], expected)
    fresh = lwf.method(2)
    assert isinstance(fresh, Lwf)
    with torch.no_grad():
        start = fresh.extra_terms(pixels, features(fresh.network, pixels))["distillation"]
    assert float(start) == pytest.approx(0.0, abs=1e-12)


@LOSSES
def test_rows_of_old_classes_learn_and_those_of_later_ones_do_not(head_loss: str) -> None:
    method = LwfConfig(head_loss=head_loss)  # type: ignore[arg-type]
    trained = train(tiny_run(method), until=1)
    before, after = trained.state(0)["head.weight"], trained.state(1)["head.weight"]
    moved = {c for c in range(10) if not same_bits(before[c], after[c])}
    assert moved == set(range(8))


def test_the_local_loss_does_not_see_old_classes(lwf: Trained) -> None:
    method = lwf.method(1)
    assert isinstance(method, Lwf)
    data = lwf.data(1)
    terms = method.loss(lwf.backbone.preprocess(data.images), data.labels)
    terms["cross_entropy"].backward()  # type: ignore[no-untyped-call]
    assert method.head.weight.grad is not None
    assert not method.head.weight.grad[:4].any()
    assert bool((method.head.weight.grad[4:] != 0).any())


def test_distillation_keeps_old_answers() -> None:
    drift = []
    for alpha in (0.0, 20.0):
        trained = train(tiny_run(LwfConfig(lwf_alpha=alpha, body_lr_scale=1.0)), until=1)
        images, old = trained.data(1).images, list(range(4))
        then = trained.predictor(0, 0).scores(images)[:, old]
        drift.append(float(distillation(trained.predictor(1, 1).scores(images)[:, old], then, 2)))
    assert drift[1] < 0.5 * drift[0]


def test_an_old_network_is_never_trained(lwf: Trained) -> None:
    before = {name: tensor.clone() for name, tensor in lwf.state(1).items()}
    lwf.repeat(2)
    assert all(same_bits(before[name], tensor) for name, tensor in lwf.state(1).items())
    changed = replace(lwf.run, seed=1)
    assert changed.method == lwf.run.method
