"""Number formats of `train.precision: bfloat16`: rounded products, float32 everywhere else."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest
import torch

from clmethods.config import (
    LoracIpcConfig,
    MethodConfig,
    ReadoutConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    resolve,
    stage_chain,
)
from clmethods.methods import METHODS
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.adapted_networks import composed_layers
from clmethods.nn.backbone import features, load_backbone
from clmethods.nn.orthogonality import orthogonality_residual
from clmethods.nn.precision import tf32_products
from clmethods.training.sequence import accuracy_matrix, run_sequence
from tests.clmethods.runs import LORAC, TINY, small_method, tiny_run, train


def test_networks_round_products_and_return_float32() -> None:
    exact, rounded = (load_backbone(TINY, p, "cpu") for p in ("float32", "bfloat16"))
    assert {t.dtype for t in rounded.tensors.values()} == {torch.float32}
    pixels = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected, found = features(exact.build(), pixels), features(rounded.build(), pixels)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_states_are_stored_in_the_formats_of_float32(kind: str) -> None:
    exact, rounded = (
        train(tiny_run(small_method(kind), precision=precision, epochs=1), until=0)
        for precision in ("float32", "bfloat16")
    )
    formats = [{n: t.dtype for n, t in r.state(0).items()} for r in (exact, rounded)]
    assert formats[0] == formats[1]
    assert any(not torch.equal(t, rounded.state(0)[n]) for n, t in exact.state(0).items())


def test_losses_and_penalties_are_in_float32() -> None:
    trained = train(tiny_run(LORAC, precision="bfloat16", epochs=1), until=0)
    method, data = trained.method(1), trained.data(1)
    terms = method.loss(trained.backbone.preprocess(data.images), data.labels)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    torch.stack(list(terms.values())).sum().backward()
    assert {p.grad.dtype for p in method.parameters() if p.grad is not None} == {torch.float32}


def test_the_importance_is_that_of_the_exact_effective_weight() -> None:
    trained = train(tiny_run(LORAC, precision="bfloat16", epochs=1), until=0)
    method, data = trained.method(1), trained.data(1)
    assert isinstance(method, LoracIpc)
    seen: dict[tuple[int, str], torch.Tensor] = {}
    layers = composed_layers(method.network)
    for name, layer in layers.items():
        layer.observer = lambda name=name: lambda weight, gradient: seen.update({name: weight})
    terms = method.loss(trained.backbone.preprocess(data.images), data.labels)
    terms["cross_entropy"].backward()
    assert seen.keys() == {name for name, layer in layers.items() if layer.adapters}
    for name, weight in seen.items():
        assert torch.equal(weight, layers[name].effective_weight())


@pytest.mark.parametrize("mode", ["project", "reparam_qr", "reparam_torch", "fixed_basis"])
def test_exact_orthogonality_stays_exact(mode: str) -> None:
    method = small_method("lorac_ipc", ortho_mode=mode)
    state = train(tiny_run(method, precision="bfloat16", epochs=2), until=1).state(1)
    pairs = [name for name in state if name.startswith("lora.1.") and name.endswith(".A")]
    assert pairs
    for name in pairs:
        assert orthogonality_residual(state[name], state[name.replace("lora.1", "lora.0")]) < 1e-5


@pytest.mark.parametrize("method", [LORAC, small_method("sequential_finetuning")])
def test_a_run_in_bfloat16_repeats(method: MethodConfig) -> None:
    first, second = (train(tiny_run(method, precision="bfloat16", epochs=1)) for _ in range(2))
    for name, tensor in first.state(2).items():
        assert torch.equal(tensor, second.state(2)[name])


def test_bfloat16_changes_the_accuracy_by_less_than_the_seed_does() -> None:
    """On the embedded digits, with the shipped backbone."""
    accuracies = {
        precision: [accuracy(precision, seed) for seed in range(3)]
        for precision in ("float32", "bfloat16")
    }
    exact, rounded = accuracies["float32"], accuracies["bfloat16"]
    assert min(exact) > 0.3  # chance is 0.1: the run learns
    spread = max(exact) - min(exact)
    assert abs(mean(exact) - mean(rounded)) <= max(spread, 0.02)
    assert all(abs(a - b) < 0.1 for a, b in zip(exact, rounded, strict=True))


def accuracy(precision: str, seed: int) -> float:
    run = RunConfig(
        stream=StreamConfig(tasks=2, limit=8),
        method=LoracIpcConfig(rank=4),
        train=TrainConfig(epochs=2, batch_size=8, precision=precision),  # type: ignore[arg-type]
        seed=seed,
    )
    readout = ReadoutConfig()
    steps = run_sequence(run, (readout,))
    return mean(accuracy_matrix(resolve(run), steps, readout.readout_id)[-1])


def keys(**settings: object) -> list[str]:
    return [s.key for s in stage_chain(tiny_run(**settings))]  # type: ignore[arg-type]


def test_keys_name_the_formats_that_act() -> None:
    default = keys(precision="float32")
    assert keys(precision="bfloat16") != default
    assert keys(precision="float32", tf32=True) == default  # on the CPU
    gpu = keys(precision="float32", device="cuda")
    assert keys(precision="float32", device="cuda", tf32=True) != gpu
    for precision in ("bfloat16", "float64"):
        same = keys(precision=precision, device="cuda")
        assert keys(precision=precision, device="cuda", tf32=True) == same


def test_ids_show_that_tf32_is_allowed() -> None:
    run = tiny_run()
    allowed = replace(run, train=replace(run.train, tf32=True))
    assert allowed.trial_id != run.trial_id


def test_tf32_is_allowed_inside_networks_only() -> None:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    train(tiny_run(LORAC, epochs=0), until=0)
    assert not products.allow_tf32
    assert not convolutions.allow_tf32
    with tf32_products(True):
        assert products.allow_tf32
        assert convolutions.allow_tf32
    assert not products.allow_tf32
    assert not convolutions.allow_tf32
