"""Results of a prediction, as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, final

HEADER = (
    *("image", "rank", "class_id", "class_name", "probability"),
    *("task", "task_name"),
)
"""Columns of the CSV file. Columns may be added at the end; these keep name, place and meaning."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters with which spreadsheet programs take a text for a formula."""


@final
@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one image."""

    image: str
    """Path as it was given or found; `image N` for the image at index N that has no path."""
    class_id: int
    """Original id of the most probable class."""
    class_name: str
    probability: float
    """Softmax of the scores, at the most probable class. It is not calibrated."""
    task: int | None
    """Index of the inferred task, as in `task_order`; None if its classes occur in several tasks.

    With a readout that infers tasks, it is the task whose snapshot classified the image, otherwise
    the task of the predicted class.
    """
    task_name: str
    """Name of the task in the data; empty if it has none."""
    probabilities: tuple[float, ...] = field(repr=False)
    """Probability of every class, in the order of `LoadedModel.classes`."""


@final
@dataclass(frozen=True, slots=True)
class UnreadableImage:
    """Image that could not be read, and the reason."""

    image: str
    reason: str

    def __str__(self) -> str:
        return f"{self.image}: {self.reason}"


@final
@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in the order of the images; a sequence of `Prediction`."""

    rows: tuple[Prediction, ...]
    unreadable: tuple[UnreadableImage, ...]
    """Images without a prediction; only with `skip_unreadable`."""
    classes: tuple[int, ...] = field(repr=False)
    """Original class ids, in the order of `Prediction.probabilities`."""
    class_names: tuple[str, ...] = field(repr=False)
    model: str
    readout: str

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Prediction:
        return self.rows[index]

    def to_csv(self, top: int = 1) -> str:
        """Return the text of a CSV file with `HEADER` and the `top` classes of each image.

        Texts that a spreadsheet program would take for a formula start with an apostrophe.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADER)
        for row in self.rows:
            for rank, place in enumerate(_most_probable(row.probabilities, top), start=1):
                values = [
                    plain_text(row.image),
                    str(rank),
                    str(self.classes[place]),
                    plain_text(self.class_names[place]),
                    f"{row.probabilities[place]:.6f}",
                    "" if row.task is None else str(row.task),
                    plain_text(row.task_name),
                ]
                writer.writerow(values)
        return out.getvalue()

    def document(self) -> dict[str, Any]:
        """Return the content of a JSON file: all probabilities, and the unreadable images."""
        return {
            "model": self.model,
            "readout": self.readout,
            "classes": list(self.classes),
            "class_names": list(self.class_names),
            "predictions": [
                {
                    "image": row.image,
                    "class_id": row.class_id,
                    "class_name": row.class_name,
                    "probability": row.probability,
                    "task": row.task,
                    "task_name": row.task_name,
                    "probabilities": list(row.probabilities),
                }
                for row in self.rows
            ],
            "unreadable": [
                {"image": each.image, "reason": each.reason} for each in self.unreadable
            ],
        }


def plain_text(text: str) -> str:
    """Return a text that no spreadsheet program takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _most_probable(probabilities: Sequence[float], top: int) -> list[int]:
    """Return the places of the largest probabilities, the first of equal ones first."""
    places = sorted(range(len(probabilities)), key=lambda place: -probabilities[place])
    return places[:top]
