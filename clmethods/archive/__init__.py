"""Model directories: a finished or unfinished run stored in a directory."""

from clmethods.archive.metrics import (
    MetricsBySplit,
    ReadoutMetrics,
    StoredMetrics,
    metrics_by_split,
)
from clmethods.archive.model import CARRIED, ModelArchive
from clmethods.archive.stage_files import ArchiveError, StageFiles, stage_files, write
from clmethods.archive.statistics import chain_evaluator, keep_statistics

__all__ = [
    "CARRIED",
    "ArchiveError",
    "MetricsBySplit",
    "ModelArchive",
    "ReadoutMetrics",
    "StageFiles",
    "StoredMetrics",
    "chain_evaluator",
    "keep_statistics",
    "metrics_by_split",
    "stage_files",
    "write",
]
