"""`LoadedModel`: names, probabilities and inferred tasks of images, from a stored model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from clmethods.archive import ArchiveError, MetricsBySplit, ModelArchive, ReadoutMetrics
from clmethods.config import ConfigIssue, InvalidConfigError, ReadoutConfig
from clmethods.config.extension import resizings
from clmethods.config.stream import TaskGroup
from clmethods.data.image_decoding import Resize, center_crop, fit, stored_side
from clmethods.data.source import Pixels
from clmethods.errors import nearest
from clmethods.prediction.classifiers import ChainClassifier, Classifier, ExportClassifier
from clmethods.prediction.image_inputs import ImageError, as_items, name_of, refusal, rgb_image
from clmethods.prediction.results import Prediction, Predictions, UnreadableImage

EXPORT = "export.json"
"""File that distinguishes an export from a model directory."""
BATCH = 64
"""Default number of images that are decoded and classified at once."""
SINGLE_IMAGES = ("last", "instance")
"""Routings that classify an image by itself; the others need batches of a task, or its index."""

Device = Literal["auto", "cpu", "cuda"]


@final
class LoadedModel:
    """Model that predicts classes of images. Created by `load_model`."""

    def __init__(
        self, path: Path, classifier: Classifier, accuracies: dict[str, float | None]
    ) -> None:
        self.path = path
        self._classifier = classifier
        self.test_accuracies = accuracies
        """Stored average test accuracy, as a fraction, by readout that `load_model` accepts."""
        stream = classifier.run.stream
        self._sequence: tuple[TaskGroup, ...] = stream.sequence()
        learned = {label for group in self._sequence for label in group.classes}
        self.classes: tuple[int, ...] = tuple(sorted(learned))
        """Original class ids, in the order of `Prediction.probabilities`."""
        self.class_names: tuple[str, ...] = tuple(stream.names_of(self.classes))
        self.resize: Resize = resizings(stream)[0]
        """Resizing of the images, that of the first tasks."""
        self.warnings: list[str] = [
            f"warning: images are resized by {self.resize}, as those of the first tasks; those of "
            f"a task that was added later were resized by {other}"
            for other in resizings(stream)[1:]
        ]
        self.image_size = classifier.run.backbone.image_size

    @property
    def readout(self) -> str:
        """Id of the readout that predicts."""
        return self._classifier.readout.readout_id

    def __repr__(self) -> str:
        return (
            f"<LoadedModel {str(self.path)!r}: {len(self.classes)} classes in "
            f"{len(self._sequence)} tasks, readout {self.readout}>"
        )

    def predict(
        self, images: Any, *, batch_size: int = BATCH, skip_unreadable: bool = False
    ) -> Predictions:
        """Predict one image or a list of images.

        An image is a path, a PIL image, or a uint8 array or tensor of shape (H, W) or (H, W, 3).
        An array (n, H, W, 3) is a list of n images. Images may have any size, and are resized as
        those of training.

        Raises `ImageError` that names all images that cannot be read; with `skip_unreadable`, they
        are listed in the result, and the others are predicted.
        """
        if batch_size < 1:
            raise InvalidConfigError([ConfigIssue("batch_size", batch_size, "1 or more")])
        items = as_items(images)
        rows: list[Prediction] = []
        unreadable: list[UnreadableImage] = []
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(items), batch_size):
                batch = items[start : start + batch_size]
                names = [name_of(item, start + offset) for offset, item in enumerate(batch)]
                decoded = list(pool.map(self._decoded, batch))
                for name, result in zip(names, decoded, strict=True):
                    if isinstance(result, ImageError):
                        unreadable.append(UnreadableImage(name, str(result)))
                readable = [
                    (name, result)
                    for name, result in zip(names, decoded, strict=True)
                    if not isinstance(result, ImageError)
                ]
                if readable and (skip_unreadable or not unreadable):
                    pixels = torch.from_numpy(np.stack([image for _, image in readable]))
                    rows += self._classified([name for name, _ in readable], pixels)
        if unreadable and not skip_unreadable:
            raise refusal(unreadable, len(items))
        return Predictions(
            rows=tuple(rows),
            unreadable=tuple(unreadable),
            classes=self.classes,
            class_names=self.class_names,
            model=str(self.path),
            readout=self.readout,
        )

    def _decoded(self, item: Any) -> Pixels | ImageError:
        """Return the pixels (S, S, 3) that the evaluation gives to the network, or the error."""
        try:
            image = rgb_image(item)
            stored = fit(image, stored_side(self.image_size, self.resize), self.resize)
        except ImageError as error:
            return error
        cropped: Pixels = center_crop(stored[None], self.resize)[0]
        return cropped

    def _classified(self, names: Sequence[str], pixels: Tensor) -> list[Prediction]:
        scores = self._classifier.scores(pixels)
        probabilities = scores.logits.double().softmax(dim=1)
        best = scores.logits.argmax(dim=1).tolist()
        routes = None if scores.positions is None else scores.positions.tolist()
        rows: list[Prediction] = []
        for index, (name, place) in enumerate(zip(names, best, strict=True)):
            label = self.classes[place]
            group = self._task_of(label) if routes is None else self._sequence[routes[index]]
            rows.append(
                Prediction(
                    image=name,
                    class_id=label,
                    class_name=self.class_names[place],
                    probability=float(probabilities[index, place]),
                    task=None if group is None else group.index,
                    task_name="" if group is None else group.name,
                    probabilities=tuple(probabilities[index].tolist()),
                )
            )
        return rows

    def _task_of(self, label: int) -> TaskGroup | None:
        """Return the task of a class; None if the class occurs in several tasks."""
        groups = [group for group in self._sequence if label in group.classes]
        return groups[0] if len(groups) == 1 else None


def load_model(
    path: str | PathLike[str],
    *,
    readout: str | None = None,
    device: Device = "auto",
    weights: str | None = None,
) -> LoadedModel:
    """Load a model directory or an export, without its training data.

    `readout` is one of those with which a model directory was evaluated. The default is the last
    of them that classifies single images: that of a production file, or task-ID inference where
    the method supports it. An export has one readout. `device` `auto` is a GPU if there is one.
    `weights` is the new path of the backbone's weights file, if it was moved.

    Raises `ClmethodsError` with a message for users if the model is missing, not finished or
    damaged, or if an argument is not supported.
    """
    folder = Path(path)
    chosen = _device(device)
    with _process_settings():
        if (folder / EXPORT).is_file():
            return _load_export(folder, readout, chosen, weights)
        archive = ModelArchive.open(folder, weights)
        stored = archive.metrics()
        known = [r for r in stored.readouts if r.routing in SINGLE_IMAGES]
        if not known:
            raise ArchiveError(
                f"{folder} was evaluated only with readouts that cannot classify a single image: "
                f"{[r.readout_id for r in stored.readouts]}. Train it with the readout last or "
                "instance."
            )
        config = _readout(known, readout)
        accuracies = _accuracies(stored.splits, known)
        return LoadedModel(folder, ChainClassifier(archive, config, chosen), accuracies)


def _load_export(
    folder: Path, readout: str | None, device: str, weights: str | None
) -> LoadedModel:
    classifier = ExportClassifier(folder, device)
    own = classifier.readout
    if weights is not None:
        hint = "An export contains its weights."
        raise InvalidConfigError([ConfigIssue("weights", weights, "no value for an export", hint)])
    _readout([own], readout)
    return LoadedModel(folder, classifier, _accuracies(classifier.metrics, [own]))


def _readout(known: Sequence[ReadoutConfig], name: str | None) -> ReadoutConfig:
    if name is None:
        return known[-1]
    ids = [readout.readout_id for readout in known]
    if name not in ids:
        issue = ConfigIssue("readout", name, f"one of {ids}", nearest(name, ids))
        raise InvalidConfigError([issue])
    return known[ids.index(name)]


def _accuracies(
    splits: MetricsBySplit, readouts: Sequence[ReadoutConfig]
) -> dict[str, float | None]:
    test: dict[str, ReadoutMetrics] = splits.get("test", {})
    ids = [readout.readout_id for readout in readouts]
    return {name: test.get(name, {}).get("average_accuracy") for name in ids}


def _device(device: str) -> str:
    allowed = ("auto", "cpu", "cuda")
    if device not in allowed:
        raise InvalidConfigError([ConfigIssue("device", device, f"one of {list(allowed)}")])
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        hint = "torch finds no GPU on this machine."
        raise InvalidConfigError([ConfigIssue("device", device, "cpu or auto", hint)])
    return "cuda" if there and device == "auto" else device.replace("auto", "cpu")


@contextmanager
def _process_settings() -> Iterator[None]:
    """Restore the settings of torch that loading a chain changes, for the caller's process."""
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    exact, kind = torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        torch.use_deterministic_algorithms(exact)
        torch.set_default_dtype(kind)
