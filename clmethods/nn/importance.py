"""Importance of matrices: sampled during the training of a task, scored afterward."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor

from clmethods.config.methods.lorac_effect import TraceSettings
from clmethods.nn.lora import ComposedLinear, SiteAdapter
from clmethods.nn.products.product_forms import fastest_form

REDUCERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda entries: entries.mean(),
    "sum": lambda entries: entries.sum(),
    "l2": lambda entries: torch.linalg.vector_norm(entries),
}
"""Functions that reduce the nonnegative entries |E * dL/dE| of a matrix to one number."""


@final
class RunningScore:
    """Running statistic, entry by entry, of tensors I of one shape (docs/method.md section 4.1).

        I_bar = b1 I_bar + (1 - b1) I;   U_bar = b2 U_bar + (1 - b2) |I - I_bar|

    Both averages start at 0. `product` is I_bar * U_bar, AdaLoRA's score; `sensitivity` and
    `uncertainty` are its factors. `ema_unbiased` is the product of the bias-corrected averages:
    each is divided by 1 - b^n after n samples, and the corrected I_bar is also the one compared
    with I. `epoch_mean` is the arithmetic mean.
    """

    def __init__(self, stat: str, beta1: float, beta2: float) -> None:
        self.stat, self.beta1, self.beta2 = stat, beta1, beta2
        self._count = 0
        self._first: Tensor | None = None
        self._second: Tensor | None = None

    def add(self, sample: Tensor) -> None:
        """Add the next sample I."""
        if self._first is None or self._second is None:
            self._first, self._second = torch.zeros_like(sample), torch.zeros_like(sample)
        self._count += 1
        if self.stat == "epoch_mean":
            self._first = self._first + sample
            return
        self._first = self.beta1 * self._first + (1 - self.beta1) * sample
        mean = self._first
        if self.stat == "ema_unbiased":
            mean = mean / (1 - self.beta1**self._count)
        self._second = self.beta2 * self._second + (1 - self.beta2) * (sample - mean).abs()

    def score(self) -> Tensor | None:
        """Return the statistic of the samples; None if there are none."""
        first, second = self._first, self._second
        if first is None or second is None:
            return None
        if self.stat == "epoch_mean":
            return first / self._count
        if self.stat == "sensitivity":
            return first
        if self.stat == "uncertainty":
            return second
        if self.stat == "ema_unbiased":
            first = first / (1 - self.beta1**self._count)
            second = second / (1 - self.beta2**self._count)
        return first * second


def importance_scores(
    trace: Tensor, beta1: float, beta2: float, stat: str = "product", last: int | None = None
) -> Tensor:
    """Return scores (M,) of all samples of a trace (steps, M), or of the `last` ones.

    Scores are 0 if there are no samples.
    """
    running = RunningScore(stat, beta1, beta2)
    for sample in trace if last is None else trace[len(trace) - min(last, len(trace)) :]:
        running.add(sample)
    score = running.score()
    return trace.new_zeros(trace.shape[1]) if score is None else score


@final
class ImportanceTrace:
    """Samples I_m = mean |T_m * dL/dT_m| of every matrix in the last sampled steps of a task.

    The target T_m is the effective weight, the composed delta, or B A of the current module, with
    its value in the forward pass. The gradient of each target follows from the dense gradient of
    the effective weight. This is the gradient of the loss before clipping and without the penalty;
    it is discarded immediately. For the target `factors`, the entries of A and B are scored
    individually during training, and the trace is a single row: the reduced score of A plus that
    of B (section 4.2).
    """

    def __init__(
        self,
        matrices: int,
        settings: TraceSettings,
        dtype: torch.dtype,
        device: str,
        last_epoch: Callable[[int], bool] = lambda step: True,
    ) -> None:
        """Create a trace.

        `last_epoch` returns True for the steps, counted from 0, of the last epoch.
        """
        self.settings = settings
        self._reduce = REDUCERS[settings.reducer]
        self._samples: deque[Tensor] = deque(maxlen=settings.window)
        self._current = torch.zeros(matrices, dtype=dtype, device=device)
        self._entries: dict[tuple[int, str], RunningScore] = {}
        self._last_epoch = last_epoch
        self._first_kept = 0
        self._step = 0

    def expect(self, steps: int) -> None:
        """Take the number of steps of the task, so that only samples that will be kept are taken.

        Without it, all samples are taken, and older ones are discarded.
        """
        samples = -(-steps // self.settings.every)
        self._first_kept = max(0, samples - self.settings.window) * self.settings.every

    def watch(self, layer: ComposedLinear, columns: Mapping[int, int]) -> None:
        """Observe a layer; `columns` maps each of its adapted parts to a column of the trace.

        The columns of frozen matrices, which no part fills, stay 0.
        """
        size = layer.part_size

        def observe(effective: Tensor, gradient: Tensor) -> None:
            for part, column in columns.items():
                rows = slice(part * size, (part + 1) * size)
                adapter: SiteAdapter = layer.adapters[str(part)]  # type: ignore[assignment]
                with torch.no_grad():
                    self._measure(layer, adapter, rows, effective, gradient, column)

        def observer() -> Callable[[Tensor, Tensor], None] | None:
            if not self._samples_step():
                return None
            if self._keeps_sample():
                return observe
            return _ignore if self.settings.unobserved == "dense" else None

        layer.observer = observer
        layer.form_of = fastest_form if self.settings.unobserved == "auto" else None

    def end_step(self) -> None:
        """Finish a training step; call it once after every backward pass."""
        if self._samples_step() and self._keeps_sample() and self.settings.target != "factors":
            self._samples.append(self._current.clone())
        self._step += 1

    def tensor(self) -> Tensor:
        """Return the kept samples (steps, M), oldest first, or scores (1, M) for `factors`.

        Raises `RuntimeError` if there were fewer steps than expected, so that samples are missing.
        """
        if self.settings.target == "factors":
            scores = torch.zeros_like(self._current)
            for (column, _), running in self._entries.items():
                score = running.score()
                if score is not None:
                    scores[column] += self._reduce(score)
            return scores.unsqueeze(0)
        kept = min(self.settings.window, -(-self._step // self.settings.every))
        if len(self._samples) != kept:
            raise RuntimeError(f"{len(self._samples)} importance samples, expected {kept}")
        if not self._samples:
            return self._current.new_zeros(0, len(self._current))
        return torch.stack(list(self._samples))

    def _samples_step(self) -> bool:
        return self._step % self.settings.every == 0

    def _keeps_sample(self) -> bool:
        """Return True if the sample of this step is part of the result."""
        settings = self.settings
        if settings.target != "factors":
            return self._step >= self._first_kept
        return settings.scores_all or self._last_epoch(self._step)

    def _measure(
        self,
        layer: ComposedLinear,
        adapter: SiteAdapter,
        rows: slice,
        effective: Tensor,
        gradient: Tensor,
        column: int,
    ) -> None:
        target, g = self.settings.target, gradient[rows]  # (b, a)
        if target == "effective":
            self._current[column] = self._reduce((effective[rows] * g).abs_())
        elif target == "delta":
            delta = effective[rows] - layer.weight[rows]  # type: ignore[index]
            self._current[column] = self._reduce((delta * g).abs_())
        elif target == "current":
            module = adapter.b @ adapter.a
            self._current[column] = self._reduce((module * g * adapter.current_scale()).abs_())
        else:
            scale, a, b = adapter.current_scale(), adapter.a, adapter.b
            self._score_entries(column, "A", (a * (b.mT @ g) * scale).abs_())
            self._score_entries(column, "B", (b * (g @ a.mT) * scale).abs_())

    def _score_entries(self, column: int, factor: str, sample: Tensor) -> None:
        settings = self.settings
        running = self._entries.setdefault(
            (column, factor), RunningScore(settings.stat, settings.beta1, settings.beta2)
        )
        running.add(sample)


def _ignore(effective: Tensor, gradient: Tensor) -> None:
    """Take no sample; the step computes with the effective weight all the same."""
