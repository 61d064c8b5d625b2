"""Which matrices the loss is most sensitive to, and which are frozen for it (section 4)."""

from __future__ import annotations

from collections import deque
from typing import final

import torch
from torch import Tensor

from clmethods.nn.lora import ComposedLinear


@final
class ImportanceTrace:
    """Keeps I_m = mean |E_m * dL/dE_m| of a task's last sampled steps, for every matrix.

    E_m is the effective weight of the forward pass. The gradient is that of the loss before
    clipping; the penalty does not depend on E_m. The dense gradient is dropped at once.
    """

    def __init__(
        self, matrices: int, every: int, window: int, dtype: torch.dtype, device: str
    ) -> None:
        self.every = every
        self._samples: deque[Tensor] = deque(maxlen=window)
        self._current = torch.zeros(matrices, dtype=dtype, device=device)
        self._step = 0

    def watch(self, layer: ComposedLinear, columns: dict[int, int]) -> None:
        """Observe a layer; `columns` says which column each of its adapted parts fills.

        Columns that nobody fills, those of frozen matrices, stay 0.
        """
        size = layer.part_size

        def observe(effective: Tensor, gradient: Tensor) -> None:
            sensitivity = (effective * gradient).abs_()  # (b, a)
            for part, column in columns.items():
                self._current[column] = sensitivity[part * size : (part + 1) * size].mean()

        layer.observer = lambda: observe if self._step % self.every == 0 else None

    def end_step(self) -> None:
        """Close a training step; call it once after every backward pass."""
        if self._step % self.every == 0:
            self._samples.append(self._current.clone())
        self._step += 1

    def tensor(self) -> Tensor:
        """(steps, M): the samples kept, oldest first."""
        if not self._samples:
            return self._current.new_zeros(0, len(self._current))
        return torch.stack(list(self._samples))


def importance_scores(trace: Tensor, beta1: float, beta2: float) -> Tensor:
    """(steps, M) to (M,): moving averages of sensitivity and uncertainty, multiplied.

        I_bar = b1 I_bar + (1 - b1) I;   U_bar = b2 U_bar + (1 - b2) |I - I_bar|;   I_bar * U_bar

    Both start at 0, without bias correction (section 4.1, AdaLoRA's score at matrix level).
    """
    sensitivity = torch.zeros_like(trace[0]) if len(trace) else trace.new_zeros(trace.shape[1])
    uncertainty = torch.zeros_like(sensitivity)
    for sample in trace:
        sensitivity = beta1 * sensitivity + (1 - beta1) * sample
        uncertainty = beta2 * uncertainty + (1 - beta2) * (sample - sensitivity).abs()
    return sensitivity * uncertainty


def freeze_top(scores: Tensor, frozen: Tensor, k: int) -> Tensor:
    """(M,) bool: `frozen` and the k most important of the others (section 4.4, rule ours).

    Exactly min(k, not yet frozen) are added; ties fall to the earlier matrix; a score that is not
    finite never freezes its matrix.
    """
    eligible = (~frozen) & torch.isfinite(scores)
    ranked = torch.where(eligible, scores, -torch.inf).sort(descending=True, stable=True).indices
    chosen = ranked[: min(k, int(eligible.sum()))]
    updated = frozen.clone()
    updated[chosen] = True
    return updated
