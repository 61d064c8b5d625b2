"""Composed LoRA: a frozen linear layer plus a weighted sum of per-task low-rank modules.

A is stored (r, a) and B (b, r), as in PEFT and in docs/method.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clmethods.config.methods.fields import AInit
from clmethods.nn.module_weights import ModuleWeights
from clmethods.nn.precision import without_autocast
from clmethods.nn.products.composed_products import Factors, Form, PartConstants, composed_product
from clmethods.nn.products.product_forms import LayerShape
from clmethods.nn.subspace import orthonormal_rows, project_off, row_basis

Observer = Callable[[], Callable[[Tensor, Tensor], None] | None]
"""Function called in every forward pass. It returns None, or a function that the backward pass
calls with the effective weight (b, a) and its gradient."""

FormOf = Callable[[LayerShape], Form]
"""Function that returns the form of a product with a layer."""


def initial_a(
    rank: int,
    fan_in: int,
    rule: AInit,
    generator: torch.Generator,
    earlier: Tensor | None = None,
) -> Tensor:
    """Return A (r, a) in float64: uniform within a bound, or with orthonormal rows.

    The bound is 1/sqrt(r) for `kaiming_ref` and 1/sqrt(a) for `kaiming_fan_in`. In the public code
    the initializer takes the rank for the fan-in, which gives the larger bound; it is explicit
    here because A is stored transposed (docs/method.md section 2.5). With `complement` the rows
    are also orthogonal to those of `earlier` (K*r, a), which requires K*r + r <= a.
    """
    if rule in {"orthonormal", "complement"}:
        gaussian = torch.randn(rank, fan_in, generator=generator, dtype=torch.float64)
        if rule == "complement" and earlier is not None:
            gaussian = project_off(gaussian, row_basis(earlier.cpu().double()))
        return orthonormal_rows(gaussian)
    bound = (rank if rule == "kaiming_ref" else fan_in) ** -0.5
    uniform = torch.rand(rank, fan_in, generator=generator, dtype=torch.float64)
    scaled: Tensor = (2.0 * uniform - 1.0) * bound
    return scaled


def folded(
    a: Sequence[Tensor], b: Sequence[Tensor], omega: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Return one module A (K*r, a), B (b, K*r) that equals the weighted, scaled sum of K."""
    rank = a[0].shape[0]
    stacked_b = torch.cat(list(b), dim=1) * (scale * omega).repeat_interleave(rank)  # (b, K*r)
    return torch.cat(list(a), dim=0), stacked_b


def composed_delta(
    a: Sequence[Tensor], b: Sequence[Tensor], omega: Tensor, scale: float
) -> Tensor:
    """Return scale * sum_i omega_i B_i A_i (b, a), from factors (r, a), (b, r) and omega (K,).

    Training, snapshots and merging share this function, so that a frozen matrix has the same bits
    everywhere (invariant I22).
    """
    stacked_a, stacked_b = folded(a, b, omega, scale)
    delta: Tensor = stacked_b @ stacked_a
    return delta


class Adapter(nn.Module, ABC):
    """Trainable part of one matrix: its output is added to the output of the frozen layer."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the output (..., b) for an input (..., a)."""

    @abstractmethod
    def update(self) -> Tensor:
        """Return the weight update (b, a) that `forward` applies, with gradients."""


@final
class SiteAdapter(Adapter):
    """Low-rank part of one matrix while a task trains.

        scale * ( sum_{i<t} omega_i B_i A_i  +  omega_t B_t A_t )      (docs/method.md section 2.1)

    Earlier factors are constants. The current module has weight 1, and its own omega enters the
    graph only when the next task trains, unless the given weights include an entry for the current
    module.
    """

    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        scale: float,
        past: Sequence[tuple[Tensor, Tensor]] = (),
        omega: Tensor | ModuleWeights | None = None,
        *,
        learn_omega: bool = False,
    ) -> None:
        """Take initial `a` (r, a) and `b` (b, r), and the earlier modules `past` (A_i, B_i).

        `omega` (K,) contains the weights of the K earlier modules. As `ModuleWeights` it may be
        shared with other matrices, and may have one more entry, the weight of the current module.
        Raises `ValueError` if the number of weights does not match.
        """
        super().__init__()
        self.scale, self.rank = scale, a.shape[0]
        self.a = nn.Parameter(a.clone())
        self.b = nn.Parameter(b.clone())
        self.past = len(past)
        if past:
            self.register_buffer("past_a", torch.cat([p[0] for p in past], dim=0))  # (K*r, a)
            self.register_buffer("past_b", torch.cat([p[1] for p in past], dim=1))  # (b, K*r)
        if isinstance(omega, Tensor) and omega.shape == (len(past),) and past:
            omega = ModuleWeights(omega, learn=learn_omega)
        weights = omega if isinstance(omega, ModuleWeights) else None
        self.weighs_itself = weights is not None and len(weights) == len(past) + 1
        if (past or weights is not None) and not (
            weights is not None and len(weights) - self.weighs_itself == len(past)
        ):
            raise ValueError(f"need one omega per past module, got {omega} for {len(past)}")
        self.weights = weights

    @property
    def omega(self) -> nn.Parameter:
        """Trainable values (K,) of the weights. Raises `AttributeError` if there are none."""
        if self.weights is None:
            raise AttributeError("a matrix without earlier modules has no module weights")
        return self.weights.value

    def factor_parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters of A and B."""
        return [
            parameter
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and not name.startswith("weights.")
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (..., b) for an input (..., a)."""
        omega = None if self.weights is None else self.weights()
        y = F.linear(F.linear(x, self.a) * self._own_scale(omega), self.b)
        if self.past == 0 or omega is None:
            return y
        weight = (self.scale * omega[: self.past]).repeat_interleave(self.rank)  # (K*r,)
        return y + F.linear(F.linear(x, self.past_a) * weight, self.past_b)  # type: ignore[arg-type]

    def update(self) -> Tensor:
        """Return the weight update (b, a) that `forward` applies, with gradients."""
        omega = None if self.weights is None else self.weights()
        current = (self.b * self._own_scale(omega)) @ self.a
        if self.past == 0 or omega is None:
            return current
        weight = (self.scale * omega[: self.past]).repeat_interleave(self.rank)  # (K*r,)
        update: Tensor = (self.past_b * weight) @ self.past_a
        return update + current

    def constants(self, rows: slice) -> PartConstants:
        """Return the constants of the part with the outputs `rows` of its layer."""
        if self.past == 0:
            return PartConstants(rows, self.scale, None)
        return PartConstants(rows, self.scale, (self.past_a, self.past_b.mT.contiguous()))  # type: ignore[arg-type, operator]

    def factors(self) -> Factors:
        """Return the trained tensors, each computed once."""
        return Factors(self.a, self.b, None if self.weights is None else self.weights())

    def current_scale(self) -> Tensor | float:
        """Return the factor of B A of the current module, in float64, without gradients."""
        if self.weights is None or not self.weighs_itself:
            return self.scale
        own: Tensor = self.weights().detach()[-1].double()
        return self.scale * own

    def _own_scale(self, omega: Tensor | None) -> Tensor | float:
        return self.scale * omega[-1] if self.weighs_itself and omega is not None else self.scale


