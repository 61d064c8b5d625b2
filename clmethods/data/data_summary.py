"""Summary of the user's data from names and headers: classes, images per split, sizes, modes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from clmethods.config.stream import StreamConfig
from clmethods.data.folders import listed_source
from clmethods.data.idx import idx_dataset
from clmethods.data.source import Source
from clmethods.data.splits import cells, drawn_splits
from clmethods.errors import InvalidConfigError
from clmethods.user_data.file_records import FileRecords
from clmethods.user_data.folder_listing import OPEN, TEST, TRAIN, VALIDATION, Listing
from clmethods.user_data.image_headers import UPRIGHT

SPLITS = {"training": TRAIN, "validation": VALIDATION, "test": TEST}
"""Split codes by the words of the summary."""
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """Number of images of one class in one task."""

    task: str
    """Name of the task, or its index if it has no name."""
    label: int
    name: str
    images: Mapping[str, int]
    """By split: training, validation and test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """Content of the user's data: classes, images, and ignored files."""

    dataset: str
    root: str
    classes: tuple[str, ...]
    counts: tuple[ClassCount, ...]
    sizes: tuple[tuple[int, int], ...]
    """Width and height of the largest and of the smallest image by area; empty if not known."""
    modes: Mapping[str, int]
    """Number of images by mode of Pillow, the most frequent first."""
    formats: Mapping[str, int]
    turned: int
    """Number of images whose orientation tag turns or mirrors them."""
    ignored_folders: tuple[str, ...]
    ignored_files: tuple[str, ...]
    notes: tuple[str, ...]

    def total(self, split: str) -> int:
        """Return the number of images of a split."""
        return sum(count.images[split] for count in self.counts)

    @property
    def line(self) -> str:
        """The summary in one line."""
        numbers = [f"{self.total(split):,} {split}" for split in SPLITS if self.total(split)]
        parts = [f"{len(self.classes):,} class{'es' * (len(self.classes) != 1)}"]
        parts.append(f"{', '.join(numbers)} images")
        if self.sizes:
            parts.append(" to ".join(f"{w}{TIMES}{h}" for w, h in dict.fromkeys(self.sizes)))
        if self.modes:
            parts.append(" and ".join(self.modes))
        text = f"data: {', '.join(parts)}"
        ignored = [
            f"{len(paths):,} {word}{'s' * (len(paths) != 1)}"
            for word, paths in (("folder", self.ignored_folders), ("file", self.ignored_files))
            if paths
        ]
        if ignored:
            text += f"; ignored: {', '.join(ignored)}"
        return "; ".join([text, *self.notes])

    @property
    def ignored(self) -> list[str]:
        """All ignored folders, with a slash at the end, and files."""
        return [*(f"{path}/" for path in self.ignored_folders), *self.ignored_files]


def summary_of(stream: StreamConfig) -> DataSummary | None:
    """Return the summary of the user's own data; None for a published dataset.

    Only names and headers are read. Raises `InvalidConfigError` if the data is invalid. The
    result is None too if the data of a resolved run is not on this machine.
    """
    try:
        listing = stream.listing()
    except InvalidConfigError:
        if stream.record is None:
            raise
        return None
    if listing is None:
        return None
    if stream.dataset == "idx":
        source = idx_dataset(stream.dataset, str(listing.base))
    else:
        source = listed_source(listing)
    shown = [header for header in listing.headers if header.format]
    by_area = sorted((header.size for header in shown), key=lambda size: size[0] * size[1])
    return DataSummary(
        dataset=stream.dataset,
        root=str(listing.base),
        classes=listing.classes,
        counts=_counts(stream, listing, source),
        sizes=(by_area[-1], by_area[0]) if by_area else (),
        modes=dict(Counter(header.mode for header in shown).most_common()),
        formats=dict(Counter(header.format for header in shown).most_common()),
        turned=sum(header.orientation != UPRIGHT for header in shown),
        ignored_folders=listing.ignored_folders,
        ignored_files=listing.ignored_files,
        notes=(*listing.notes, *_copies(stream, listing)),
    )


def _copies(stream: StreamConfig, listing: Listing) -> list[str]:
    """Return a sentence about images that occur several times in a class of a folder.

    `split_seed` can put equal images into two splits. Images that both splits of given ones
    contain are refused when the folder is listed.
    """
    if stream.dataset != "image-folder" or OPEN not in listing.splits:
        return []
    records = FileRecords(listing.base)
    try:
        sizes = [(listing.base / path).stat().st_size for path in listing.paths]
        keys = list(zip(listing.labels, sizes, strict=True))
        of_size = Counter(keys)
        same = [i for i, key in enumerate(keys) if of_size[key] > 1]
        digests = records.digests([listing.paths[i] for i in same])
    except OSError:  # comparing all content names files that cannot be read
        return []
    records.save()
    found = Counter((listing.labels[i], digest) for i, digest in zip(same, digests, strict=True))
    numbers = [number for number in found.values() if number > 1]
    if not numbers:
        return []
    often = "twice" if max(numbers) == 2 else "more than once"
    one = len(numbers) == 1
    return [f"{len(numbers):,} {'image occurs' if one else 'images occur'} {often}"]


def summary_lines(streams: Iterable[StreamConfig], verbose: bool = False) -> list[str]:
    """Return a line per distinct data of the streams, and all ignored paths with `verbose`."""
    lines: dict[str, None] = {}
    for stream in dict.fromkeys(streams):
        summary = summary_of(stream)
        if summary is None:
            continue
        hint = " (list: --verbose)" if summary.ignored and not verbose else ""
        lines[summary.line + hint] = None
        if verbose:
            lines.update((f"  ignored: {path}", None) for path in summary.ignored)
    return list(lines)


def _counts(stream: StreamConfig, listing: Listing, source: Source) -> tuple[ClassCount, ...]:
    splits = drawn_splits(stream, source)
    recurring = stream.facts.recurring
    found: dict[tuple[int, int], Counter[str]] = {}
    for label, members in cells(source):
        domain = int(source.domains[members[0]]) if recurring and source.domains is not None else 0
        count = found.setdefault((label, domain), Counter())
        for split, code in SPLITS.items():
            number = int(np.count_nonzero(splits[members] == code))
            count[split] += number if stream.limit is None else min(number, stream.limit)
    return tuple(
        ClassCount(
            task=group.name or str(group.index),
            label=label,
            name=listing.classes[label],
            images={
                split: found[label, group.index if recurring else 0][split] for split in SPLITS
            },
        )
        for group in stream.groups()
        for label in group.classes
    )
