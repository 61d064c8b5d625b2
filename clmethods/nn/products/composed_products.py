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
    """Stacked earlier modules: A (K*r, a) and B^T (K*r, b); None if K is 0."""


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
        y: Tensor = _Product.apply(x, weight, bias, form, constants, *factors)
    return y


@final
class _Modules:
    """All modules of a part, stacked: A (R, a), B^T (R, b), their weights (R, 1); R = (K + 1) r.

    B is transposed, and so are the thin products (R, N): for few rows, products in this layout are
    up to four times as fast as those in the other one.
    """

    def __init__(self, constants: PartConstants, factors: Factors) -> None:
        a, b, omega = factors
        self.rows, self.scale, self.rank = constants.rows, constants.scale, len(a)
        self.a, self.b = a, b.mT.contiguous()
        if constants.past is not None:
            past_a, past_b = constants.past
            self.a, self.b = torch.cat([past_a, a]), torch.cat([past_b, self.b])
        self.current = slice(len(self.a) - self.rank, len(self.a))
        """Rows of the current module."""
        self.weights = a.new_full((len(self.a), 1), self.scale)
        self.weighted = 0 if omega is None else len(omega)
        if omega is not None:
            own = self.weights[: self.weighted * self.rank, 0]
            own *= omega.repeat_interleave(self.rank)

    def weighted_b(self) -> Tensor:
        """Return B^T (R, b) with the weights of the modules."""
        return self.b * self.weights

    def omega_gradient(self, products: Tensor) -> Tensor:
        """Return the gradient of omega, from the inner products (R,) of rows of B^T and A G^T."""
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
        modules, effective = _stacked(constants, factors), weight
        thin: list[Tensor] = []
        if form != "thin":
            effective = weight.clone()
            for part in modules:
                effective[part.rows].addmm_(part.weighted_b().mT, part.a)
        effective = effective.to(x.dtype)
        y = F.linear(x, effective, bias)
        if form == "thin":
            thin, flat_y = _projections(modules, _flat(x)), y.view(-1, y.shape[-1])
            for part, projected in zip(modules, thin, strict=True):
                flat_y[:, part.rows].addmm_(projected.mT, part.weighted_b().to(x.dtype))
        ctx.form, ctx.constants, ctx.thin = form, constants, len(thin)
        ctx.save_for_backward(x, effective, *thin, *factors)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        x, effective, *saved = ctx.saved_tensors
        thin, modules = saved[: ctx.thin], _stacked(ctx.constants, saved[ctx.thin :])
        g, flat_x = _flat(upstream), _flat(x)
        grad_x = g @ effective if ctx.needs_input_grad[0] else None
        learns = [ctx.needs_input_grad[5 + 3 * index + 2] for index in range(len(modules))]
        if ctx.form == "dense":
            gradients = _from_dense(modules, learns, (g.mT @ flat_x).to(modules[0].a.dtype))
        else:
            if ctx.form == "merged":
                thin = _projections(modules, flat_x, learns)
            gradients = _from_thin(modules, learns, thin, flat_x, g)
            if grad_x is not None and ctx.form == "thin":
                for part in modules:
                    back = part.b.to(g.dtype) @ g[:, part.rows].mT  # (R, N)
                    grad_x.addmm_(back.mT, (part.a * part.weights).to(g.dtype))
        shaped = None if grad_x is None else grad_x.view(x.shape)
        return (shaped, None, None, None, None, *gradients)


def _from_dense(
    modules: Sequence[_Modules], learns: Sequence[bool], dense: Tensor
) -> list[Tensor | None]:
    """Return the gradients of all factors from that of W_eff (b, a)."""
    gradients: list[Tensor | None] = []
    for part, all_modules in zip(modules, learns, strict=True):
        own, current = dense[part.rows], part.current
        through_a = part.a[0 if all_modules else current.start :] @ own.mT  # (R, b) or (r, b)
        grad_a = part.weights[current] * (part.b[current] @ own)
        grad_b = (part.weights[current] * through_a[-part.rank :]).mT
        omega = part.omega_gradient((part.b * through_a).sum(dim=1)) if all_modules else None
        gradients += [grad_a, grad_b, omega]
    return gradients


def _from_thin(
    modules: Sequence[_Modules],
    learns: Sequence[bool],
    thin: Sequence[Tensor],
    x: Tensor,
    g: Tensor,
) -> list[Tensor | None]:
    """Return the gradients of all factors from the projections `thin` of x."""
    gradients: list[Tensor | None] = []
    backs: list[Tensor] = []
    for part, all_modules, projected in zip(modules, learns, thin, strict=True):
        rows, current, kind = g[:, part.rows], part.current, part.a.dtype
        back = part.b[0 if all_modules else current.start :].to(g.dtype) @ rows.mT  # (R or r, N)
        backs.append(back[-part.rank :])
        grad_b = (projected[-part.rank :] @ rows).to(kind)  # (r, b)
        omega = None
        if all_modules:
            omega = part.omega_gradient((projected * back).sum(dim=1, dtype=kind))
        gradients += [None, (part.weights[current] * grad_b).mT, omega]
    stacked = torch.cat(backs) @ x  # (sum of r, a)
    for index, (part, grad_a) in enumerate(
        zip(modules, torch.split(stacked, [part.rank for part in modules]), strict=True)
    ):
        gradients[3 * index] = part.weights[part.current] * grad_a.to(part.a.dtype)
    return gradients


def _projections(
    modules: Sequence[_Modules], x: Tensor, all_modules: Sequence[bool] | None = None
) -> list[Tensor]:
    """Return A x^T (R, N) of every part; without its earlier modules (r, N) where not all act."""
    acts = all_modules or [True] * len(modules)
    used = [
        part.a[0 if every else part.current.start :]
        for part, every in zip(modules, acts, strict=True)
    ]
    stacked = used[0] if len(used) == 1 else torch.cat(used)
    return list(torch.split(stacked.to(x.dtype) @ x.mT, [len(a) for a in used]))


def _stacked(
    constants: Sequence[PartConstants], factors: Sequence[Tensor | None]
) -> list[_Modules]:
    return [
        _Modules(part, Factors(*factors[3 * index : 3 * index + 3]))  # type: ignore[arg-type]
        for index, part in enumerate(constants)
    ]


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])
