"""Scores of a model directory and of an export, for uint8 images of the size of the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.archive import MetricsBySplit, ModelArchive, chain_evaluator
from clmethods.checkpoint import fold
from clmethods.config import ReadoutConfig, RunConfig, readout_from_dict
from clmethods.determinism import on_device
from clmethods.errors import refuse
from clmethods.evaluate import Evaluator
from clmethods.export import ExportedModel
from clmethods.export.measured_accuracy import exported_run
from clmethods.export.router import Router
from clmethods.methods import METHODS, Predictor, State
from clmethods.nn.backbone import FrozenBackbone, load_backbone
from clmethods.readout.adaptive import Head
from clmethods.readout.statistics import ReadoutStatistics


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of n images."""

    logits: Tensor
    """(n, C) in the order of the learned classes; those of the exported head."""
    positions: Tensor | None
    """(n,) positions of the inferred tasks; None if the readout infers none."""


class Classifier(ABC):
    """Classifier of a stored model. All tensors that it returns are on the CPU."""

    run: RunConfig
    readout: ReadoutConfig

    @abstractmethod
    def scores(self, images: Tensor) -> Scores:
        """Return the scores of uint8 images (n, S, S, 3)."""


@final
class ExportClassifier(Classifier):
    """Classifier of an export."""

    def __init__(self, folder: Path, device: str) -> None:
        """Raise `ExportError` if the folder is not an export or is damaged."""
        self._model = ExportedModel.load(folder, device)
        self.run = exported_run(self._model)
        self.readout = readout_from_dict(self._model.document["readout"])
        self.metrics: MetricsBySplit = self._model.document["metrics"]

    @torch.no_grad()
    def scores(self, images: Tensor) -> Scores:
        routes = self._model.routes(images) if self._model.router is not None else None
        return Scores(self._model.scores(images, routes), routes)


@final
class ChainClassifier(Classifier):
    """Classifier of a model directory under a readout of single images."""

    def __init__(self, archive: ModelArchive, readout: ReadoutConfig, device: str) -> None:
        """Raise `ArchiveError` if a stage is missing or damaged.

        Raises `InvalidConfigError` if the method does not support the readout, and `DatasetError`
        if the readout needs statistics that are not stored and whose images are missing.
        """
        self._evaluator: Evaluator = chain_evaluator(archive, device=device)
        self.run = self._evaluator.run
        self.readout = readout
        refuse(readout.issues_in(self.run))
        self._last = len(archive.chain) - 1
        state = fold(archive.deltas())
        self._state: State = on_device(state, device)
        self._classes = sorted({label for stage in archive.chain for label in stage.classes})
        self._head: Head | None = self._evaluator.aligned_head(self._last, state, readout)
        self._snapshots: dict[int, Predictor] = {}
        self._router: Router | None = None
        if readout.infers:
            routing = readout.routing_alone
            tensors = self._evaluator.statistics_for(self._last, state, [routing])
            self._router = Router(routing, ReadoutStatistics(tensors), self._last + 1)
            moved = self.run.method.moves_snapshots
            self._first = self._predictor(0, 0) if moved else self._snapshot(0)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Scores:
        if self._router is None:
            return Scores(self._logits(self._snapshot(self._last), images), None)
        routes = self._router.infer(self._first.features(images)).cpu()
        logits = torch.empty(len(images), len(self._classes))
        for position in torch.unique(routes).tolist():
            chosen = routes == position
            logits[chosen] = self._logits(self._snapshot(position), images[chosen]).float()
        return Scores(logits, routes)

    def _logits(self, snapshot: Predictor, images: Tensor) -> Tensor:
        features = snapshot.features(images)
        if self._head is not None:
            return F.linear(features, *self._head)[:, self._classes].cpu()
        scores = snapshot.classify(features)[:, self._classes]
        # cosines of class means become the logits of the exported head
        return (scores * features.norm(dim=1, keepdim=True) if self._cosine else scores).cpu()

    @property
    def _cosine(self) -> bool:
        method = METHODS[self.run.method.kind]
        head = method.linear_head(self.run, self._backbone, self._state, self._last)
        return head is not None and head.cosine

    def _snapshot(self, position: int) -> Predictor:
        if position not in self._snapshots:
            self._snapshots[position] = self._predictor(self._last, position)
        return self._snapshots[position]

    def _predictor(self, position: int, snapshot: int) -> Predictor:
        method = METHODS[self.run.method.kind]
        return method.predictor(self.run, self._backbone, self._state, position, snapshot)

    @property
    def _backbone(self) -> FrozenBackbone:
        """Backbone of the run; unlike `open_run`, this does not open the training data."""
        train = self.run.train
        return load_backbone(self.run.backbone, train.precision, train.device, train.tf32_acts)
