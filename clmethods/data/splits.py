"""Which images train, validate and test. Neither the task order nor the run's seed has a say."""

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
    """(n,) `TRAIN`, `VALIDATION` or `TEST`.

    A given split is kept. What is open is drawn by `split_seed`: stratified by class or, where
    images have groups, by whole groups. Domains of a class are drawn with the same seed, so that
    pictures of the same thing in several domains fall on the same side.
    """
    splits = source.splits.copy()
    facts = stream.facts
    if stream.split_file is not None:
        splits[splits == OPEN] = TRAIN
        splits[_listed(stream.split_file, source)] = TEST
    draw = _draw_groups if source.groups else _draw_images
    if (splits == OPEN).any():
        chosen = draw(stream, source, splits == OPEN, facts.test_fraction, "test")
        splits[splits == OPEN] = TRAIN
        splits[chosen] = TEST
    if stream.validation_fraction > 0 and not facts.given_validation:
        chosen = draw(stream, source, splits == TRAIN, stream.validation_fraction, "split")
        splits[chosen] = VALIDATION
    return splits


def cells(source: Source) -> Iterator[tuple[int, Indices]]:
    """(class id, its images in one domain), images in the order of the source."""
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
    """A share of every class's images."""
    chosen: list[Indices] = []
    for label, cell in cells(source):
        members = cell[among[cell]]
        seed = derive_seed(stream.split_seed, purpose, stream.dataset, label)
        shuffled = np.random.default_rng(seed).permutation(members)
        chosen.append(shuffled[: round(fraction * len(members))])
    return np.concatenate(chosen)


def _draw_groups(
    stream: StreamConfig,
    source: Source,
    among: NDArray[np.bool_],
    fraction: float,
    purpose: str,
) -> Indices:
    """Whole groups, in a drawn order, as long as no class exceeds its share by them.

    A group without a name is an image of its own. Sizes are therefore approximate: a class may
    fall short of its share, but one with two groups or more gets one on each side.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index in np.flatnonzero(among).tolist():
        members[source.groups[index] or f"\0{index}"].append(index)
    content = {g: Counter(source.labels[rows].tolist()) for g, rows in members.items()}
    total: Counter[int] = sum(content.values(), Counter())
    quota = {label: max(1, round(fraction * n)) for label, n in total.items()}
    names = sorted(members)
    seed = derive_seed(stream.split_seed, purpose, stream.dataset)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names)).tolist()]
    taken: Counter[int] = Counter()
    chosen: list[str] = []
    for strict in (True, False):  # then one group for each class that has got none
        for name in order:
            after = taken + content[name]
            missing = any(taken[label] == 0 for label in content[name])
            fits = all(after[label] <= quota[label] for label in content[name])
            leaves = all(after[label] < total[label] for label in content[name])
            if name not in chosen and leaves and (fits if strict else missing):
                chosen.append(name)
                taken = after
    return np.array(sorted(i for name in chosen for i in members[name]), np.intp)


def _listed(split_file: str, source: Source) -> Indices:
    """The images that a split file names."""
    base = source.base
    if base is None:
        raise DatasetError(f"{split_file}: this dataset has no files that a list could name")
    index = {path.relative_to(base).as_posix(): i for i, path in enumerate(source.files)}
    selected = split_file_paths(split_file)
    unknown = [path for path in selected if path not in index]
    if unknown:
        raise DatasetError(
            f"{split_file} names {len(unknown)} images that {base} lacks: {unknown[0]}, ..."
        )
    return np.array([index[path] for path in selected], np.intp)
