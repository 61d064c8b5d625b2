"""Predictions of one stage of a chain, from its snapshots and a readout's head."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from clmethods.canonical import JsonValue, canonical_json, derive_seed
from clmethods.config.readout import GaussianKind, ReadoutConfig
from clmethods.config.stream import TaskGroup
from clmethods.data.streams import Split
from clmethods.determinism import on_device, open_run
from clmethods.evaluate.chain_values import ChainValues
from clmethods.evaluate.eval_count import EvalCount
from clmethods.methods import METHODS, Predictor, State
from clmethods.readout.adaptive import Head, align_head
from clmethods.readout.gaussians import Gaussians, fit
from clmethods.readout.task_id import nearest_task, shared_distances, task_distances, vote

SAMPLES_PER_IMAGE = 5
"""Number of features per step of task-adaptive prediction, relative to the run's batch size."""


@final
class StagePredictions:
    """Predictions of one stage; its snapshots are built on first use."""

    def __init__(self, values: ChainValues, position: int, state: State) -> None:
        self.values, self.position, self.state = values, position, state
        self.run = values.run
        self.stages = values.chain[: position + 1]
        self.seen = torch.tensor(sorted({c for stage in self.stages for c in stage.classes}))
        self.position_of = {g.index: s.position for s in self.stages for g in s.groups}
        self._predictors: dict[int, Predictor] = {}
        self.scored: dict[tuple[str, int, str, int], Tensor] = {}
        self._moved: dict[tuple[int, str, int], Tensor] = {}
        self._routed: dict[tuple[str, str, int], Tensor] = {}
        self._heads: dict[str, Head] = {}

    def counts(self, readout: ReadoutConfig, split: Split, group: TaskGroup) -> list[EvalCount]:
        """Return the counts of every class of a group under a readout."""
        labels = self.values.labels(split, group)
        seen = group.index in self.position_of
        own = torch.tensor(group.classes)
        scores = self.routed_scores(readout, split, group)
        given = own[scores[:, own].argmax(dim=1)] == labels
        among_seen = self.seen[scores[:, self.seen].argmax(dim=1)] == labels
        hits: Tensor | None = None
        if seen and readout.infers:
            hits = self.inferred(readout, split, group) == self.position_of[group.index]
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

    def routed_scores(self, readout: ReadoutConfig, split: Split, group: TaskGroup) -> Tensor:
        """Return scores (n, C) of every image from its snapshot; unlearned tasks use the last one.

        A snapshot scores all images of the task, so that the result of an image does not depend on
        the routes of other images.
        """
        if group.index not in self.position_of or readout.route == "last":
            return self.scores(readout, self.position, split, group)
        if readout.route == "oracle":
            return self.scores(readout, self.position_of[group.index], split, group)
        snapshots = self.inferred(readout, split, group)
        if readout.route == "batch":
            _, stream = open_run(self.run)
            order = stream.places_of(group, split)
            snapshots = vote(snapshots, order, readout.batch_size)
        scores = torch.empty(0)
        for snapshot in torch.unique(snapshots).tolist():
            snapshot_scores = self.scores(readout, snapshot, split, group)
            scores = snapshot_scores.clone() if not len(scores) else scores
            scores[snapshots == snapshot] = snapshot_scores[snapshots == snapshot]
        return scores

    def scores(
        self, readout: ReadoutConfig, snapshot: int, split: Split, group: TaskGroup
    ) -> Tensor:
        """Return scores (n, C) of all images under one snapshot, with the readout's head."""
        head = self.head(readout)
        key = (_name(readout.tap_effect) if head else "", snapshot, split, group.index)
        if key not in self.scored:
            features = self._current_features(snapshot, split, group)
            self.scored[key] = (
                self.predictor(snapshot).classify(features)
                if head is None
                else torch.nn.functional.linear(features, *head)
            ).cpu()
        return self.scored[key]

    def inferred(self, readout: ReadoutConfig, split: Split, group: TaskGroup) -> Tensor:
        """Return the position (n,) of the inferred task of each image."""
        name = _name(readout.task_id_effect)
        key = (name, split, group.index)
        if key not in self._routed:
            tasks = self.all_gaussians(readout.task_id_kind, self.position)
            first = self.features(0, split, group)
            if readout.metric == "shared_cov":  # depends on all seen classes
                self._routed[key] = nearest_task(shared_distances(readout, tasks, first))
                return self._routed[key]
            known = self.values.distances
            for place, task in enumerate(tasks):
                cache_key = (name, place, split, group.index)
                if cache_key not in known:
                    known[cache_key] = task_distances(readout, task, first)
            self._routed[key] = nearest_task(
                [known[name, place, split, group.index] for place in range(len(tasks))]
            )
        return self._routed[key]

    def all_gaussians(self, kind: GaussianKind | None, last: int) -> list[Gaussians]:
        """Return the statistics of the tasks up to the one at `last`; empty if `kind` is None."""
        return [self.gaussians(kind, place) for place in range(last + 1)] if kind else []

    def gaussians(self, kind: GaussianKind, place: int) -> Gaussians:
        """Return the statistics of the task at `place`."""
        statistics, stage = self.values.statistics, self.stages[place]
        gaussians = statistics.get(kind, place)
        if gaussians is None:
            snapshot = 0 if kind.features == "first" else place
            parts = [self.features(snapshot, "train", group) for group in stage.groups]
            labels = [self.values.labels("train", group) for group in stage.groups]
            gaussians = fit(torch.cat(parts), torch.cat(labels), kind, self._seed)
            statistics.put(kind, place, gaussians)
        return gaussians.to(self.run.train.device)

    def head(self, readout: ReadoutConfig) -> Head | None:
        """Return the aligned head; None at the first task and without task-adaptive prediction."""
        if not readout.adapts or self.position == 0:
            return None
        name = _name(readout.tap_effect)
        if name not in self._heads:
            places = [self.position] if readout.tap_restore else range(1, self.position + 1)
            for place in places:
                self._heads[name] = self._align(readout, name, place)
        return self._heads[name]

    def _align(self, readout: ReadoutConfig, name: str, place: int) -> Head:
        """Return the head aligned after the task at `place`.

        Without `tap_restore`, the rows of old classes start from the head aligned after the
        previous task. The heads are then computed from the start of the chain and cached.
        """
        cache = self.values.heads
        if not readout.tap_restore and (name, place) in cache:
            return cache[name, place]
        weight, bias = self.state["head.weight"], self.state["head.bias"]
        if not readout.tap_restore and place > 1:
            old = torch.tensor([c for stage in self.stages[:place] for c in stage.classes])
            before = cache[name, place - 1]
            weight, bias = weight.clone(), bias.clone()
            weight[old], bias[old] = before[0][old], before[1][old]
        seed = derive_seed(self._seed, "tap", place, self.stages[place].task_key)
        head = align_head(
            (weight, bias),
            self.all_gaussians(readout.tap_kind, place),
            readout,
            SAMPLES_PER_IMAGE * self.run.train.batch_size,
            torch.Generator().manual_seed(seed),
        )
        if not readout.tap_restore:
            cache[name, place] = head
        return head

    def features(self, snapshot: int, split: Split, group: TaskGroup) -> Tensor:
        """Return features (n, D) of a task's images under a snapshot as its own task left it."""
        features = self.values.features.get(
            (self.stages[snapshot].key, split, group.domain, group.classes),
            lambda: self.as_left(snapshot).features(self.values.data(split, group).images),
        )
        return features.to(self.run.train.device)

    def _current_features(self, snapshot: int, split: Split, group: TaskGroup) -> Tensor:
        """Return features (n, D) of a task's images under a snapshot as it is now.

        Those that later tasks have changed are kept until the next task's images.
        """
        if not self.run.method.moves_snapshots or snapshot == self.position:
            return self.features(snapshot, split, group)
        key = (snapshot, split, group.index)
        if key not in self._moved:
            images = self.values.data(split, group).images
            self._moved[key] = self.predictor(snapshot).features(images)
        return self._moved[key]

    def clear_images(self) -> None:
        """Forget values of the images of single tasks, which all readouts share."""
        self.scored.clear()
        self._moved.clear()

    def as_left(self, snapshot: int) -> Predictor:
        """Return the network at the end of the task at `snapshot`, unaffected by later tasks."""
        if not self.run.method.moves_snapshots:
            return self.predictor(snapshot)
        backbone, _ = open_run(self.run)
        method = METHODS[self.run.method.kind]
        return method.predictor(self.run, backbone, self.state, snapshot, snapshot)

    def predictor(self, snapshot: int) -> Predictor:
        """Return the network after the task at `snapshot`.

        Raises `LookupError` if the state of an earlier task is required and no source of states
        was given.
        """
        if snapshot in self._predictors:
            return self._predictors[snapshot]
        state, position = self.state, self.position
        if snapshot != position and not self.values.snapshots:
            if self.values.states is None:
                raise LookupError(
                    f"{self.run.method.kind} keeps no snapshots: the state after stage "
                    f"{snapshot + 1} is needed, and the evaluator was given no source of states"
                )
            state = on_device(self.values.states(snapshot), self.run.train.device)
            position = snapshot
        backbone, _ = open_run(self.run)
        predictor = METHODS[self.run.method.kind].predictor(
            self.run, backbone, state, position, snapshot
        )
        if position == self.position:  # else it would keep its state in memory
            self._predictors[snapshot] = predictor
        return predictor

    @property
    def _seed(self) -> int:
        """Seed of the run; 0 for methods that draw nothing, which share stages across seeds."""
        return self.run.seed if self.run.method.TRAINS else 0


def _name(effect: dict[str, JsonValue]) -> str:
    return canonical_json(effect)
