"""What planning must know about backbones and datasets without loading torch or data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SITES = ("q", "k", "v", "o", "f1", "f2")
"""Adaptable matrices of a block: query, key, value, attention output, both MLP layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneFacts:
    """Shape of a Vision Transformer."""

    native_size: int
    """Side in pixels that the position embedding was made for."""
    patch_size: int
    width: int
    """D, the width of a token."""
    blocks: int
    heads: int
    mlp_ratio: int = 4
    shipped: bool = False
    """Whether weights ship with the package."""

    def fan(self, site: str) -> tuple[int, int]:
        """(a, b) = (fan-in, fan-out) of the matrix at `site`."""
        hidden = self.width * self.mlp_ratio
        return {"f1": (self.width, hidden), "f2": (hidden, self.width)}.get(
            site, (self.width, self.width)
        )


@dataclass(frozen=True, slots=True)
class GivenTask:
    """A task that the data itself names: a domain, or the `task` column of a manifest."""

    name: str
    classes: tuple[int, ...]
    """Original class ids, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Labels, tasks and version of a dataset."""

    version: str
    """Changes whenever an image, a label or a split changes; part of every stage key."""
    classes: int
    tasks: int
    """T where a stream does not say otherwise."""
    given: tuple[GivenTask, ...] = ()
    """Tasks that the data names; empty where classes are cut into tasks."""
    seeded_split: bool = False
    """Whether `split_seed` decides which images are test images, as none are given."""
    test_fraction: float = 0.2
    """Share of each class's images that then become test images."""
    given_validation: bool = False
    """Whether the data names its validation images, so that none are held out."""
    resize: Literal["stretch", "crop"] = "stretch"
    """How images come to the size of the backbone; see `StreamConfig.resize`."""
    images: int | None = None
    """Number of images of the whole original, if it is known: a smaller copy is refused."""
    embedded: bool = False
    """Whether the images ship with the package."""

    @property
    def recurring(self) -> bool:
        """Whether a class occurs in more than one task."""
        return sum(len(task.classes) for task in self.given) > self.classes


BACKBONES: dict[str, BackboneFacts] = {
    "nano_vit32": BackboneFacts(
        native_size=32, patch_size=4, width=128, blocks=6, heads=4, shipped=True
    ),
    "tiny_vit8": BackboneFacts(native_size=8, patch_size=4, width=16, blocks=2, heads=2),
}
"""`nano_vit32` is the embedded benchmark's; `tiny_vit8`, random only, makes tests fast."""


def _domains(classes: int, *names: str) -> tuple[GivenTask, ...]:
    return tuple(GivenTask(name, tuple(range(classes))) for name in names)


DOMAINNET = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
"""The six domains, in the alphabetical order of the original's files."""

DATASETS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts(version="1", classes=10, tasks=5, embedded=True),
    "glyph100": DatasetFacts(version="1", classes=100, tasks=10, embedded=True),
    "embedded4": DatasetFacts(version="1", classes=40, tasks=4, embedded=True),
    "digits-dil": DatasetFacts(
        version="1",
        classes=10,
        tasks=4,
        given=_domains(10, "plain", "inverted", "rotated", "noisy"),
        embedded=True,
    ),
    "cifar10": DatasetFacts(version="1", classes=10, tasks=5, images=60_000, resize="crop"),
    "cifar100": DatasetFacts(version="1", classes=100, tasks=10, images=60_000, resize="crop"),
    "mnist": DatasetFacts(version="1", classes=10, tasks=5, images=70_000),
    "fashion-mnist": DatasetFacts(version="1", classes=10, tasks=5, images=70_000),
    "kmnist": DatasetFacts(version="1", classes=10, tasks=5, images=70_000),
    "svhn": DatasetFacts(version="1", classes=10, tasks=5, images=99_289, resize="crop"),
    "notmnist": DatasetFacts(
        version="1", classes=10, tasks=5, seeded_split=True, test_fraction=0.1
    ),
    "5-datasets": DatasetFacts(
        version="1", classes=50, tasks=5, seeded_split=True, test_fraction=0.1, resize="crop"
    ),
    "imagenet-r": DatasetFacts(
        version="1", classes=200, tasks=10, images=30_000, seeded_split=True, resize="crop"
    ),
    "imagenet-a": DatasetFacts(
        version="1", classes=200, tasks=10, images=7_500, seeded_split=True, resize="crop"
    ),
    "cub200": DatasetFacts(version="1", classes=200, tasks=10, images=11_788, resize="crop"),
    "domainnet": DatasetFacts(version="1", classes=345, tasks=5, resize="crop"),
    "domainnet-dil": DatasetFacts(
        version="1", classes=345, tasks=6, given=_domains(345, *DOMAINNET), resize="crop"
    ),
}
"""Datasets whose classes and splits are known (method.md section 10)."""

USER_DATASETS = ("image-folder", "idx", "manifest")
"""Data of one's own: its classes are read from names, not from images, when a run is planned."""
