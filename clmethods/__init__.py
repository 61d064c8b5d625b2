"""Continual learning with LoRA on frozen Vision Transformers: LoRAC-IPC and its baselines.

    model = clmethods.load("model/")            # a model directory or an export
    predictions = model.predict(["a.jpg"])      # names, probabilities, inferred tasks

Shape letters used in comments throughout the package:

    B batch      N tokens     D width      a fan-in      b fan-out
    r rank       K modules    C classes    T tasks       M adapted matrices

This file imports little, so that `clmethods.metrics` and `clmethods.config` stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clmethods.version import __version__ as __version__

if TYPE_CHECKING:
    from clmethods.prediction import (
        ImageError,
        LoadedModel,
        Prediction,
        Predictions,
        UnreadableImage,
    )
    from clmethods.prediction import load_model as load

__all__ = [
    "ImageError",
    "LoadedModel",
    "Prediction",
    "Predictions",
    "UnreadableImage",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import the names of `__all__` at their first use, so that the package imports fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clmethods import prediction

    return getattr(prediction, "load_model" if name == "load" else name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
