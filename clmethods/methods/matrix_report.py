"""Rows of the table `matrices`: how important a matrix was, and how far it still moves."""

from __future__ import annotations

from clmethods.config.keys import StageSpec
from clmethods.methods.base import MatrixReport
from clmethods.methods.composition import Composition
from clmethods.nn.backbone import FrozenBackbone
from clmethods.nn.importance import importance_scores

REPORTED_BETA = 0.85
"""Decay of both averages in the reported importance. Runs that decide with other decays share the
stage, so the report cannot depend on theirs."""


def matrix_reports(
    backbone: FrozenBackbone, composition: Composition, stage: StageSpec
) -> list[MatrixReport]:
    """One row per adapted matrix after the task of `stage`, whose state `composition` reads."""
    position, state = stage.position, composition.state
    scores = importance_scores(state[f"trace.{position}"], REPORTED_BETA, REPORTED_BETA)
    frozen = state[f"frozen.{position}"].tolist()
    rows: list[MatrixReport] = []
    for index, matrix in enumerate(composition.matrices):
        base = backbone.weight(matrix.block, matrix.site)
        updates = [composition.deltas(j, [matrix])[matrix] for j in range(position + 1)]
        now = updates[-1]
        rows.append(
            MatrixReport(
                block=matrix.block,
                site=matrix.site,
                importance=None if frozen[index] else float(scores[index]),
                frozen=frozen[index],
                omega=state[f"omega.{position}"][index].tolist(),
                delta_norm=float(now.norm()),
                change_since=[
                    float((now - then).norm() / (base + then).norm()) for then in updates[:-1]
                ],
            )
        )
    return rows
