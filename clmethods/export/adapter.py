"""Export of a snapshot as a LoRA adapter that PEFT loads onto the timm network.

Every adapted matrix of a snapshot is one module: the modules of all tasks are concatenated, and B
includes scale and module weights. timm fuses query, key and value, so their A are stacked and
their B are the diagonal blocks of one B:

    | B_q  0    0   |   | A_q |
    | 0    B_k  0   | . | A_k |
    | 0    0    B_v |   | A_v |

PEFT scales by alpha / rank, so alpha is the rank of each layer. The head is stored in
`modules_to_save`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from clmethods.archive import write
from clmethods.checkpoint import state_to_bytes
from clmethods.export.timm_folder import classifier_tensors
from clmethods.methods import LinearHead, LowRank
from clmethods.nn.adapted_networks import Matrix
from clmethods.nn.backbone import SITE_SLOTS

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model"


@final
@dataclass(frozen=True, slots=True, eq=False)
class LayerFactors:
    """Update B A of one linear layer."""

    a: Tensor
    """(R, a)"""
    b: Tensor
    """(b, R)"""
    error: float = 0.0
    """Truncation error: Frobenius norm of the omitted part relative to that of the update."""

    @property
    def rank(self) -> int:
        """Rank R."""
        return int(self.a.shape[0])


def layer_factors(updates: LowRank, max_rank: int | None = None) -> dict[str, LayerFactors]:
    """Return the factors of every adapted layer by timm's name, in float64.

    A rank above min(a, b) is reduced to it exactly; one above `max_rank` is truncated to the best
    approximation.
    """
    parts: dict[str, dict[int, Matrix]] = defaultdict(dict)
    for matrix in updates:
        slot = SITE_SLOTS[matrix.site]
        parts[f"blocks.{matrix.block}.{slot.module}"][slot.part] = matrix
    layers: dict[str, LayerFactors] = {}
    for name, matrices in parts.items():
        count = SITE_SLOTS[next(iter(matrices.values())).site].parts
        chosen = [(part, updates[matrices[part]]) for part in sorted(matrices)]
        a = torch.cat([factors[0].double() for _, factors in chosen])  # (R, a)
        size = chosen[0][1][1].shape[0]
        b = a.new_zeros(count * size, len(a))  # (b, R)
        column = 0
        for part, (_, own) in chosen:
            b[part * size : (part + 1) * size, column : column + own.shape[1]] = own.double()
            column += own.shape[1]
        layers[name] = reduced(a, b, max_rank)
    return layers


def reduced(a: Tensor, b: Tensor, max_rank: int | None = None) -> LayerFactors:
    """Return factors (R, a) and (b, R) with R at most min(a, b) and `max_rank`.

    They follow from the singular value decomposition of B A, computed in the small space of the
    factors without forming B A; each factor receives the square root of the singular values.
    """
    cap = min(a.shape[1], b.shape[0])
    if max_rank is not None:
        cap = min(cap, max_rank)
    if a.shape[0] <= cap:
        return LayerFactors(a, b)
    basis_a, core_a = torch.linalg.qr(a.T)  # (a, k), (k, R)
    basis_b, core_b = torch.linalg.qr(b)  # (b, l), (l, R)
    left, values, right = torch.linalg.svd(core_b @ core_a.T, full_matrices=False)
    root = values[:cap].sqrt()
    kept_a = (root[:, None] * right[:cap]) @ basis_a.T  # (cap, a)
    kept_b = basis_b @ (left[:, :cap] * root)  # (b, cap)
    total = values.norm()
    error = float(values[cap:].norm() / total) if total > 0 else 0.0
    return LayerFactors(kept_a, kept_b, error)


def write_adapter(
    folder: Path, layers: dict[str, LayerFactors], head: LinearHead, classifiers: Sequence[str]
) -> None:
    """Write `adapter_config.json` in the format of the installed PEFT, and the weights.

    `classifiers` are the names of the linear layers that receive the head's weights.
    """
    from peft import LoraConfig

    ranks = {name: layer.rank for name, layer in layers.items()}
    usual = max(set(ranks.values()), key=list(ranks.values()).count)
    exceptions = {name: rank for name, rank in ranks.items() if rank != usual}
    config = LoraConfig(
        r=usual,
        lora_alpha=usual,
        rank_pattern=exceptions,
        alpha_pattern=exceptions,
        target_modules=sorted(layers),
        modules_to_save=list(classifiers),
        lora_dropout=0.0,
        bias="none",
        inference_mode=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    written: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    written["target_modules"] = sorted(written["target_modules"])  # PEFT stores a set: sort it
    write(folder / CONFIG, (json.dumps(written, indent=2, sort_keys=True) + "\n").encode())
    heads = classifier_tensors(classifiers, head)
    tensors = {f"{PREFIX}.{name}": tensor for name, tensor in heads.items()}
    for name, layer in layers.items():
        tensors[f"{PREFIX}.{name}.lora_A.weight"] = layer.a.float()
        tensors[f"{PREFIX}.{name}.lora_B.weight"] = layer.b.float()
    write(folder / WEIGHTS, state_to_bytes(tensors))


def read_updates(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the update (b, a) of every layer in float64, and the tensors of the classifiers.

    Both are by timm's names. PEFT is not required.
    """
    from safetensors.torch import load_file

    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    tensors = load_file(folder / WEIGHTS)
    head = {
        f"{classifier}.{kind}": tensors[f"{PREFIX}.{classifier}.{kind}"]
        for classifier in config["modules_to_save"]
        for kind in ("weight", "bias")
    }
    updates: dict[str, Tensor] = {}
    for name in config["target_modules"]:
        a = tensors[f"{PREFIX}.{name}.lora_A.weight"].double()
        b = tensors[f"{PREFIX}.{name}.lora_B.weight"].double()
        alpha = config["alpha_pattern"].get(name, config["lora_alpha"])
        updates[name] = alpha / len(a) * (b @ a)
    return updates, head
