"""Composed LoRA against dense algebra, closed-form gradients and finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from clmethods.nn.lora import ComposedLinear, SiteAdapter, composed_delta, initial_a

SCALE = 0.7


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def adapter(
    past: int, *, fan_in: int = 6, fan_out: int = 5, rank: int = 2, seed: int = 0
) -> SiteAdapter:
    """Random factors throughout: with B = 0 most mistakes would not show."""
    modules = [
        (draw(rank, fan_in, seed=seed + 10 * i), draw(fan_out, rank, seed=seed + 10 * i + 1))
        for i in range(past + 1)
    ]
    omega = draw(past, seed=seed + 5) if past else None
    return SiteAdapter(*modules[-1], SCALE, modules[:-1], omega, learn_omega=True)


def dense(module: SiteAdapter) -> Tensor:
    """scale * (sum omega_i B_i A_i + B A), written out module by module, with gradients."""
    total = module.b @ module.a
    for i in range(module.past):
        rows = slice(i * module.rank, (i + 1) * module.rank)
        total = total + module.omega[i] * module.past_b[:, rows] @ module.past_a[rows]
    return module.scale * total


def layers() -> list[tuple[str, ComposedLinear]]:
    """One-part and fused layers; some parts adapted, with and without earlier modules."""
    return [
        ("plain", ComposedLinear(draw(5, 6), draw(5), {0: adapter(2)}, 1)),
        ("first task", ComposedLinear(draw(5, 6), draw(5), {0: adapter(0)}, 1)),
        (
            "fused",
            ComposedLinear(draw(15, 6), draw(15), {0: adapter(2), 2: adapter(1, seed=3)}, 3),
        ),
        ("nothing adapted", ComposedLinear(draw(15, 6), draw(15), {}, 3)),
    ]


def dense_weight(layer: ComposedLinear) -> Tensor:
    blocks = list(layer.weight.split(layer.part_size))
    for part, module in layer.adapters.items():
        blocks[int(part)] = blocks[int(part)] + dense(module)
    return torch.cat(blocks)


def observed(layer: ComposedLinear) -> ComposedLinear:
    """The same layer when somebody asks for dense gradients, which takes another path."""
    layer.observer = lambda: lambda weight, gradient: None
    return layer


LAYERS = [*layers(), *((f"{name}, observed", observed(layer)) for name, layer in layers())]


@pytest.mark.parametrize("layer", [x for _, x in LAYERS], ids=[name for name, _ in LAYERS])
def test_i03_low_rank_dense_and_merged_outputs_agree(layer: ComposedLinear) -> None:
    x = draw(4, 3, 6, seed=99)
    expected = F.linear(x, dense_weight(layer), layer.bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)
    merged = F.linear(x, layer.effective_weight(), layer.bias)
    torch.testing.assert_close(merged, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layer", [x for _, x in LAYERS], ids=[name for name, _ in LAYERS])
def test_i03_gradients_of_every_path_are_those_of_the_dense_one(layer: ComposedLinear) -> None:
    """With respect to A, B, omega and the input."""
    x, upstream = draw(4, 3, 6, seed=99).requires_grad_(), draw(4, 3, len(layer.weight), seed=98)
    leaves = [x, *(p for p in layer.parameters() if p.requires_grad)]
    found = torch.autograd.grad((layer(x) * upstream).sum(), leaves)
    dense_output = F.linear(x, dense_weight(layer), layer.bias)
    expected = torch.autograd.grad((dense_output * upstream).sum(), leaves)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_i03_gradients_follow_the_formulas() -> None:
    """dA = scale (g B)^T x, dB = scale g^T (x A^T), domega_i = scale sum <x A_i^T, g B_i>."""
    module, x, g = adapter(3), draw(7, 6, seed=99), draw(7, 5, seed=98)
    (module(x) * g).sum().backward()
    assert module.a.grad is not None
    torch.testing.assert_close(module.a.grad, SCALE * (g @ module.b).T @ x)
    torch.testing.assert_close(module.b.grad, SCALE * g.T @ (x @ module.a.T))
    for i in range(3):
        a, b = module.past_a[2 * i : 2 * i + 2], module.past_b[:, 2 * i : 2 * i + 2]
        expected = SCALE * ((x @ a.T) * (g @ b)).sum()
        torch.testing.assert_close(module.omega.grad[i], expected)


@pytest.mark.parametrize("past", [0, 1, 3])
def test_i03_gradients_match_finite_differences(past: int) -> None:
    module = adapter(past, fan_in=3, fan_out=2, rank=2)
    names, start = zip(*module.named_parameters(), strict=True)

    def apply(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(module, dict(zip(names, values, strict=True)), (x,))

    inputs = [t.detach().requires_grad_() for t in (draw(4, 3, seed=99), *start)]
    assert torch.autograd.gradcheck(apply, inputs)


@given(
    past=st.integers(0, 4),
    rank=st.integers(1, 4),
    fan_in=st.integers(1, 8),
    fan_out=st.integers(1, 8),
    seed=st.integers(0, 10**6),
)
def test_i01_the_delta_is_the_sum_of_the_weighted_modules(
    past: int, rank: int, fan_in: int, fan_out: int, seed: int
) -> None:
    module = adapter(past, fan_in=fan_in, fan_out=fan_out, rank=rank, seed=seed)
    torch.testing.assert_close(module.update(), dense(module), rtol=1e-10, atol=1e-10)
    a = [*module.past_a.split(rank), module.a] if past else [module.a]
    b = [*module.past_b.split(rank, dim=1), module.b] if past else [module.b]
    one = torch.ones(1, dtype=torch.float64)
    omega = torch.cat([module.omega, one]) if past else one  # its own module weighs 1
    stored = composed_delta(a, b, omega, SCALE).detach()
    torch.testing.assert_close(stored, dense(module).detach(), rtol=1e-10, atol=1e-10)


def test_i05_doubling_alpha_doubles_the_delta() -> None:
    a, b = [draw(2, 6), draw(2, 6, seed=1)], [draw(5, 2, seed=2), draw(5, 2, seed=3)]
    omega = draw(2, seed=4)
    single = composed_delta(a, b, omega, 1 / 2)
    assert torch.equal(composed_delta(a, b, omega, 2 / 2), 2 * single)
    ones = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(
        composed_delta(a, b, ones, 2 / 2),  # alpha = r
        b[0] @ a[0] + b[1] @ a[1],
        rtol=1e-10,
        atol=1e-10,
    )


def test_i06_a_module_has_no_weight_of_its_own_while_it_trains() -> None:
    assert [name for name, _ in adapter(0).named_parameters()] == ["a", "b"]
    assert adapter(3).omega.shape == (3,)


def test_constant_omegas_get_no_gradient() -> None:
    past = [(draw(2, 6), draw(5, 2))]
    module = SiteAdapter(
        draw(2, 6, seed=1), draw(5, 2, seed=1), SCALE, past, torch.ones(1).double()
    )
    module(draw(3, 6)).sum().backward()
    assert module.omega.grad is None
    assert module.b.grad is not None


def test_omegas_must_match_the_earlier_modules() -> None:
    past = [(draw(2, 6), draw(5, 2))] * 2
    with pytest.raises(ValueError, match="one omega per past module"):
        SiteAdapter(draw(2, 6), draw(5, 2), SCALE, past, torch.ones(3))
    with pytest.raises(ValueError, match="one omega per past module"):
        SiteAdapter(draw(2, 6), draw(5, 2), SCALE, past)


def test_an_adapter_copies_what_it_is_given() -> None:
    a, b, omega = draw(2, 6), draw(5, 2), torch.ones(1).double()
    module = SiteAdapter(a, b, SCALE, [(a, b)], omega)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    assert torch.equal(a, draw(2, 6))
    assert torch.equal(b, draw(5, 2))
    assert float(omega) == 1.0


@pytest.mark.parametrize(("rule", "bound"), [("kaiming_ref", 4**-0.5), ("kaiming_fan_in", 0.1)])
def test_the_first_a_is_uniform_within_its_bound(rule: str, bound: float) -> None:
    a = initial_a(4, 100, rule, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert a.shape == (4, 100)
    assert float(a.abs().max()) <= bound
    assert float(a.abs().max()) > 0.97 * bound
    # A uniform variable has variance bound^2 / 3; 400 draws know it within 15 % at 5 sigma.
    assert float(a.var()) == pytest.approx(bound**2 / 3, rel=0.2)


def test_an_observer_sees_the_effective_weight_and_its_gradient() -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    layer = layers()[2][1]
    layer.observer = lambda: lambda weight, gradient: seen.append((weight, gradient))
    x, upstream = draw(4, 6), draw(4, 15, seed=7)
    (layer(x) * upstream).sum().backward()
    ((weight, gradient),) = seen
    torch.testing.assert_close(weight, dense_weight(layer).detach())
    torch.testing.assert_close(gradient, upstream.T @ x)
    with torch.no_grad():
        layer(x)
    assert len(seen) == 1
