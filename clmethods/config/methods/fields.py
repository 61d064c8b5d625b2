"""What every method's configuration has: what it is allowed to assume, and what acts when.

`effect(position, context)` says what, in effect, acts when the task at `position` is trained, in
canonical form. Stage keys, sharing and merging follow from it, so it must be exact: two runs with
equal effects up to a position must give equal bits there, and a field that is said to act must be
able to change them. `tests/clmethods/test_contract.py` holds every method to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from clmethods.config.facts import SITES, BackboneFacts
from clmethods.config.faults import Fault, finite, require

Site = Literal["q", "k", "v", "o", "f1", "f2"]
HeadKind = Literal["none", "moving", "settled"]
Effect = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EffectContext:
    """What a method must know of the rest of the run to say what acts."""

    tasks: int
    """T of the stream."""
    backbone: BackboneFacts

    @property
    def blocks(self) -> int:
        """Blocks of the backbone."""
        return self.backbone.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFields:
    """Base of every method's configuration; a subclass adds its `kind` and its fields."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    VERSION: ClassVar[int] = 1
    """Bumped when the method's meaning changes."""
    TRAINS: ClassVar[bool] = True
    """False where nothing is trained and nothing drawn: `train` and `seed` then do not act."""
    ORDER_FREE: ClassVar[bool] = False
    """Whether one stage sees all tasks at once."""
    REFERENCE: ClassVar[bool] = False
    """A line in a plot, not a point on a front."""
    RECURRING_CLASSES: ClassVar[bool] = False
    """Whether a class may come back in a later task, as in a domain-incremental stream."""
    ROUTINGS: ClassVar[tuple[str, ...]] = ("last",)
    """Routings of a readout that the method's snapshots allow."""

    @property
    def head(self) -> HeadKind:
        """What a readout may assume of the linear head `head.weight`, `head.bias` in the state.

        `settled`: training neither reads nor moves the rows of classes learned earlier; `moving`:
        it may; `none`: the method has no such head.
        """
        return "none"

    def effect(self, position: int, context: EffectContext) -> Effect:
        """What acts at `position`."""
        raise NotImplementedError

    def faults_in(self, context: EffectContext) -> list[Fault | None]:
        """Laws that only the whole run can break, such as more modules than a matrix has room."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFields(MethodFields):
    """What all LoRA methods share: where adapters sit and how large they are."""

    rank: int = 16
    """r of the module of one task."""
    lora_alpha: float = 1.0
    """The composed update is scaled by lora_alpha / rank; 1 is the public code's value."""
    sites: tuple[Site, ...] = SITES  # type: ignore[assignment]  # a tuple of the same literals
    """Matrices adapted in each block; their order never matters."""
    depth: int | None = None
    """Number of leading blocks that are adapted; None is all of them, 0 is a linear probe."""
    a_init: Literal["kaiming_ref", "kaiming_fan_in"] = "kaiming_ref"
    """Uniform within 1/sqrt(r), as in the public code, or within 1/sqrt(fan-in)."""

    @property
    def head(self) -> HeadKind:
        """Local cross-entropy: rows of other tasks are not even parameters."""
        return "settled"

    def lora_faults(self) -> list[Fault | None]:
        """Broken laws of the shared fields."""
        return [
            *finite(self),
            require(self.rank >= 1, "rank", self.rank, "1 or more"),
            require(self.lora_alpha > 0, "lora_alpha", self.lora_alpha, "greater than 0"),
            require(
                len(self.sites) > 0 and len(set(self.sites)) == len(self.sites),
                "sites",
                self.sites,
                f"one or more of {list(SITES)}, each once",
            ),
            require(self.depth is None or self.depth >= 0, "depth", self.depth, "0 or more"),
        ]

    def ordered_sites(self) -> tuple[str, ...]:
        """The adapted sites in the order of `SITES`."""
        return tuple(site for site in SITES if site in self.sites)

    def adapted_blocks(self, blocks: int) -> int:
        """Number of leading blocks with adapters, in a backbone of `blocks`."""
        return blocks if self.depth is None else min(self.depth, blocks)

    def matrices(self, blocks: int) -> int:
        """M: number of adapted matrices."""
        return self.adapted_blocks(blocks) * len(self.sites)

    def lora_effect(self, context: EffectContext) -> Effect:
        """The shared fields in canonical form; they act at every task that adapts something."""
        if self.matrices(context.blocks) == 0:
            return {"depth": 0}
        return {
            "rank": self.rank,
            "lora_alpha": self.lora_alpha,
            "sites": list(self.ordered_sites()),
            "depth": self.adapted_blocks(context.blocks),
            "a_init": self.a_init,
        }
