"""Which frozen Vision Transformer, with which weights, at which image size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.facts import BACKBONES, BackboneFacts
from clmethods.config.faults import nearest, refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """The pre-trained network that is never trained."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str = "nano_vit32"
    """Architecture, a key of `clmethods.config.facts.BACKBONES`."""
    weights: str = "shipped"
    """`shipped` with the package, `random` (a control), or the path of a .safetensors file."""
    weights_sha256: str | None = None
    """Checksum that the weights must have; filled in when the run is resolved."""
    image_size: int = 16
    """Side of the input in pixels; position embeddings are resampled to it."""
    normalise: Literal["half", "none"] = "half"
    """`half`: mean 0.5, std 0.5 per channel; `none`: pixels stay in [0, 1]."""

    def __post_init__(self) -> None:
        facts = BACKBONES.get(self.name)
        patch = facts.patch_size if facts else 1
        refuse(
            [
                require(
                    facts is not None,
                    "name",
                    self.name,
                    f"one of {sorted(BACKBONES)}",
                    nearest(self.name, list(BACKBONES)),
                ),
                require(
                    facts is None or self.weights != "shipped" or facts.shipped,
                    "weights",
                    self.weights,
                    "`random` or the path of a .safetensors file",
                    f"No weights of {self.name!r} ship with the package.",
                ),
                require(
                    self.weights in {"shipped", "random"} or self.weights.endswith(".safetensors"),
                    "weights",
                    self.weights,
                    "`shipped`, `random`, or the path of a .safetensors file",
                ),
                require(
                    self.image_size >= patch and self.image_size % patch == 0,
                    "image_size",
                    self.image_size,
                    f"a positive multiple of the patch size {patch}",
                ),
            ]
        )

    @property
    def facts(self) -> BackboneFacts:
        """Shape of the network."""
        return BACKBONES[self.name]

    def identity(self) -> dict[str, object]:
        """What of the backbone changes results: weights by content, not by where they lie."""
        return {
            "name": self.name,
            "weights": self.weights_sha256 or self.weights,
            "image_size": self.image_size,
            "normalise": self.normalise,
        }
