"""Configuration of the frozen Vision Transformer: architecture, weights and image size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.canonical import JsonValue
from clmethods.catalog.facts import ALIASES, BACKBONES, BackboneFacts
from clmethods.catalog.shapes import UnknownBackboneError, architecture_facts, split_tag
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require

Normalise = Literal["half", "none", "imagenet", "cifar", "ref"]

FORMATS = (".safetensors", ".npz", ".pth", ".pt", ".pth.tar", ".ckpt")
"""File name extensions of weights: of this package and timm, of the original JAX files, and of
PyTorch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """Pre-trained network that is not trained."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str = "nano_vit32"
    """`nano_vit32`, a Vision Transformer of timm (with or without tag), or a key of `ALIASES`."""
    weights: str = "shipped"
    """Source of the weights: `shipped` with the package; `random` (a control); `timm`, the weights
    of the tag, from the local cache of the hub or downloaded; or the path of a file with one of
    the extensions in `FORMATS`."""
    weights_sha256: str | None = None
    """Required SHA-256 checksum of the weights; set when the run is resolved."""
    weights_network: str | None = None
    """Network to read from a weights file with several networks: the prefix of its tensors, such
    as `model`, `ema_model` or `teacher.backbone`, or `.` for tensors without a prefix."""
    image_size: int = 16
    """Side of the input in pixels. Position embeddings are resampled to it."""
    normalise: Normalise = "half"
    """Normalization with mean and standard deviation per channel. `half`: 0.5 and 0.5; `imagenet`,
    `cifar`: statistics of the dataset; `none`: pixels stay in [0, 1]; `ref`: as in the public
    code, see `resolve`."""
    pooling: Literal["token", "avg"] = "token"
    """Feature of an image: the class token, or the mean of the patch tokens as defined by timm."""

    def __post_init__(self) -> None:
        try:
            facts = self.facts
        except UnknownBackboneError as error:
            choices = f"a Vision Transformer of timm, or one of {_names_outside_timm()}"
            raise InvalidConfigError(
                [ConfigIssue("name", self.name, choices, str(error))]
            ) from error
        side, patch = self.image_size, facts.patch_size
        # A single patch is a mistake, except for the small backbones of this package.
        smallest = 2 * patch if facts.timm else patch
        is_file = self.weights.endswith(FORMATS)
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
                    is_file or self.weights in {"shipped", "random", "timm"},
                    "weights",
                    self.weights,
                    f"`shipped`, `random`, `timm`, or the path of a {', '.join(FORMATS)} file",
                ),
                require(
                    self.weights != "timm" or (facts.timm and bool(split_tag(self.timm_name)[1])),
                    "weights",
                    self.weights,
                    f"{self._choices()}, or `random`",
                    "`timm` requires a name with the tag of the weights, such as "
                    "vit_base_patch16_224.augreg_in21k.",
                ),
                require(
                    side >= smallest and side % patch == 0,
                    "image_size",
                    side,
                    f"a positive multiple of the patch size {patch}, {smallest} or more",
                    f"The native image size of {self.name} is {facts.native_size}.",
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
        """Name in timm; an alias is replaced by the name that it stands for."""
        return ALIASES[self.name].timm if self.name in ALIASES else self.name

    @property
    def architecture(self) -> str:
        """Name of the architecture without tag, because a tag only identifies weights."""
        return split_tag(self.timm_name)[0]

    @property
    def facts(self) -> BackboneFacts:
        """Shape of the network. Raises `UnknownBackboneError` for an unknown architecture."""
        return architecture_facts(self.architecture)

    def identity(self) -> dict[str, JsonValue]:
        """Return the properties that affect results. Weights are identified by their checksum."""
        identity: dict[str, JsonValue] = {
            "name": self.architecture,
            "weights": self.weights_sha256 or self.weights,
            "image_size": self.image_size,
            "normalise": self.normalise,
        }
        if self.weights_network is not None:
            identity["weights_network"] = self.weights_network
        if self.pooling != "token":
            identity["pooling"] = self.pooling
        return identity

    def _choices(self) -> str:
        alias = ALIASES.get(self.name)
        return f"the path of {alias.file}" if alias else f"the path of a {FORMATS[0]} file"


def _names_outside_timm() -> list[str]:
    return sorted([*ALIASES, *(name for name, facts in BACKBONES.items() if not facts.timm)])
