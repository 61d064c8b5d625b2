"""What a model directory keeps of the classes that it learned, so that their images may go."""

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
    """Store the statistics that `readouts` need of every task; those `known` are taken as given.

    Raises `DatasetError` if the training images of a task that is not among them are gone.
    """
    needing = [r for r in readouts if r.task_id_kind is not None or r.tap_kind is not None]
    if not needing:
        return
    evaluator = chain_evaluator(archive, known)
    deltas = archive.deltas()
    last = len(archive.chain) - 1
    archive.save_statistics(evaluator.statistics_for(last, fold(deltas), needing))


def chain_evaluator(
    archive: ModelArchive, known: ReadoutStatistics | None = None, device: str | None = None
) -> Evaluator:
    """An evaluator of the finished chain, with the statistics that its directory keeps."""
    run, deltas = archive.run, archive.deltas()
    if device is not None:
        run = replace(run, train=replace(run.train, device=device))  # type: ignore[arg-type]
    statistics = known or ReadoutStatistics(archive.statistics())
    return Evaluator(run, archive.chain, lambda place: fold(deltas[: place + 1]), statistics)
