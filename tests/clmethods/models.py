"""Small finished models in directories, as `clmethods train -o` leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clmethods.archive import ModelArchive, StoredMetrics, keep_statistics, metrics_by_split
from clmethods.config import ReadoutConfig, RunConfig
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.training.sequence import run_sequence

INSTANCE = ReadoutConfig(routing="instance")


def finished(
    folder: Path, run: RunConfig, readouts: Sequence[ReadoutConfig] = (ReadoutConfig(),)
) -> ModelArchive:
    """The whole run, trained, evaluated and stored."""
    archive = ModelArchive.create(folder, run)
    statistics = ReadoutStatistics()
    steps = run_sequence(run, readouts, archive, archive, statistics=statistics)
    keep_statistics(archive, readouts, statistics)
    archive.save_metrics(StoredMetrics(list(readouts), metrics_by_split(run, steps, readouts)))
    return archive


def damage(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
