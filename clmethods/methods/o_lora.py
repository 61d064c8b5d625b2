"""O-LoRA (arXiv 2310.14152): a penalty on overlaps between the subspaces of different tasks."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.methods import OLoraConfig
from clmethods.config.run import RunConfig
from clmethods.methods.base import State, method_config
from clmethods.methods.task_modules import TaskModules
from clmethods.nn.backbone import FrozenBackbone


@final
class OLora(TaskModules):
    """Loss = CE + lambda1 sum_m sum_{i<t} overlap(A_i, A_t) + lambda2 sum_m (|A_t| + |B_t|).

    The overlap is the sum of the entries of |A_i A_t^T|, as in the public code, or of their
    squares, as in the paper (docs/method.md section 9.4). The method equals LoRAC with module
    weights of 1, the overlap penalty and no freezing.
    """

    def __init__(
        self, run: RunConfig, stage: StageSpec, backbone: FrozenBackbone, state: State
    ) -> None:
        super().__init__(run, stage, backbone, state)
        self.config = method_config(run, OLoraConfig)
        self.module_pairs = [  # (r, a) current and (K*r, a) earlier ones
            (adapter.a, torch.cat(past))
            for matrix, adapter in self.adapters.items()
            if (past := self.past(matrix))
        ]

    def extra_terms(self) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        if self.config.lambda1 > 0 and self.module_pairs:
            terms["orthogonality"] = (
                self.config.lambda1
                * torch.stack(
                    [overlap(past, a, self.config.olora_pow) for a, past in self.module_pairs]
                ).sum()
            )
        if self.config.lambda2 > 0 and self.adapters:
            factors = [p for adapter in self.adapters.values() for p in (adapter.a, adapter.b)]
            norms = torch.stack([torch.linalg.vector_norm(factor) for factor in factors])
            terms["norm"] = self.config.lambda2 * norms.sum()
        return terms


def overlap(past: Tensor, current: Tensor, power: int) -> Tensor:
    """Return the sum of |past current^T|^power over all entries, for (K*r, a) and (r, a)."""
    products = past @ current.T  # (K*r, r)
    return products.abs().sum() if power == 1 else products.square().sum()
