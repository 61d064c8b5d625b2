"""Readout statistics of a model directory, which replace the images of the learned classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clmethods.archive.model import ModelArchive
from clmethods.checkpoint import fold
from clmethods.config import ReadoutConfig
from clmethods.evaluate import Evaluator
from clmethods.readout.statistics import ReadoutStatistics


def keep_statistics(
    archive: ModelArchive,
    readouts: Sequence[ReadoutConfig],
    known: ReadoutStatistics | None = None,
) -> None:
    """Store the statistics that `readouts` need of every task; `known` ones are not recomputed.

    Raises `DatasetError` if the training images of a task without known statistics are missing.
    """
    requiring = [r for r in readouts if r.task_id_kind is not None or r.tap_kind is not None]
    if not requiring:
        return
    evaluator = chain_evaluator(archive, known)
    deltas = archive.deltas()
    last = len(archive.chain) - 1
    archive.save_statistics(evaluator.statistics_for(last, fold(deltas), requiring))


def chain_evaluator(
    archive: ModelArchive,
    known: ReadoutStatistics | None = None,
    device: str | None = None,
    *,
    exact: bool = False,
) -> Evaluator:
    """Return an evaluator of the finished chain, with the statistics in its directory.

    `exact` computes networks that were trained with rounded products without rounding.
    """
    run, deltas = archive.run, archive.deltas()
    if exact and run.train.precision == "bfloat16":
        run = replace(run, train=replace(run.train, precision="float32"))
    if device is not None:
        run = replace(run, train=replace(run.train, device=device))  # type: ignore[arg-type]
    statistics = known or ReadoutStatistics(archive.statistics())
    return Evaluator(run, archive.chain, lambda place: fold(deltas[: place + 1]), statistics)
