"""Comparison of an export with the original network, using the target libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from torch import Tensor, nn

from clmethods.export.finished_chain import ExportError, FinishedChain, Probe
from clmethods.export.preprocess import preprocess
from clmethods.export.timm_folder import pixels, read_config, read_network

TIMM_TRANSFORM, PREPROCESS = "timm transform", "preprocess.py"
"""Names of the checks of original images."""
TOLERANCE = 1e-5
"""Maximum difference of a logit, relative to the largest logit if that exceeds 1."""


def timm_scores(folder: Path, images: Tensor) -> Tensor:
    """Return logits (n, C) of a folder that `write_network` wrote, computed with timm."""
    return scores(read_network(folder), read_config(folder), images)


def peft_scores(base: Path, adapter: Path, images: Tensor) -> Tensor:
    """Return logits (n, C) of an adapter that PEFT loads onto the base network."""
    return scores(peft_network(base, adapter), read_config(base), images)


def peft_network(base: Path, adapter: Path) -> nn.Module:
    """Return the base network with an adapter, loaded with PEFT."""
    from peft import PeftModel

    network: nn.Module = PeftModel.from_pretrained(read_network(base), str(adapter)).eval()
    return network


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


@torch.no_grad()
def file_checks(
    base: Path, probe: Probe, expected: Tensor, classify: Callable[[Tensor], Tensor]
) -> dict[str, Any]:
    """Classify the original images of a probe, as a user of the export does.

    The pixels come from the transform that timm derives from `base`, and from `preprocess.py`.
    `expected` (n,) are the rows of the head that the model chooses, and `classify` returns those
    of normalized pixels (n, 3, S, S). Both checks have the number of images, the number of equal
    predictions, and the mean absolute difference of a pixel, of 255; without data there are none.
    """
    if not probe.originals:
        return {}
    config = read_config(base)
    settings = timm.data.resolve_data_config({}, pretrained_cfg=config["pretrained_cfg"])
    transform: Any = timm.data.create_transform(**settings)
    same = pixels(config, probe.images)
    std = torch.tensor(config["pretrained_cfg"]["std"]).view(3, 1, 1)
    images = [original.open() for original in probe.originals]
    checks: dict[str, Any] = {}
    for name, shown in (
        (TIMM_TRANSFORM, torch.stack([transform(image) for image in images])),
        (PREPROCESS, torch.stack([preprocess(image, config) for image in images])),
    ):
        checks[name] = {
            "images": len(images),
            "equal": int((classify(shown) == expected).sum()),
            # rounded, because the rounding of the normalization is not a difference
            "pixel_difference": round(float(((shown - same).abs() * std * 255.0).mean()), 3),
        }
    return checks


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
