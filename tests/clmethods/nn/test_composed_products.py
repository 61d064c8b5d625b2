"""All forms of the products of a composed layer: the dense formula, finite differences."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clmethods.nn.lora import ComposedLinear, SiteAdapter
from clmethods.nn.module_weights import ModuleWeights, Rule
from clmethods.nn.products.composed_products import Factors, Form, composed_product
from clmethods.nn.products.product_forms import FASTEST, RANKS, LayerShape, fastest_form
from clmethods.nn.subspace import keep_orthonormal, project_off, row_basis

FORMS: tuple[Form, ...] = get_args(Form)
SCALE = 0.7


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def adapter(
    past: int,
    *,
    fan_in: int = 7,
    fan_out: int = 5,
    rank: int = 2,
    seed: int = 0,
    rule: Rule = "free",
    own: bool = False,
    learn: bool = True,
) -> SiteAdapter:
    """Random factors, with a weight of the current module if `own`."""
    modules = [
        (draw(rank, fan_in, seed=seed + 10 * i), draw(fan_out, rank, seed=seed + 10 * i + 1))
        for i in range(past + 1)
    ]
    count = past + own
    weights = None
    if count:
        norms = torch.stack([a.norm() * b.norm() for a, b in modules[:count]])
        weights = ModuleWeights(draw(count, seed=seed + 5).abs(), rule, norms, learn=learn)
    return SiteAdapter(*modules[-1], SCALE, modules[:-1], weights)


def layer_of(parts: int, adapters: dict[int, SiteAdapter], form: Form | None) -> ComposedLinear:
    size, fan_in = next((len(m.b), m.a.shape[1]) for m in adapters.values())
    weight = draw(parts * size, fan_in, seed=70)
    layer = ComposedLinear(weight, draw(parts * size, seed=71), adapters, parts)
    layer.form_of = None if form is None else lambda shape: form
    return layer


def results(layer: ComposedLinear, x: Tensor, *, oracle: bool = False) -> list[Tensor]:
    """Return the output, and its gradients with respect to x and every trained tensor."""
    leaves = [x, *(p for p in layer.parameters() if p.requires_grad)]
    y = F.linear(x, layer.effective_weight(), layer.bias) if oracle else layer(x)
    upstream = draw(*y.shape, seed=98)
    found = torch.autograd.grad(y, leaves, upstream, allow_unused=True)
    return [y.detach(), *(torch.zeros(()) if g is None else g for g in found)]


@settings(max_examples=40, deadline=None)
@given(
    past=st.integers(0, 3),
    rank=st.integers(1, 3),
    fan_in=st.integers(1, 9),
    size=st.integers(1, 6),
    rows=st.integers(1, 5),
    adapted=st.sampled_from([(1, (0,)), (3, (0, 1, 2)), (3, (0, 2)), (3, (1,))]),
    rule=st.sampled_from(["free", "constant_sum", "magnitude"]),
    own=st.booleans(),
    learn=st.booleans(),
    form=st.sampled_from(FORMS),
)
def test_i03_every_form_equals_the_dense_formula(
    past: int,
    rank: int,
    fan_in: int,
    size: int,
    rows: int,
    adapted: tuple[int, tuple[int, ...]],
    rule: Rule,
    own: bool,
    learn: bool,
    form: Form,
) -> None:
    parts, places = adapted
    adapters = {
        place: adapter(
            past,
            fan_in=fan_in,
            fan_out=size,
            rank=rank,
            seed=place,
            rule=rule,
            own=own,
            learn=learn,
        )
        for place in places
    }
    layer, x = layer_of(parts, adapters, form), draw(rows, 2, fan_in, seed=99).requires_grad_()
    expected = results(layer, x, oracle=True)
    torch.testing.assert_close(results(layer, x), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("past", [0, 2])
def test_gradients_match_finite_differences(form: Form, past: int) -> None:
    module = adapter(past, fan_in=3, fan_out=2, own=True)
    constants, (a, b, omega) = module.constants(slice(2, 4)), module.factors()
    assert omega is not None
    weight, bias = draw(6, 3, seed=70), draw(6, seed=71)

    def product(x: Tensor, a: Tensor, b: Tensor, omega: Tensor) -> Tensor:
        return composed_product(x, weight, bias, [(constants, Factors(a, b, omega))], form)

    inputs = [t.detach().requires_grad_() for t in (draw(4, 3, seed=99), a, b, omega)]
    assert torch.autograd.gradcheck(product, inputs)


@pytest.mark.parametrize("form", FORMS)
def test_modules_that_are_kept_orthogonal(form: Form) -> None:
    """A as the QR factor of a free matrix, and A after the projection of a step."""
    module = adapter(2)
    earlier = module.past_a
    assert isinstance(earlier, Tensor)
    keep_orthonormal(module, earlier)
    layer, x = layer_of(1, {0: module}, form), draw(4, 7, seed=99).requires_grad_()
    torch.testing.assert_close(results(layer, x), results(layer, x, oracle=True))
    projected = adapter(2)
    layer = layer_of(1, {0: projected}, form)
    results(layer, x)
    with torch.no_grad():
        projected.a.copy_(project_off(projected.a, row_basis(earlier)))
    torch.testing.assert_close(results(layer, x), results(layer, x, oracle=True))


@pytest.mark.parametrize("form", FORMS)
def test_weights_that_several_parts_share(form: Form) -> None:
    weights = ModuleWeights(draw(2, seed=5))
    adapters = {
        part: SiteAdapter(
            draw(2, 7, seed=part),
            draw(5, 2, seed=10 + part),
            SCALE,
            [(draw(2, 7, seed=20 + part + i), draw(5, 2, seed=30 + part + i)) for i in (0, 50)],
            weights,
        )
        for part in range(3)
    }
    layer, x = layer_of(3, adapters, form), draw(4, 7, seed=99).requires_grad_()
    torch.testing.assert_close(results(layer, x), results(layer, x, oracle=True))


@pytest.mark.parametrize("form", FORMS)
def test_what_needs_no_gradient_gets_none(form: Form) -> None:
    module = adapter(2, learn=False)
    module.a.requires_grad_(False)
    layer, x = layer_of(1, {0: module}, form), draw(4, 7, seed=99)
    layer(x).sum().backward()
    assert x.grad is None
    assert module.a.grad is None
    assert module.omega.grad is None
    assert module.b.grad is not None


@pytest.mark.parametrize("form", FORMS)
def test_a_factor_changed_before_the_backward_pass_is_an_error(form: Form) -> None:
    """Gradients of other values than those of the forward pass would be silently wrong."""
    module = adapter(2)
    y = layer_of(1, {0: module}, form)(draw(4, 7, seed=99).requires_grad_()).sum()
    with torch.no_grad():
        module.b.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("form", FORMS)
def test_autocast_rounds_the_inputs_of_products(form: Form) -> None:
    adapters = {0: adapter(2).float(), 2: adapter(1, seed=3).float()}
    layer = layer_of(3, adapters, form).float()
    x = draw(4, 7, seed=99).float().requires_grad_()
    exact = results(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    assert rounded.dtype == torch.bfloat16
    leaves = [x, *layer.parameters()]
    upstream = draw(*rounded.shape, seed=98).bfloat16()
    found = [rounded.detach(), *torch.autograd.grad(rounded, leaves, upstream)]
    assert [g.dtype for g in found[1:]] == [torch.float32] * len(leaves)
    for value, expected in zip(found, exact, strict=True):
        error = (value.float() - expected).norm() / expected.norm()
        assert 0 < error < 0.03


def test_the_nearest_shape_of_the_table_decides() -> None:
    for layer, by_rows in FASTEST.items():
        for rows, forms in by_rows.items():
            for rank, form in zip(RANKS, forms, strict=True):
                assert fastest_form(LayerShape(*layer, rows, rank)) == form
    assert fastest_form(LayerShape(1000, 1000, 1, 3000, 16)) == FASTEST[768, 768, 1][2048][0]
    assert fastest_form(LayerShape(1, 1, 1, 0, 1)) in FORMS