@final
class ComposedLinear(nn.Module):
    """Frozen linear layer whose output consists of equal parts; each part may have an adapter.

    timm's fused qkv has three parts, every other layer has one. By default, low-rank products are
    added to the output of the frozen layer, which never creates a dense gradient. If an observer
    requests the dense gradient of the effective weight, the output is one product with that
    weight. All other outputs have the form that `form_of` chooses, if it is set; every adapter
    must be a `SiteAdapter` then.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, adapters: Mapping[int, Adapter], parts: int
    ) -> None:
        """Take the constants `weight` (b, a) and `bias` (b,), and the adapters by part."""
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.adapters = nn.ModuleDict({str(part): adapters[part] for part in sorted(adapters)})
        self.parts = parts
        self.part_size = weight.shape[0] // parts
        self.observer: Observer | None = None
        self.form_of: FormOf | None = None
        self._constants: tuple[PartConstants, ...] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (..., b) for an input (..., a)."""
        # Compiled code never observes: `compiled_blocks` calls it in the other steps only.
        observe = None if torch.compiler.is_compiling() else self._observe()
        if observe is not None:
            return self._observed(x, observe)
        if self.adapters and self.form_of is not None:
            return self._composed(x, self.form_of)
        y = F.linear(x, self.weight, self.bias)  # type: ignore[arg-type]
        if not self.adapters:
            return y
        return y + self._assemble(
            lambda adapter: adapter(x), lambda: x.new_zeros(*x.shape[:-1], self.part_size), -1
        )

    def observed(self) -> bool:
        """Return True if the next forward pass will be observed."""
        return self._observe() is not None

    def effective_weight(self) -> Tensor:
        """Return the frozen weight plus the update of every adapter (b, a), with gradients."""
        weight: Tensor = self.weight  # type: ignore[assignment]
        if not self.adapters:
            return weight
        update = self._assemble(
            lambda adapter: adapter.update(),
            lambda: weight.new_zeros(self.part_size, weight.shape[1]),
            0,
        )
        return weight + update

    def _observe(self) -> Callable[[Tensor, Tensor], None] | None:
        if not self.adapters or self.observer is None or not torch.is_grad_enabled():
            return None
        return self.observer()

    def _observed(self, x: Tensor, observe: Callable[[Tensor, Tensor], None]) -> Tensor:
        with without_autocast(x):  # the importance is a product of these digits
            effective = self.effective_weight()
        values = effective.detach()
        effective.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: observe(values, gradient)
        )
        return F.linear(x, effective, self.bias)  # type: ignore[arg-type]

    def _composed(self, x: Tensor, form_of: FormOf) -> Tensor:
        adapters: list[SiteAdapter] = list(self.adapters.values())  # type: ignore[arg-type]
        if self._constants is None:
            size = self.part_size
            self._constants = tuple(
                adapter.constants(slice(part * size, (part + 1) * size))
                for part, adapter in zip(map(int, self.adapters), adapters, strict=True)
            )
        factors = [adapter.factors() for adapter in adapters]
        weight: Tensor = self.weight  # type: ignore[assignment]
        fan_out, fan_in = weight.shape
        rank = max(adapter.rank * (adapter.past + 1) for adapter in adapters)
        form = form_of(LayerShape(fan_in, fan_out, self.parts, x.numel() // fan_in, rank))
        parts = list(zip(self._constants, factors, strict=True))
        return composed_product(x, weight, self.bias, parts, form)  # type: ignore[arg-type]

    def _assemble(
        self, adapted: Callable[[Adapter], Tensor], empty: Callable[[], Tensor], dim: int
    ) -> Tensor:
        """Concatenate one tensor per part."""
        tensors = [
            adapted(self.adapters[str(part)])  # type: ignore[arg-type]
            if str(part) in self.adapters
            else empty()
            for part in range(self.parts)
        ]
        return tensors[0] if self.parts == 1 else torch.cat(tensors, dim=dim)
