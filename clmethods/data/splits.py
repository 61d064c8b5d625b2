"""Splits of images into training, validation and test, independent of task order and run seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clmethods.canonical import derive_seed
from clmethods.config.stream import StreamConfig, split_file_paths
from clmethods.data.source import DatasetError, Source
from clmethods.user_data.folder_listing import OPEN, TEST, TRAIN, VALIDATION

Indices = NDArray[np.intp]


def drawn_splits(stream: StreamConfig, source: Source) -> NDArray[np.int8]:
    """Return the split (n,) of each image: `TRAIN`, `VALIDATION` or `TEST`.

    A given split is kept. Open images are split at random with `split_seed`, stratified by class,
    or by whole groups if the images have groups. All domains of a class use the same seed, so that
    images of the same object in several domains have the same split.

    Raises `DatasetError` if `split_file` lists unknown images.
    """
    splits = source.splits.copy()
    facts = stream.facts
    if stream.split_file is not None:
        splits[splits == OPEN] = TRAIN
        splits[_listed(stream.split_file, source)] = TEST
    draw = _draw_groups if source.groups else _draw_images
    if (splits == OPEN).any():
        selected = draw(stream, source, splits == OPEN, facts.test_fraction, "test")
        splits[splits == OPEN] = TRAIN
        splits[selected] = TEST
    if stream.validation_fraction > 0 and not facts.given_validation:
        selected = draw(stream, source, splits == TRAIN, stream.validation_fraction, "split")
        splits[selected] = VALIDATION
    return splits


def cells(source: Source) -> Iterator[tuple[int, Indices]]:
    """Yield (class id, indices of its images in one domain), indices in ascending order."""
    domains = np.zeros_like(source.labels) if source.domains is None else source.domains
    key = source.labels * (int(domains.max(initial=0)) + 1) + domains
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    for part in np.split(order, starts[1:]):
        yield int(source.labels[part[0]]), part


def _draw_images(
    stream: StreamConfig,
    source: Source,
    among: NDArray[np.bool_],
    fraction: float,
    purpose: str,
) -> Indices:
    """Select `fraction` of the images of every class and domain at random."""
    selected: list[Indices] = []
    for label, cell in cells(source):
        members = cell[among[cell]]
        seed = derive_seed(stream.split_seed, purpose, stream.dataset, label)
        shuffled = np.random.default_rng(seed).permutation(members)
        selected.append(shuffled[: round(fraction * len(members))])
    return np.concatenate(selected)


def _draw_groups(
    stream: StreamConfig,
    source: Source,
    among: NDArray[np.bool_],
    fraction: float,
    purpose: str,
) -> Indices:
    """Select whole groups in random order, while no class exceeds its fraction.

    An image without a group name is a group of one image. A class may get less than its fraction,
    but a class with two or more groups gets at least one group on each side.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index in np.flatnonzero(among).tolist():
        members[source.groups[index] or f"\0{index}"].append(index)
    labels = {g: Counter(source.labels[rows].tolist()) for g, rows in members.items()}
    total: Counter[int] = sum(labels.values(), Counter())
    quota = {label: max(1, round(fraction * n)) for label, n in total.items()}
    names = sorted(members)
    seed = derive_seed(stream.split_seed, purpose, stream.dataset)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names)).tolist()]
    count: Counter[int] = Counter()
    selected: list[str] = []
    for strict in (True, False):  # the second pass adds a group for each class without any
        for name in order:
            after = count + labels[name]
            missing = any(count[label] == 0 for label in labels[name])
            fits = all(after[label] <= quota[label] for label in labels[name])
            leaves = all(after[label] < total[label] for label in labels[name])
            if name not in selected and leaves and (fits if strict else missing):
                selected.append(name)
                count = after
    return np.array(sorted(i for name in selected for i in members[name]), np.intp)


def _listed(split_file: str, source: Source) -> Indices:
    """Return the indices of the images in a split file."""
    base = source.base
    if base is None:
        raise DatasetError(
            f"{split_file}: this dataset has no image files. Remove stream.split_file."
        )
    index = {path.relative_to(base).as_posix(): i for i, path in enumerate(source.files)}
    paths = split_file_paths(split_file)
    unknown = [path for path in paths if path not in index]
    if unknown:
        raise DatasetError(
            f"{split_file} lists {len(unknown)} images that are not in {base}: {unknown[0]}, ..."
        )
    return np.array([index[path] for path in paths], np.intp)
