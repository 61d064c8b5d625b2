"""Evaluation of a stored stage through a readout: counts per class, never rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import TaskGroup
from clmethods.data.streams import EVALUATED_SPLITS, TaskStream
from clmethods.methods import METHODS, Predictor, State
from clmethods.nn.backbone import FrozenBackbone
from clmethods.readout.task_id import ClassMeans
from clmethods.stage import open_run, prepare_process


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EvalCount:
    """Correct predictions of one class in one split: a row of the table `evals`."""

    split: str
    task: int
    """Index of the class's group; its position is the order's business."""
    class_id: int
    seen: bool
    n: int
    correct: int | None
    """Among all classes seen so far (class-incremental); None for a class not yet seen."""
    correct_task_given: int
    """Among the classes of its own task (task-incremental)."""
    task_id_correct: int | None
    """Routed to its own task; None where the readout does not infer tasks."""


def evaluate_stage(
    run: RunConfig,
    chain: Sequence[StageSpec],
    position: int,
    state: State,
    readouts: Sequence[ReadoutConfig],
) -> dict[str, list[EvalCount]]:
    """Counts by readout id after the stage at `position`, whose folded state is `state`.

    Depends on the stages up to `position` and on how the classes are grouped, on nothing else.
    """
    prepare_process(run.train)
    backbone, stream = open_run(run)
    evaluator = _Evaluator(run, chain[: position + 1], state, backbone, stream)
    return {readout.readout_id: evaluator.counts(readout) for readout in readouts}


@final
class _Evaluator:
    """One pass over the images for all readouts; each snapshot is built once, when needed."""

    def __init__(
        self,
        run: RunConfig,
        stages: Sequence[StageSpec],
        state: State,
        backbone: FrozenBackbone,
        stream: TaskStream,
    ) -> None:
        self.run, self.stages, self.state = run, stages, state
        self.backbone, self.stream = backbone, stream
        self.position = len(stages) - 1
        self._predictors: dict[int, Predictor] = {}
        self._means: ClassMeans | None = None
        self._seen = torch.tensor(sorted(c for stage in stages for c in stage.classes))
        self._position_of = {
            group.index: stage.position for stage in stages for group in stage.groups
        }

    def counts(self, readout: ReadoutConfig) -> list[EvalCount]:
        rows: list[EvalCount] = []
        for split in EVALUATED_SPLITS:
            for group in self.run.stream.groups():
                data = self.stream.data(group.classes, split)
                if len(data):
                    rows.extend(self._count(readout, split, group, data.images, data.labels))
        return rows

    def _count(
        self, readout: ReadoutConfig, split: str, group: TaskGroup, images: Tensor, labels: Tensor
    ) -> list[EvalCount]:
        seen = group.index in self._position_of
        routed = self._route(readout, group, images) if seen else None
        snapshots = routed if routed is not None else torch.full((len(labels),), self.position)
        scores = self._scores(images, snapshots).cpu()
        own = torch.tensor(group.classes)
        given = own[scores[:, own].argmax(dim=1)] == labels
        among_seen = self._seen[scores[:, self._seen].argmax(dim=1)] == labels
        hits: Tensor | None = None
        if routed is not None and readout.routing == "instance":
            hits = routed == torch.full_like(routed, self._position_of[group.index])
        rows: list[EvalCount] = []
        for label in group.classes:
            mine = labels == label
            rows.append(
                EvalCount(
                    split=split,
                    task=group.index,
                    class_id=label,
                    seen=seen,
                    n=int(mine.sum()),
                    correct=int(among_seen[mine].sum()) if seen else None,
                    correct_task_given=int(given[mine].sum()),
                    task_id_correct=int(hits[mine].sum()) if hits is not None else None,
                )
            )
        return rows

    def _route(self, readout: ReadoutConfig, group: TaskGroup, images: Tensor) -> Tensor | None:
        """(n,) snapshot of each image, or None for the last one throughout."""
        if readout.routing == "last":
            return None
        if readout.routing == "oracle":
            return torch.full((len(images),), self._position_of[group.index])
        return self._class_means().infer(self._predictor(0).features(images), readout.metric)

    def _scores(self, images: Tensor, snapshots: Tensor) -> Tensor:
        """(n, C), every image through its own snapshot; images are grouped by snapshot."""
        parts = torch.unique(snapshots).tolist()
        if len(parts) == 1:
            return self._predictor(parts[0]).scores(images)
        chosen = [(snapshots == part).nonzero().flatten() for part in parts]
        scores = [
            self._predictor(part).scores(images[rows])
            for part, rows in zip(parts, chosen, strict=True)
        ]
        return torch.cat(scores)[torch.cat(chosen).argsort()]

    def _predictor(self, snapshot: int) -> Predictor:
        if snapshot not in self._predictors:
            method = METHODS[self.run.method.kind]
            self._predictors[snapshot] = method.predictor(
                self.run, self.backbone, self.state, self.position, snapshot
            )
        return self._predictors[snapshot]

    def _class_means(self) -> ClassMeans:
        if self._means is None:
            self._means = ClassMeans()
            for stage in self.stages:
                data = self.stream.data(stage.classes, "train")
                found = self._predictor(0).features(data.images)
                self._means.add_task(stage.position, found, data.labels)
        return self._means
