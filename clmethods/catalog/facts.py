"""Facts about backbones and datasets that planning needs without loading torch or data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SITES = ("q", "k", "v", "o", "f1", "f2")
"""Matrices of a block that can be adapted: query, key, value, attention output, MLP layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneFacts:
    """Shape of a Vision Transformer."""

    native_size: int
    """Side of an image in pixels that matches the position embedding."""
    patch_size: int
    width: int
    """D, the embedding dimension of a token."""
    blocks: int
    heads: int
    mlp_ratio: float = 4
    shipped: bool = False
    """True if weights ship with the package."""
    timm: bool = False
    """True if timm builds the network under this name; else it is built from the fields above."""
    poolings: tuple[str, ...] = ("token", "avg")
    """Supported poolings of the tokens; `token` needs a class token."""

    def fan(self, site: str) -> tuple[int, int]:
        """Return (a, b) = (fan-in, fan-out) of the matrix at `site`."""
        hidden = round(self.width * self.mlp_ratio)
        return {"f1": (self.width, hidden), "f2": (hidden, self.width)}.get(
            site, (self.width, self.width)
        )


@dataclass(frozen=True, slots=True)
class GivenTask:
    """Task that the dataset defines: a domain, or a value of the `task` column of a manifest."""

    name: str
    classes: tuple[int, ...]
    """Original class ids in ascending order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Labels, tasks and version of a dataset."""

    version: str
    """Version of the data. It changes whenever an image, a label or a split changes, and it is
    part of every stage key."""
    classes: int
    tasks: int
    """Default of T, the number of tasks of a stream."""
    given: tuple[GivenTask, ...] = ()
    """Tasks that the dataset defines; empty if a stream groups the classes into tasks."""
    seeded_split: bool = False
    """True if the dataset has no test split, so that `split_seed` selects the test images."""
    test_fraction: float = 0.2
    """Fraction of the images of each class that a seeded split assigns to the test set."""
    given_validation: bool = False
    """True if the dataset defines its validation images, so that none are held out."""
    resize: Literal["stretch", "crop"] = "stretch"
    """Default resizing of images to the size of the backbone; see `StreamConfig.resize`."""
    images: int | None = None
    """Number of images of the complete dataset, if known. An incomplete copy is rejected."""
    embedded: bool = False
    """True if the images ship with the package."""
    class_names: tuple[str, ...] = ()
    """Class names by class id; empty if they are not known. Names are not part of stage keys."""
    content: str = ""
    """Fingerprint of the content of the user's own files; empty if it was not computed. It is
    compared before training and evaluation, and is not part of stage keys."""

    @property
    def recurring(self) -> bool:
        """True if a class occurs in more than one task."""
        return sum(len(task.classes) for task in self.given) > self.classes


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneAlias:
    """Architecture and weights that a short name stands for."""

    timm: str
    """Name in timm, with the tag of the weights if the model hub has them."""
    file: str
    """Published file that `weights` may point to, and its source."""


_SIZES = {
    "tiny": {"width": 192, "blocks": 12, "heads": 3},
    "small": {"width": 384, "blocks": 12, "heads": 6},
    "base": {"width": 768, "blocks": 12, "heads": 12},
    "large": {"width": 1024, "blocks": 24, "heads": 16},
}
"""Sizes that ViT, DeiT and DINOv2 share."""

_FAMILIES: dict[str, tuple[int, int, str, tuple[str, ...]]] = {
    "vit_{}_patch16_224": (224, 16, "tiny small base large", ("token", "avg")),
    "vit_{}_patch16_384": (384, 16, "tiny small base large", ("token", "avg")),
    "deit_{}_patch16_224": (224, 16, "tiny small base", ("token", "avg")),
    "deit_{}_distilled_patch16_224": (224, 16, "tiny small base", ("token",)),
    "deit3_{}_patch16_224": (224, 16, "small base large", ("token", "avg")),
    "vit_{}_patch14_dinov2": (518, 14, "small base large", ("token", "avg")),
    "vit_{}_patch14_reg4_dinov2": (518, 14, "small base large", ("token", "avg")),
}
"""Native size, patch size, sizes and poolings of the timm families that are known without timm."""

BACKBONES: dict[str, BackboneFacts] = {
    "nano_vit32": BackboneFacts(
        native_size=32, patch_size=4, width=128, blocks=6, heads=4, shipped=True
    ),
    "tiny_vit8": BackboneFacts(native_size=8, patch_size=4, width=16, blocks=2, heads=2),
    "test_vit": BackboneFacts(
        native_size=160, patch_size=16, width=64, blocks=6, heads=2, mlp_ratio=3, timm=True
    ),
    **{
        family.format(size): BackboneFacts(
            native_size=native,
            patch_size=patch,
            width=_SIZES[size]["width"],
            blocks=_SIZES[size]["blocks"],
            heads=_SIZES[size]["heads"],
            timm=True,
            poolings=poolings,
        )
        for family, (native, patch, sizes, poolings) in _FAMILIES.items()
        for size in sizes.split()
    },
}
"""Facts by architecture. `nano_vit32` belongs to the embedded benchmark. `tiny_vit8`, which has
random weights only, and `test_vit` of timm keep tests fast. Facts of other timm architectures are
queried from timm when an architecture is used for the first time (`clmethods.catalog.shapes`)."""

ALIASES: dict[str, BackboneAlias] = {
    "sup21k": BackboneAlias(
        timm="vit_base_patch16_224.orig_in21k",
        file="ViT-B_16.npz of the folder imagenet21k among Google's ViT models",
    ),
    "sup21k_augreg": BackboneAlias(
        timm="vit_base_patch16_224.augreg_in21k",
        file="B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0.npz of the folder augreg "
        "among Google's ViT models",
    ),
    "moco1k": BackboneAlias(
        timm="vit_base_patch16_224",
        file="vit-b-300ep.pth.tar of the MoCo v3 repository (ViT-Base, 300 epochs)",
    ),
}
"""Backbones of the paper (docs/method.md section 8). All three are ViT-B/16."""


def _domains(classes: int, *names: str) -> tuple[GivenTask, ...]:
    return tuple(GivenTask(name, tuple(range(classes))) for name in names)


DOMAINNET = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
"""The six domains in the alphabetical order of the original files."""

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
"""Facts of the built-in datasets by name (docs/method.md section 10)."""

USER_DATASETS = ("image-folder", "idx", "manifest")
"""Dataset names for the user's own data. Planning reads its classes from file and column names and
does not read images."""
