"""JSON documents of a stored stage: result and cost."""

from __future__ import annotations

from typing import TypedDict

Cost = dict[str, str | float]
"""Seconds and provenance of a computation, by the names of the columns of `stages`."""


class MatrixFigures(TypedDict):
    """Figures of one adapted matrix, as in the table `matrices`."""

    block: int
    site: str
    importance: float | None
    frozen: bool
    omega: list[float]
    delta_norm: float
    change_since: list[float]


class TrainingFigures(TypedDict):
    """Figures of the training of a stage, averaged over the last epoch."""

    steps: int
    cross_entropy: float | None
    orthogonality: float | None
    grad_norm: float | None


class MethodFigures(TypedDict):
    """Figures of the method after a stage."""

    trainable_parameters: int
    frozen_count: int
    ortho_residual_max: float | None
    ortho_fallbacks: int
    matrices: list[MatrixFigures]


class StageResult(TypedDict):
    """Content of `result-SHA.json`, the same for every recomputation."""

    training: TrainingFigures
    method: MethodFigures
