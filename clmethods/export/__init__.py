"""Export of a finished chain to timm, PEFT, or a small predictor without training code."""

from clmethods.export.finished_chain import ExportError
from clmethods.export.measured_accuracy import TaskScore, measure_export
from clmethods.export.predictor import ExportedModel
from clmethods.export.write import ExportOptions, export_model

__all__ = [
    "ExportError",
    "ExportOptions",
    "ExportedModel",
    "TaskScore",
    "export_model",
    "measure_export",
]
