"""What readouts keep of the classes learned: a cache beside the chain, never part of its state.

Everything here can be computed again from the training images and the stages. Where those images
are gone, as for the next task on an exported model, the tensors are what remains of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from clmethods.config.readout import GaussianKind, ReadoutConfig
from clmethods.readout.gaussians import Gaussians


@final
class ReadoutStatistics:
    """Gaussians of each task, by their kind and the task's position."""

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        """From what `tensors` gave; its names are KIND/POSITION/FIELD."""
        self._found: dict[tuple[str, int], Gaussians] = {}
        grouped: dict[tuple[str, int], dict[str, Tensor]] = {}
        for name, tensor in (tensors or {}).items():
            kind, position, field = name.split("/")
            grouped.setdefault((kind, int(position)), {})[field] = tensor
        for key, fields in grouped.items():
            self._found[key] = Gaussians.from_tensors(fields)

    def get(self, kind: GaussianKind, position: int) -> Gaussians | None:
        """Statistics of the task at `position`; None if they were not computed."""
        return self._found.get((kind.name, position))

    def put(self, kind: GaussianKind, position: int, gaussians: Gaussians) -> None:
        """Keep statistics."""
        self._found[(kind.name, position)] = gaussians

    def tensors(self, *readouts: ReadoutConfig) -> dict[str, Tensor]:
        """Everything by name, or what `readouts` need."""
        needed = {kind.name for r in readouts for kind in (r.task_id_kind, r.tap_kind) if kind}
        return {
            f"{kind}/{position}/{field}": tensor
            for (kind, position), gaussians in self._found.items()
            for field, tensor in gaussians.tensors().items()
            if not readouts or kind in needed
        }

    @property
    def nbytes(self) -> int:
        """Bytes that all tensors take."""
        return sum(gaussians.nbytes for gaussians in self._found.values())
