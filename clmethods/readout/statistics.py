"""Statistics of learned classes for readouts: a cache outside the chain, not part of its state.

All statistics can be recomputed from the training images and the stages. If those images are no
longer available, as for the next task on an exported model, these tensors replace them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from clmethods.config.readout import GaussianKind, ReadoutConfig
from clmethods.readout.gaussians import Gaussians


@final
class ReadoutStatistics:
    """Gaussians of each task, by kind and position of the task."""

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Take the result of `tensors`, whose names are KIND/POSITION/FIELD."""
        self._gaussians: dict[tuple[str, int], Gaussians] = {}
        grouped: dict[tuple[str, int], dict[str, Tensor]] = {}
        for name, tensor in (tensors or {}).items():
            kind, position, field = name.split("/")
            grouped.setdefault((kind, int(position)), {})[field] = tensor
        for key, fields in grouped.items():
            self._gaussians[key] = Gaussians.from_tensors(fields)

    def get(self, kind: GaussianKind, position: int) -> Gaussians | None:
        """Return the statistics of the task at `position`; None if they were not computed."""
        return self._gaussians.get((kind.name, position))

    def put(self, kind: GaussianKind, position: int, gaussians: Gaussians) -> None:
        """Store the statistics of the task at `position`."""
        self._gaussians[(kind.name, position)] = gaussians

    def tensors(self, *readouts: ReadoutConfig) -> dict[str, Tensor]:
        """Return the tensors by name: all, or those that `readouts` require."""
        needed = {kind.name for r in readouts for kind in (r.task_id_kind, r.tap_kind) if kind}
        return {
            f"{kind}/{position}/{field}": tensor
            for (kind, position), gaussians in self._gaussians.items()
            for field, tensor in gaussians.tensors().items()
            if not readouts or kind in needed
        }

    @property
    def nbytes(self) -> int:
        """Total size of all tensors in bytes."""
        return sum(gaussians.nbytes for gaussians in self._gaussians.values())
