"""Rows of the table `matrices`: importance of each matrix and its change since earlier tasks."""

from __future__ import annotations

import torch
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.methods.base import MatrixReport
from clmethods.methods.composition import Composition
from clmethods.nn.backbone import FrozenBackbone
from clmethods.nn.importance import importance_scores

REPORTED_BETA = 0.85
"""Decay of both averages in the reported importance. Runs that select with other decays share the
stage, so the report cannot depend on their decays."""


def matrix_reports(
    backbone: FrozenBackbone, composition: Composition, stage: StageSpec, *, scored: bool
) -> list[MatrixReport]:
    """Return one row per adapted matrix after the task of `stage`.

    `composition` reads the state after the task. `scored` is True if the trace contains scores, as
    for the importance of factors.
    """
    position, state = stage.position, composition.state
    trace = state[f"trace.{position}"]
    scores = trace[0] if scored else importance_scores(trace, REPORTED_BETA, REPORTED_BETA)
    flags = torch.stack([state[f"frozen.{j}"] for j in range(position + 1)]).tolist()
    history = composition.without_live_weights()
    rows: list[MatrixReport] = []
    for index, matrix in enumerate(composition.matrices):
        base = backbone.weight(matrix.block, matrix.site)
        updates: list[Tensor] = []
        for j in range(position + 1):  # a frozen matrix repeats its previous update
            frozen = flags[j][index]
            updates.append(updates[-1] if frozen else history.deltas(j, [matrix])[matrix])
        now = updates[-1]
        rows.append(
            MatrixReport(
                block=matrix.block,
                site=matrix.site,
                importance=None if flags[position][index] else float(scores[index]),
                frozen=flags[position][index],
                omega=state[f"omega.{position}"][index].tolist(),
                delta_norm=float(now.norm()),
                change_since=[
                    float((now - then).norm() / (base + then).norm()) for then in updates[:-1]
                ],
            )
        )
    return rows
