"""Products of a frozen layer with low-rank modules, with gradients written out by hand.

For an input x (N, a), the outputs of a part with K earlier modules are

    y = x W_eff^T + bias,   W_eff = W + scale * ( sum_{i<=K} omega_i B_i A_i + omega_t B_t A_t )

All forms compute y and the gradients of x, A_t, B_t and omega (docs/method.md section 2.7). They
differ in their products, and therefore in rounding and in time:

    dense    with W_eff; the gradients of the factors follow from that of W_eff, g^T x
    merged   with W_eff; the gradients of the factors follow from x A^T and g B
    thin     with x A^T and g B alone; no matrix (b, a) is formed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from clmethods.nn.precision import without_autocast

Form = Literal["dense", "merged", "thin"]


class Factors(NamedTuple):
    """Trained tensors of the modules of a part."""

    a: Tensor
    """(r, a)"""
    b: Tensor
    """(b, r)"""
    omega: Tensor | None
    """Weights of the modules: (K,), or (K + 1,) with that of the current one; None without any."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class PartConstants:
    """Place of a part in its layer, and its constants."""

    rows: slice
    """Outputs of the part in the layer."""
    scale: float
    past: tuple[Tensor, Tensor] | None
    """Stacked earlier modules (K*r, a) and (b, K*r); None if K is 0."""


def composed_product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    parts: Sequence[tuple[PartConstants, Factors]],
    form: Form,
) -> Tensor:
    """Return y (..., b) for an input x (..., a), in one of the forms.

    Under autocast, the products with x and with the gradient of y round their inputs; W_eff is
    formed in the format of the weights.
    """
    constants = tuple(part for part, _ in parts)
    factors = [tensor for _, part in parts for tensor in part]
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        x = x.to(torch.get_autocast_dtype(kind))
    with without_autocast(x):
        y: Tensor = _Product.apply(x, weight, bias, form, constants, *factors)  # type: ignore[no-untyped-call]
    return y


@final
class _Modules:
    """All modules of a part, stacked: A (R, a), B (b, R) and their weights (R,), R = (K + 1) r."""

    def __init__(self, constants: PartConstants, factors: Factors) -> None:
        a, b, omega = factors
        self.rows, self.scale, self.rank = constants.rows, constants.scale, len(a)
        self.a, self.b = a, b
        if constants.past is not None:
            past_a, past_b = constants.past
            self.a, self.b = torch.cat([past_a, a]), torch.cat([past_b, b], dim=1)
        self.current = slice(len(self.a) - self.rank, len(self.a))
        """Columns of the current module."""
        self.weights = a.new_full((len(self.a),), self.scale)
        self.weighted = 0 if omega is None else len(omega)
        if omega is not None:
            self.weights[: self.weighted * self.rank] *= omega.repeat_interleave(self.rank)

    def weighted_b(self) -> Tensor:
        """Return B (b, R) with the weights of the modules."""
        return self.b * self.weights

    def omega_gradient(self, products: Tensor) -> Tensor:
        """Return the gradient of omega, from the inner products (R,) of columns of B and G A^T."""
        own = products[: self.weighted * self.rank]
        return self.scale * own.view(self.weighted, self.rank).sum(dim=1)


