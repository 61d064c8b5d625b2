"""Predictions of a stored model for images: files, images of Pillow, and arrays."""

from clmethods.prediction.image_inputs import ImageError
from clmethods.prediction.loaded_model import LoadedModel, load_model
from clmethods.prediction.results import Prediction, Predictions, UnreadableImage

__all__ = [
    "ImageError",
    "LoadedModel",
    "Prediction",
    "Predictions",
    "UnreadableImage",
    "load_model",
]
