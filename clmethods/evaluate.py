"""Evaluation of a chain through readouts: counts per class, never rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from clmethods.config.faults import Fault, InvalidConfigError
from clmethods.config.keys import StageSpec
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import TaskGroup
from clmethods.data.streams import EVALUATED_SPLITS, TaskData
from clmethods.methods import METHODS, Predictor, State
from clmethods.process import on_device, open_run, prepare_process
from clmethods.readout.task_id import ClassMeans


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


@final
class Evaluator:
    """Evaluates the stages of one chain, in any order.

    Counts after a stage depend on the stages up to it and on how the classes are grouped, on
    nothing else. What is fixed along the chain (images, first-snapshot features and the class
    means that task-ID inference needs) is computed once and kept.
    """

    def __init__(self, run: RunConfig, chain: Sequence[StageSpec]) -> None:
        self.run, self.chain = run, tuple(chain)
        self._data: dict[tuple[str, int], TaskData] = {}
        self._first: dict[tuple[str, int], Tensor] = {}

    def counts(
        self, position: int, state: State, readouts: Sequence[ReadoutConfig]
    ) -> dict[str, list[EvalCount]]:
        """By readout id, after the stage at `position`, whose folded state is `state`."""
        prepare_process(self.run.train)
        for readout in readouts:
            if readout.routing not in self.run.method.ROUTINGS:
                allowed = f"one of {list(self.run.method.ROUTINGS)} for {self.run.method.kind}"
                raise InvalidConfigError([Fault("routing", readout.routing, allowed)])
        snapshot = _Snapshots(self, position, on_device(state, self.run.train.device))
        return {readout.readout_id: snapshot.counts(readout) for readout in readouts}

    def data(self, split: str, group: TaskGroup) -> TaskData:
        """The images of a task in an evaluated split."""
        key = (split, group.index)
        if key not in self._data:
            _, stream = open_run(self.run)
            self._data[key] = stream.data(group.classes, split)  # type: ignore[arg-type]
        return self._data[key]

    def first_features(self, split: str, group: TaskGroup, first: Predictor) -> Tensor:
        """(n, D) features of a task's images under the first snapshot."""
        key = (split, group.index)
        if key not in self._first:
            self._first[key] = first.features(self.data(split, group).images)
        return self._first[key]

    def class_means(self, position: int, first: Predictor) -> ClassMeans:
        """Means of the classes learned up to `position`, under the first snapshot."""
        means = ClassMeans()
        for stage in self.chain[: position + 1]:
            for group in stage.groups:
                found = self.first_features("train", group, first)
                means.add_task(stage.position, found, self.data("train", group).labels)
        return means


def evaluate_stage(
    run: RunConfig,
    chain: Sequence[StageSpec],
    position: int,
    state: State,
    readouts: Sequence[ReadoutConfig],
) -> dict[str, list[EvalCount]]:
    """Counts of one stage by readout id; for a whole chain keep an `Evaluator`."""
    return Evaluator(run, chain).counts(position, state, readouts)


@final
class _Snapshots:
    """One stage of a chain: its snapshots are built when an image is first routed to them."""

    def __init__(self, evaluator: Evaluator, position: int, state: State) -> None:
        self.evaluator, self.position, self.state = evaluator, position, state
        stages = evaluator.chain[: position + 1]
        self.seen = torch.tensor(sorted(c for stage in stages for c in stage.classes))
        self.position_of = {g.index: stage.position for stage in stages for g in stage.groups}
        self._predictors: dict[int, Predictor] = {}
        self._last: dict[tuple[str, int], Tensor] = {}
        self._means: ClassMeans | None = None

    def counts(self, readout: ReadoutConfig) -> list[EvalCount]:
        return [
            row
            for split in EVALUATED_SPLITS
            for group in self.evaluator.run.stream.groups()
            if len(self.evaluator.data(split, group))
            for row in self._count(readout, split, group)
        ]

    def _count(self, readout: ReadoutConfig, split: str, group: TaskGroup) -> list[EvalCount]:
        labels = self.evaluator.data(split, group).labels
        seen = group.index in self.position_of
        routed = self._route(readout, split, group) if seen else None
        scores = (
            self._last_scores(split, group)
            if routed is None
            else self._scores(self.evaluator.data(split, group).images, routed)
        ).cpu()
        own = torch.tensor(group.classes)
        given = own[scores[:, own].argmax(dim=1)] == labels
        among_seen = self.seen[scores[:, self.seen].argmax(dim=1)] == labels
        hits: Tensor | None = None
        if routed is not None and readout.routing == "instance":
            hits = routed == torch.full_like(routed, self.position_of[group.index])
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

    def _route(self, readout: ReadoutConfig, split: str, group: TaskGroup) -> Tensor | None:
        """(n,) snapshot of each image, or None for the last one throughout."""
        if readout.routing == "last":
            return None
        if readout.routing == "oracle":
            images = len(self.evaluator.data(split, group))
            return torch.full((images,), self.position_of[group.index])
        first = self._first_as_it_was()
        if self._means is None:
            self._means = self.evaluator.class_means(self.position, first)
        found = self.evaluator.first_features(split, group, first)
        return self._means.infer(found, readout.metric)

    def _last_scores(self, split: str, group: TaskGroup) -> Tensor:
        """(n, C) under the last snapshot; all readouts share them."""
        key = (split, group.index)
        if key not in self._last:
            images = self.evaluator.data(split, group).images
            self._last[key] = self._predictor(self.position).scores(images)
        return self._last[key]

    def _scores(self, images: Tensor, snapshots: Tensor) -> Tensor:
        """(n, C), every image through its own snapshot; images are grouped by snapshot."""
        parts = torch.unique(snapshots).tolist()
        chosen = [(snapshots == part).nonzero().flatten() for part in parts]
        scores = [
            self._predictor(part).scores(images[rows])
            for part, rows in zip(parts, chosen, strict=True)
        ]
        return torch.cat(scores)[torch.cat(chosen).argsort()]

    def _first_as_it_was(self) -> Predictor:
        """The first snapshot as the first task left it, which no later task may move."""
        run = self.evaluator.run
        backbone, _ = open_run(run)
        return METHODS[run.method.kind].predictor(run, backbone, self.state, 0, 0)

    def _predictor(self, snapshot: int) -> Predictor:
        if snapshot not in self._predictors:
            run = self.evaluator.run
            backbone, _ = open_run(run)
            self._predictors[snapshot] = METHODS[run.method.kind].predictor(
                run, backbone, self.state, self.position, snapshot
            )
        return self._predictors[snapshot]
