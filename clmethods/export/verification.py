"""An export is compared with the network that it was made from, by the libraries it is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clmethods.export.finished_chain import ExportError, Subject
from clmethods.export.timm_folder import pixels, read_config, read_network

TOLERANCE = 1e-5
"""Largest difference of a logit, relative to the largest logit if that is above 1."""


def timm_scores(folder: Path, images: Tensor) -> Tensor:
    """(n, C) logits of a folder that `write_network` wrote, by timm alone."""
    return scores(read_network(folder), read_config(folder), images)


def peft_scores(base: Path, adapter: Path, images: Tensor) -> Tensor:
    """(n, C) logits of an adapter that PEFT puts onto the base network."""
    from peft import PeftModel

    network: nn.Module = PeftModel.from_pretrained(read_network(base), str(adapter)).eval()
    return scores(network, read_config(base), images)


@torch.no_grad()
def scores(network: nn.Module, config: Mapping[str, Any], images: Tensor) -> Tensor:
    """(n, C) logits of uint8 images."""
    found: Tensor = network(pixels(config, images))
    return found


def expected_scores(subject: Subject, images: Tensor, snapshot: int | None = None) -> Tensor:
    """(n, C) logits that an export must give; a cosine head's are not divided by the norm."""
    predictor = subject.predictor(snapshot)
    own = subject.scores(images, snapshot)
    if subject.head().cosine:
        lengths: Tensor = predictor.features(images).norm(dim=1, keepdim=True)  # (n, 1)
        return own * lengths
    return own


def difference(expected: Tensor, found: Tensor) -> float:
    """Largest difference of a logit, over the largest logit if that is above 1."""
    scale = max(1.0, float(expected.abs().max()))
    return float((expected.double() - found.double()).abs().max()) / scale


def refuse_difference(what: str, found: float) -> None:
    """Raises `ExportError` for an export that does not give the logits of the model."""
    if not found <= TOLERANCE:
        raise ExportError(
            f"the {what} export differs from the model by {found:.2g}, more than {TOLERANCE:g}: "
            "it was not written. Its method does not say how it predicts."
        )
