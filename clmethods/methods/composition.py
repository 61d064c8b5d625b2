"""The composed update of every matrix, read from a stored state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from clmethods.config.methods import LoraFields
from clmethods.methods.base import LowRank, State
from clmethods.nn.adapted import Matrix
from clmethods.nn.lora import composed_delta, folded

LIVE = "live"
"""Name in a state of the weights (M, t + 1) that every snapshot reads, if there are such."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """Delta_m(j) = scale * sum_{i<=j} Omega_m[j, i] B_i A_i   (docs/method.md section 2.2).

    Omega_m[j] is the matrix's row j of the bank, or, where the state holds weights that all
    snapshots read (`module_weights: live`), the beginning of those.
    """

    config: LoraFields
    matrices: tuple[Matrix, ...]
    state: State

    @property
    def scale(self) -> float:
        """kappa = alpha / r."""
        return self.config.lora_alpha / self.config.rank

    def over(self, state: State) -> Composition:
        """The same composition over another state."""
        return replace(self, state=state)

    def factors(self, matrix: Matrix, snapshot: int) -> list[tuple[Tensor, Tensor]]:
        """(A_i, B_i) of the modules up to `snapshot`, without those that were never trained."""
        names = (f"lora.{i}.{matrix}" for i in range(snapshot + 1))
        return [
            (self.state[f"{n}.A"], self.state[f"{n}.B"]) for n in names if f"{n}.A" in self.state
        ]

    def low_rank(self, snapshot: int) -> LowRank:
        """A (K*r, a) and B (b, K*r) of every matrix, scale and module weights folded into B."""
        found: dict[Matrix, tuple[Tensor, Tensor]] = {}
        for matrix in self.matrices:
            a, b = zip(*self.factors(matrix, snapshot), strict=True)
            omega = self.bank(matrix, snapshot)[: len(a)]
            found[matrix] = folded(a, b, omega, self.scale)
        return found

    def deltas(self, snapshot: int, matrices: Iterable[Matrix]) -> dict[Matrix, Tensor]:
        """(b, a) update of each of `matrices` in the network after the task at `snapshot`.

        A frozen matrix has no module after its freezing and repeats its row of the bank, so its
        update has the same bits in every later snapshot.
        """
        deltas: dict[Matrix, Tensor] = {}
        for matrix in matrices:
            a, b = zip(*self.factors(matrix, snapshot), strict=True)
            omega = self.bank(matrix, snapshot)[: len(a)]
            deltas[matrix] = composed_delta(a, b, omega, self.scale)
        return deltas

    def bank(self, matrix: Matrix, snapshot: int) -> Tensor:
        """(snapshot + 1,) weights of the modules of `matrix` in a snapshot."""
        rows = self.state[LIVE if LIVE in self.state else f"omega.{snapshot}"]
        return rows[self.matrices.index(matrix), : snapshot + 1]

    def as_each_task_left_it(self) -> Composition:
        """Snapshots with their own rows of the bank, whatever reads them now."""
        return self.over({name: tensor for name, tensor in self.state.items() if name != LIVE})