class _Product(torch.autograd.Function):
    """`composed_product`, with an x in the format of the products."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        form: Form,
        constants: tuple[PartConstants, ...],
        *factors: Tensor | None,
    ) -> Tensor:
        """Return y (..., b)."""
        if bias is not None:
            bias = bias.to(x.dtype)
        modules = _stacked(constants, factors)
        effective = weight
        if form != "thin":
            effective = weight.clone()
            for part in modules:
                effective[part.rows].addmm_(part.weighted_b(), part.a)
        effective = effective.to(x.dtype)
        y = F.linear(x, effective, bias)
        if form == "thin":
            flat_x, flat_y = _flat(x), y.view(-1, y.shape[-1])
            for part in modules:
                projected = flat_x @ part.a.mT.to(x.dtype)  # (N, R)
                flat_y[:, part.rows].addmm_(projected, part.weighted_b().mT.to(x.dtype))
        ctx.form, ctx.constants = form, constants
        ctx.save_for_backward(x, effective, *factors)
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        x, effective, *factors = ctx.saved_tensors
        modules = _stacked(ctx.constants, factors)
        g, flat_x = _flat(upstream), _flat(x)
        grad_x = g @ effective if ctx.needs_input_grad[0] else None
        omegas = [ctx.needs_input_grad[5 + 3 * i + 2] for i in range(len(modules))]
        if ctx.form == "dense":
            gradients = _from_dense(modules, omegas, (g.mT @ flat_x).to(modules[0].a.dtype))
        else:
            stretched = grad_x if ctx.form == "thin" else None
            gradients = _from_thin(modules, omegas, flat_x, g, stretched)
        shaped = None if grad_x is None else grad_x.view(x.shape)
        return (shaped, None, None, None, None, *gradients)


def _from_dense(
    modules: Sequence[_Modules], omegas: Sequence[bool], dense: Tensor
) -> list[Tensor | None]:
    """Return the gradients of all factors from that of W_eff (b, a)."""
    gradients: list[Tensor | None] = []
    for part, learns in zip(modules, omegas, strict=True):
        own, used = dense[part.rows], slice(0 if learns else part.current.start, None)
        through_a = own @ part.a[used].mT  # (b, R) or (b, r)
        grad_a = part.weighted_b()[:, part.current].mT @ own
        grad_b = through_a[:, -part.rank :] * part.weights[part.current]
        gradients += [grad_a, grad_b, None]
        if learns:
            gradients[-1] = part.omega_gradient((part.b * through_a).sum(dim=0))
    return gradients


def _from_thin(
    modules: Sequence[_Modules],
    omegas: Sequence[bool],
    x: Tensor,
    g: Tensor,
    grad_x: Tensor | None,
) -> list[Tensor | None]:
    """Return the gradients of all factors from thin products; complete `grad_x` if it is given."""
    used = [
        slice(0 if learns or grad_x is not None else part.current.start, None)
        for part, learns in zip(modules, omegas, strict=True)
    ]
    stacked = torch.cat([part.a[own] for part, own in zip(modules, used, strict=True)])
    through_a = x @ stacked.mT.to(x.dtype)  # (N, sum of R)
    ends = list(accumulate(len(part.a[own]) for part, own in zip(modules, used, strict=True)))
    through_b: list[Tensor] = []
    gradients: list[Tensor | None] = []
    for part, learns, own, end in zip(modules, omegas, used, ends, strict=True):
        rows, kind = g[:, part.rows], part.a.dtype
        back = rows @ part.b[:, own].to(g.dtype)  # (N, R) or (N, r)
        through_b.append(back[:, -part.rank :])
        grad_b = (rows.mT @ through_a[:, end - part.rank : end]).to(kind)
        gradients += [None, grad_b * part.weights[part.current], None]
        if learns:
            products = (through_a[:, end - back.shape[1] : end] * back).sum(dim=0, dtype=kind)
            gradients[-1] = part.omega_gradient(products)
        if grad_x is not None:
            weighted = (part.a * part.weights[:, None]).to(g.dtype)
            grad_x.addmm_(back, weighted)
    grads_a = torch.cat(through_b, dim=1).mT @ x  # (sum of r, a)
    for index, (part, grad_a) in enumerate(
        zip(modules, grads_a.split([part.rank for part in modules]), strict=True)
    ):
        gradients[3 * index] = grad_a.to(part.a.dtype) * part.weights[part.current, None]
    return gradients


def _stacked(
    constants: Sequence[PartConstants], factors: Sequence[Tensor | None]
) -> list[_Modules]:
    return [
        _Modules(part, Factors(*factors[3 * index : 3 * index + 3]))  # type: ignore[arg-type]
        for index, part in enumerate(constants)
    ]


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])
