"""What planning must know about backbones and datasets without loading torch or data."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Labels and version of a dataset."""

    version: str
    """Changes whenever an image, a label or a split changes; part of every stage key."""
    classes: int
    domain: str = ""
    """Keeps tasks with equal labels but different images apart."""


BACKBONES: dict[str, BackboneFacts] = {
    "nano_vit32": BackboneFacts(
        native_size=32, patch_size=4, width=128, blocks=6, heads=4, shipped=True
    ),
    "tiny_vit8": BackboneFacts(native_size=8, patch_size=4, width=16, blocks=2, heads=2),
}
"""`nano_vit32` is the embedded benchmark's; `tiny_vit8`, random only, makes tests fast."""

DATASETS: dict[str, DatasetFacts] = {
    "digits": DatasetFacts(version="1", classes=10),
    "glyph100": DatasetFacts(version="1", classes=100),
}
