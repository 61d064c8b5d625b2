"""What an exported model scores on the images of its tasks, beside what was promised for it."""

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
from clmethods.data.extended import open_stream
from clmethods.export.predictor import ExportedModel


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """One task, in the order learned."""

    task: int
    """1 for the first."""
    images: int
    correct: int
    promised: float | None
    """Accuracy that the model had when it was trained; None if it was never evaluated."""

    @property
    def accuracy(self) -> float:
        """A fraction."""
        return self.correct / self.images


def measure_export(folder: Path, split: Literal["test", "validation"]) -> list[TaskScore]:
    """Classify the images of every task with nothing but the files of an export.

    Raises `ExportError` for a folder that is no export or is damaged, `DatasetError` if images
    are gone.
    """
    model = ExportedModel.load(folder)
    run = exported_run(model)
    readout = readout_from_dict(model.document["readout"]).readout_id
    stored = model.document["metrics"].get(split, {}).get(readout)
    promised = stored["accuracy"][-1] if stored is not None else None
    stream = open_stream(run.stream, run.backbone.image_size)
    found: list[TaskScore] = []
    for place, group in enumerate(run.stream.sequence()):
        data = stream.data_of(group, split)
        if not len(data.labels):
            continue
        found.append(
            TaskScore(
                task=place + 1,
                images=len(data.labels),
                correct=int((model.predict(data.images) == data.labels).sum()),
                promised=None if promised is None else promised[place],
            )
        )
    return found


def exported_run(model: ExportedModel) -> RunConfig:
    """The run that the model was made by, tasks that came later included."""
    run = run_from_dict(model.document["run"])
    for task in model.document["added"]:
        run = extended(run, new_task_from_dict(task))
    return run
