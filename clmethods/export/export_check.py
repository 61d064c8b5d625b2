"""Comparison of an export with the original network, using the target libraries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clmethods.export.finished_chain import ExportError, FinishedChain
from clmethods.export.timm_folder import pixels, read_config, read_network

TOLERANCE = 1e-5
"""Maximum difference of a logit, relative to the largest logit if that exceeds 1."""


def timm_scores(folder: Path, images: Tensor) -> Tensor:
    """Return logits (n, C) of a folder that `write_network` wrote, computed with timm."""
    return scores(read_network(folder), read_config(folder), images)


def peft_scores(base: Path, adapter: Path, images: Tensor) -> Tensor:
    """Return logits (n, C) of an adapter that PEFT loads onto the base network."""
    from peft import PeftModel

    network: nn.Module = PeftModel.from_pretrained(read_network(base), str(adapter)).eval()
    return scores(network, read_config(base), images)


@torch.no_grad()
def scores(network: nn.Module, config: Mapping[str, Any], images: Tensor) -> Tensor:
    """Return logits (n, C) of uint8 images."""
    logits: Tensor = network(pixels(config, images))
    return logits


def expected_scores(chain: FinishedChain, images: Tensor, snapshot: int | None = None) -> Tensor:
    """Return the logits (n, C) that an export must give.

    Cosine scores are multiplied by the norm of the feature, which the exported head does not
    divide by.
    """
    predictor = chain.predictor(snapshot)
    own = chain.scores(images, snapshot)
    if chain.head().cosine:
        lengths: Tensor = predictor.features(images).norm(dim=1, keepdim=True)  # (n, 1)
        return own * lengths
    return own


def difference(expected: Tensor, actual: Tensor) -> float:
    """Return the largest difference of a logit, relative to max(1, the largest logit)."""
    scale = max(1.0, float(expected.abs().max()))
    return float((expected.double() - actual.double()).abs().max()) / scale


def refuse_difference(name: str, error: float) -> None:
    """Raise `ExportError` if the export does not reproduce the logits of the model."""
    if not error <= TOLERANCE:
        raise ExportError(
            f"the {name} export differs from the model by {error:.2g}, more than {TOLERANCE:g}, "
            "so it was not written. Correct `low_rank` or `linear_head` of its method."
        )
