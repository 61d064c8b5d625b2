"""Composition of LoRA modules: the weight update of every matrix, computed from a stored state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from clmethods.config.methods import LoraFields
from clmethods.methods.base import LowRank, State
from clmethods.nn.adapted_networks import Matrix
from clmethods.nn.lora import composed_delta, folded

LIVE = "live"
"""Name in a state of the weights (M, t + 1) that all snapshots use, if the state contains them."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """Composed updates of a state.

        Delta_m(j) = scale * sum_{i<=j} Omega_m[j, i] B_i A_i      (docs/method.md section 2.2)

    Omega_m[j] is row j of the bank of the matrix. If the state contains weights that all snapshots
    use (`module_weights: live`), Omega_m[j] consists of their first j + 1 entries.
    """

    config: LoraFields
    matrices: tuple[Matrix, ...]
    state: State

    @property
    def scale(self) -> float:
        """Scale kappa = alpha / r."""
        return self.config.lora_alpha / self.config.rank

    def over(self, state: State) -> Composition:
        """Return the same composition over another state."""
        return replace(self, state=state)

    def factors(self, matrix: Matrix, snapshot: int) -> list[tuple[Tensor, Tensor]]:
        """Return (A_i, B_i) of the modules up to `snapshot`, without those never trained."""
        names = (f"lora.{i}.{matrix}" for i in range(snapshot + 1))
        return [
            (self.state[f"{n}.A"], self.state[f"{n}.B"]) for n in names if f"{n}.A" in self.state
        ]

    def low_rank(self, snapshot: int) -> LowRank:
        """Return A (K*r, a) and B (b, K*r) of every matrix; B includes scale and weights."""
        updates: dict[Matrix, tuple[Tensor, Tensor]] = {}
        for matrix in self.matrices:
            a, b = zip(*self.factors(matrix, snapshot), strict=True)
            omega = self.bank(matrix, snapshot)[: len(a)]
            updates[matrix] = folded(a, b, omega, self.scale)
        return updates

    def deltas(self, snapshot: int, matrices: Iterable[Matrix]) -> dict[Matrix, Tensor]:
        """Return the updates (b, a) of `matrices` in the network after task `snapshot`.

        A frozen matrix has no further modules and repeats its row of the bank, so its update has
        the same bits in every later snapshot.
        """
        deltas: dict[Matrix, Tensor] = {}
        for matrix in matrices:
            a, b = zip(*self.factors(matrix, snapshot), strict=True)
            omega = self.bank(matrix, snapshot)[: len(a)]
            deltas[matrix] = composed_delta(a, b, omega, self.scale)
        return deltas

    def bank(self, matrix: Matrix, snapshot: int) -> Tensor:
        """Return the weights (snapshot + 1,) of the modules of `matrix` in a snapshot."""
        rows = self.state[LIVE if LIVE in self.state else f"omega.{snapshot}"]
        return rows[self.matrices.index(matrix), : snapshot + 1]

    def without_live_weights(self) -> Composition:
        """Return the composition in which every snapshot uses its own row of the bank."""
        return self.over({name: tensor for name, tensor in self.state.items() if name != LIVE})
