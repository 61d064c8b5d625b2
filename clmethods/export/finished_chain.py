"""`FinishedChain`: the input of an export, with the networks and heads computed from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.archive import ModelArchive, chain_evaluator
from clmethods.checkpoint import fold
from clmethods.config import ReadoutConfig, RunConfig
from clmethods.config.extension import resizings
from clmethods.data.image_decoding import Resize
from clmethods.data.original_images import OriginalImage
from clmethods.data.source import DatasetError
from clmethods.determinism import open_run, prepare_process
from clmethods.errors import ClmethodsError
from clmethods.evaluate import Evaluator
from clmethods.methods import METHODS, LinearHead, LowRank, Predictor, State
from clmethods.nn.backbone import FrozenBackbone

PROBE_IMAGES = 64
"""Number of images on which an export is compared with the original network."""


class ExportError(ClmethodsError, RuntimeError):
    """Error for a model that cannot be exported with the requested options."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Images on which an export is compared with the original network."""

    images: Tensor
    """(n, s, s) or (n, s, s, 3) uint8, resized as in training and evaluation."""
    description: str
    originals: Sequence[OriginalImage] = ()
    """The same n images before resizing; empty if the data is missing."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FinishedChain:
    """Finished chain on the CPU in full precision, regardless of how it was trained."""

    archive: ModelArchive
    readout: ReadoutConfig
    """Readout of the exported model."""
    run: RunConfig
    state: State
    backbone: FrozenBackbone
    evaluator: Evaluator
    _heads: list[LinearHead] = field(default_factory=list)

    @classmethod
    def of(cls, archive: ModelArchive, readout: ReadoutConfig) -> FinishedChain:
        """Open the chain of an archive. Raises `ArchiveError` if a stage is missing or damaged."""
        evaluator = chain_evaluator(archive, device="cpu", exact=True)
        prepare_process(evaluator.run.train)
        state, backbone = fold(archive.deltas()), open_run(evaluator.run)[0]
        return cls(archive, readout, evaluator.run, state, backbone, evaluator)

    @property
    def position(self) -> int:
        """Position of the last task."""
        return len(self.archive.chain) - 1

    @property
    def classes(self) -> list[int]:
        """Original ids of the learned classes, ascending: the rows of the exported head."""
        return sorted({label for stage in self.archive.chain for label in stage.classes})

    @property
    def class_names(self) -> list[str]:
        """Names of `classes`; the id of a class whose name is not known."""
        return self.run.stream.names_of(self.classes)

    def predictor(self, snapshot: int | None = None) -> Predictor:
        """Return the predictor after the task place `snapshot`, by default the last one."""
        place = self.position if snapshot is None else snapshot
        method = METHODS[self.run.method.kind]
        return method.predictor(self.run, self.backbone, self.state, self.position, place)

    def low_rank(self, snapshot: int | None = None) -> LowRank | None:
        """Return the low-rank updates of that network; None if they have no such form."""
        place = self.position if snapshot is None else snapshot
        method = METHODS[self.run.method.kind]
        return method.low_rank(self.run, self.backbone, self.state, self.position, place)

    @property
    def routing_moves(self) -> bool:
        """True if the network that infers tasks is not that of the first snapshot.

        Tasks are inferred by the network at the end of the first task, which later tasks change if
        snapshots use the weights of the last task.
        """
        return self.run.method.moves_snapshots and self.position > 0

    def routing_predictor(self) -> Predictor:
        """Return the network at the end of the first task, which infers tasks."""
        method = METHODS[self.run.method.kind]
        return method.predictor(self.run, self.backbone, self.state, 0, 0)

    def routing_low_rank(self) -> LowRank | None:
        """Return the low-rank updates of `routing_predictor`."""
        method = METHODS[self.run.method.kind]
        return method.low_rank(self.run, self.backbone, self.state, 0, 0)

    def head(self) -> LinearHead:
        """Return the readout's classifier over the learned classes, in their order.

        Raises `ExportError` for a method without a linear classifier, and `DatasetError` if
        task-adaptive prediction has neither statistics nor images.
        """
        if not self._heads:
            self._heads.append(self._head())
        return self._heads[0]

    def scores(self, images: Tensor, snapshot: int | None = None) -> Tensor:
        """Return scores (n, C) of the readout under a snapshot, in the order of the head."""
        predictor = self.predictor(snapshot)
        if not self.readout.adapts:
            return predictor.scores(images)[:, self.classes]
        head = self.head()
        return F.linear(predictor.features(images), head.weight, head.bias)

    def _head(self) -> LinearHead:
        method = METHODS[self.run.method.kind]
        head = method.linear_head(self.run, self.backbone, self.state, self.position)
        if head is None:
            raise ExportError(
                f"{self.run.method.kind} does not classify with one linear layer over the "
                "features of the network, so its classifier cannot be exported to timm or PEFT."
            )
        aligned = self.evaluator.aligned_head(self.position, self.state, self.readout)
        if aligned is not None:
            head = LinearHead(*aligned)
        return replace(head, weight=head.weight[self.classes], bias=head.bias[self.classes])

    @property
    def resizings(self) -> list[Resize]:
        """Resizing of the images of the base stream, and those of added tasks that differ."""
        return resizings(self.run.stream)

    def probe(self) -> Probe:
        """Return images of the test split, or noise if its data is missing."""
        try:
            stream, classes = open_run(self.run)[1], tuple(self.classes)
            images = stream.data(classes, "test").images
            originals = stream.originals(classes, "test")
        except DatasetError:
            size = self.run.backbone.image_size
            generator = torch.Generator().manual_seed(0)
            noise = torch.randint(256, (PROBE_IMAGES, size, size), generator=generator)
            return Probe(noise.to(torch.uint8), f"{PROBE_IMAGES} images of noise")
        chosen = torch.linspace(0, len(images) - 1, min(PROBE_IMAGES, len(images))).long()
        found = [originals[index] for index in chosen.tolist()]
        return Probe(images[chosen], f"{len(chosen)} test images", found)
