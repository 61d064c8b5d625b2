"""Which frozen Vision Transformer, with which weights, at which image size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.catalog.facts import ALIASES, BACKBONES, BackboneFacts
from clmethods.catalog.shapes import UnknownBackboneError, architecture_facts, split_tag
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require

Normalise = Literal["half", "none", "imagenet", "cifar", "ref"]

FORMATS = (".safetensors", ".npz", ".pth", ".pt", ".pth.tar")
"""How the name of a weights file ends: ours and timm's, the original JAX files, PyTorch's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """The pre-trained network that is never trained."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str = "nano_vit32"
    """`nano_vit32`, a timm Vision Transformer (with or without tag), or a key of `ALIASES`."""
    weights: str = "shipped"
    """`shipped` with the package, `random` (a control), `timm` (the tag's weights, from the local
    cache of the hub or downloaded), or the path of a file that ends as one of `FORMATS`."""
    weights_sha256: str | None = None
    """Checksum that the weights must have; filled in when the run is resolved."""
    image_size: int = 16
    """Side of the input in pixels; position embeddings are resampled to it."""
    normalise: Normalise = "half"
    """Mean and standard deviation per channel. `half`: 0.5 and 0.5; `imagenet`, `cifar`: those of
    the data; `none`: pixels stay in [0, 1]; `ref`: what the public code does, see `resolve`."""
    pooling: Literal["token", "avg"] = "token"
    """The feature is the class token, or the mean of the patch tokens as timm defines it."""

    def __post_init__(self) -> None:
        try:
            facts = self.facts
        except UnknownBackboneError as error:
            choices = f"a Vision Transformer of timm, or one of {_own_names()}"
            raise InvalidConfigError(
                [ConfigIssue("name", self.name, choices, str(error))]
            ) from error
        side, patch = self.image_size, facts.patch_size
        smallest = 2 * patch if facts.timm else patch  # one patch is never meant, our own apart
        of_file = self.weights.endswith(FORMATS)
        refuse(
            [
                require(
                    self.weights != "shipped" or facts.shipped,
                    "weights",
                    self.weights,
                    f"{self._choices()}, or `random`",
                    f"No weights of {self.name!r} ship with the package.",
                ),
                require(
                    of_file or self.weights in {"shipped", "random", "timm"},
                    "weights",
                    self.weights,
                    f"`shipped`, `random`, `timm`, or the path of a {', '.join(FORMATS)} file",
                ),
                require(
                    self.weights != "timm" or (facts.timm and bool(split_tag(self.timm_name)[1])),
                    "weights",
                    self.weights,
                    f"{self._choices()}, or `random`",
                    "`timm` needs a name with the tag of the weights, such as "
                    "vit_base_patch16_224.augreg_in21k.",
                ),
                require(
                    side >= smallest and side % patch == 0,
                    "image_size",
                    side,
                    f"a positive multiple of the patch size {patch}, {smallest} or more",
                    f"{self.name} was made for {facts.native_size}.",
                ),
                require(
                    self.pooling in facts.poolings,
                    "pooling",
                    self.pooling,
                    f"one of {list(facts.poolings)} with {self.name}",
                ),
            ]
        )

    @property
    def timm_name(self) -> str:
        """The name with an alias spelt out."""
        return ALIASES[self.name].timm if self.name in ALIASES else self.name

    @property
    def architecture(self) -> str:
        """The name of the architecture alone: a tag says where weights come from, no more."""
        return split_tag(self.timm_name)[0]

    @property
    def facts(self) -> BackboneFacts:
        """Shape of the network."""
        return architecture_facts(self.architecture)

    def identity(self) -> dict[str, object]:
        """What of the backbone changes results: weights by content, not by where they lie."""
        identity: dict[str, object] = {
            "name": self.architecture,
            "weights": self.weights_sha256 or self.weights,
            "image_size": self.image_size,
            "normalise": self.normalise,
        }
        if self.pooling != "token":
            identity["pooling"] = self.pooling
        return identity

    def _choices(self) -> str:
        alias = ALIASES.get(self.name)
        return f"the path of {alias.file}" if alias else f"the path of a {FORMATS[0]} file"


def _own_names() -> list[str]:
    return sorted([*ALIASES, *(name for name, facts in BACKBONES.items() if not facts.timm)])
