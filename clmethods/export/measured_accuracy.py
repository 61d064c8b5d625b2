"""Accuracy of an exported model on the images of its tasks, compared with the stored accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from clmethods.config import (
    RunConfig,
    extended,
    new_task_from_dict,
    readout_from_dict,
    run_from_dict,
)
from clmethods.config.task_contents import task_title
from clmethods.data.extended_stream import open_stream
from clmethods.export.predictor import ExportedModel


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """Result of one task, in learning order."""

    task: int
    """Index of the task, from 0, as in `task_order`."""
    title: str
    """`task 2`, with the name of the task if it has one."""
    images: int
    correct: int
    promised: float | None
    """Stored accuracy of the model after training; None if it was not evaluated."""

    @property
    def accuracy(self) -> float:
        """Measured accuracy as a fraction."""
        return self.correct / self.images


def measure_export(folder: Path, split: Literal["test", "validation"]) -> list[TaskScore]:
    """Classify the images of every task, using only the files of an export.

    Raises `ExportError` for a folder that is not an export or is damaged, and `DatasetError` if
    images are missing.
    """
    model = ExportedModel.load(folder)
    run = exported_run(model)
    readout = readout_from_dict(model.document["readout"]).readout_id
    stored = model.document["metrics"].get(split, {}).get(readout)
    promised = stored["accuracy"][-1] if stored is not None else None
    stream = open_stream(run.stream, run.backbone.image_size)
    scores: list[TaskScore] = []
    for place, group in enumerate(run.stream.sequence()):
        data = stream.data_of(group, split)
        if not len(data.labels):
            continue
        scores.append(
            TaskScore(
                task=group.index,
                title=task_title(group),
                images=len(data.labels),
                correct=int((model.predict(data.images) == data.labels).sum()),
                promised=None if promised is None else promised[place],
            )
        )
    return scores


def exported_run(model: ExportedModel) -> RunConfig:
    """Return the run of the model, including tasks that were added later."""
    run = run_from_dict(model.document["run"])
    for task in model.document["added"]:
        run = extended(run, new_task_from_dict(task))
    return run
