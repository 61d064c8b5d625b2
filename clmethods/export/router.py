"""Which snapshot an image goes to, as two files: `router.json` and `router.safetensors`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from clmethods.archive import write
from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.config import ReadoutConfig, readout_from_dict
from clmethods.evaluate import Evaluator
from clmethods.export.subject import Subject
from clmethods.readout.task_id import ClassMeans

CONFIG, STATISTICS = "router.json", "router.safetensors"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Router:
    """Task-ID inference with its statistics: it needs the first snapshot and no data."""

    readout: ReadoutConfig
    means: ClassMeans

    @classmethod
    def of(cls, subject: Subject, readout: ReadoutConfig) -> Router:
        """Statistics of the training images. Raises `DatasetError` if they are gone."""
        evaluator = Evaluator(subject.run, subject.archive.chain)
        means = evaluator.class_means(subject.position, subject.predictor(0))
        return cls(readout, means)

    def infer(self, features: Tensor) -> Tensor:
        """(n, D) features of the first snapshot to (n,) positions of the snapshots to use."""
        means = self.means.tensors()["means"]
        return self.means.infer(features.to(means), self.readout.metric)

    def write(self, folder: Path) -> None:
        """Both files."""
        text = json.dumps(asdict(self.readout), indent=2, sort_keys=True) + "\n"
        write(folder / CONFIG, text.encode())
        write(folder / STATISTICS, state_to_bytes(self.means.tensors()))

    @classmethod
    def read(cls, folder: Path) -> Router:
        """The router that `write` was called on."""
        readout = readout_from_dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        tensors = state_from_bytes((folder / STATISTICS).read_bytes())
        return cls(readout, ClassMeans.from_tensors(tensors))
