"""Numbers of images that the splits of a stream leave, from a listing alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from clmethods.user_data.folder_listing import OPEN, TEST, TRAIN, Listing

NAMED = 10
"""Largest number of classes that a message names."""


def without_training(
    listing: Listing, test_paths: Collection[str] | None, validation_fraction: float
) -> list[tuple[str, int]]:
    """Return the classes whose images for training and validation are all validation images.

    Each class is given by its name, with its task if classes recur, and the number of these
    images. `test_paths` are the test images of a split file. A class of one task is counted alone,
    as the images are drawn. A split by groups always leaves a group for training.
    """
    if validation_fraction <= 0.5 or listing.groups or listing.facts.given_validation:
        return []  # up to one half, even a single image stays in training
    counts: Counter[tuple[int, int, int]] = Counter()
    tasks = listing.task_of or (0,) * len(listing.labels)
    listed = frozenset(test_paths or ())
    for index, cell in enumerate(zip(listing.labels, tasks, listing.splits, strict=True)):
        label, task, split = cell
        if test_paths is not None and split == OPEN:
            split = TEST if listing.paths[index] in listed else TRAIN
        counts[label, task, split] += 1
    found = []
    for label, task in sorted({(label, task) for label, task, _ in counts}):
        unassigned = counts[label, task, OPEN]
        tested = round(listing.facts.test_fraction * unassigned)
        images = counts[label, task, TRAIN] + unassigned - tested
        if images and images == round(validation_fraction * images):
            where = f" of task {listing.tasks[task].name}" if listing.facts.recurring else ""
            found.append((f"{listing.classes[label]}{where}", images))
    return found


def counts_text(classes: list[tuple[str, int]]) -> str:
    """Return the first classes with their numbers of images, and the number of the others."""
    named = ", ".join(f"{name!r} has {count}" for name, count in classes[:NAMED])
    rest = len(classes) - NAMED
    return f"{named}, and {rest} more classes" if rest > 0 else named
