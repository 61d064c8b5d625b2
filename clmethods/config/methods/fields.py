"""What every method's configuration has: what it is allowed to assume, and what acts when.

`effect(position, context)` says what, in effect, acts when the task at `position` is trained, in
canonical form. Stage keys, sharing and merging follow from it, so it must be exact: two runs with
equal effects up to a position must give equal bits there, and a field that is said to act must be
able to change them. `tests/clmethods/test_contract.py` holds every method to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from clmethods.catalog.facts import SITES, BackboneFacts
from clmethods.errors import ConfigIssue, finite, require

Site = Literal["q", "k", "v", "o", "f1", "f2"]
HeadKind = Literal["none", "moving", "settled"]
AInit = Literal["kaiming_ref", "kaiming_fan_in", "orthonormal", "complement"]
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
    """False where no task is ever trained, nor anything drawn."""
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

    def trains_at(self, position: int, context: EffectContext) -> bool:
        """Whether the task at `position` is trained: else the rates of `train` do not act."""
        return self.TRAINS

    def draws_at(self, position: int, context: EffectContext) -> bool:
        """Whether anything is drawn at `position`: else `seed` does not act."""
        return self.trains_at(position, context)

    @property
    def moves_snapshots(self) -> bool:
        """Whether later tasks change what an earlier snapshot computes."""
        return False

    def faults_in(self, context: EffectContext) -> list[ConfigIssue | None]:
        """Laws that only the whole run can break, such as more modules than a matrix has room."""
        return []

    def warnings_in(self, context: EffectContext) -> list[str]:
        """What is allowed in this run but hardly meant, a sentence each, for a plan to show."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class FullFields(MethodFields):
    """What the methods share that train every weight of the network."""

    body_lr_scale: float = 0.1
    """Learning rate of the backbone's weights over that of the head."""

    def full_faults(self) -> list[ConfigIssue | None]:
        """Broken laws of the shared fields."""
        scale = self.body_lr_scale
        return [*finite(self), require(scale >= 0, "body_lr_scale", scale, "0 or more")]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFields(MethodFields):
    """What all low-rank methods share: where modules sit and how large they are."""

    rank: int = 16
    """r of the module of one task."""
    sites: tuple[Site, ...] = SITES  # type: ignore[assignment]  # a tuple of the same literals
    """Matrices adapted in each block; their order never matters."""
    depth: int | None = None
    """Number of leading blocks that are adapted; None is all of them, 0 is a linear probe."""

    @property
    def head(self) -> HeadKind:
        """Local cross-entropy: rows of other tasks are not even parameters."""
        return "settled"

    def adapter_faults(self) -> list[ConfigIssue | None]:
        """Broken laws of the shared fields."""
        return [
            *finite(self),
            require(self.rank >= 1, "rank", self.rank, "1 or more"),
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

    def smallest_fan_in(self, context: EffectContext) -> tuple[str, int]:
        """(site, a) of the adapted matrix with the least room for orthogonal rows."""
        fans = {site: context.backbone.fan(site)[0] for site in self.ordered_sites()}
        site = min(fans, key=lambda name: fans[name])
        return site, fans[site]

    def capacity_fault(self, context: EffectContext, modules: int, why: str) -> ConfigIssue | None:
        """The issue of `modules` modules whose A cannot all be orthogonal in some matrix.

        `why` names the setting that asks for it, such as `ortho_mode: project`.
        """
        if self.matrices(context.blocks) == 0:
            return None
        site, room = self.smallest_fan_in(context)
        each = f"{modules} modules of this rank have" if modules > 1 else "this rank has"
        return require(
            modules * self.rank <= room,
            "rank",
            self.rank,
            f"at most {room // modules} with {why}",
            f"At site {site!r}, whose fan-in is {room}, {each} to be orthogonal: lower the rank, "
            f"train fewer tasks, leave the site out or choose another setting than {why}.",
        )

    def adapter_effect(self, context: EffectContext) -> Effect:
        """The shared fields in canonical form; they act at every task that adapts something."""
        if self.matrices(context.blocks) == 0:
            return {"depth": 0}
        return {
            "rank": self.rank,
            "sites": list(self.ordered_sites()),
            "depth": self.adapted_blocks(context.blocks),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFields(AdapterFields):
    """Low-rank modules that start from a drawn A and are scaled as in LoRA."""

    lora_alpha: float = 1.0
    """The composed update is scaled by lora_alpha / rank; 1 is the public code's value."""
    a_init: AInit = "kaiming_ref"
    """Start of A: uniform within 1/sqrt(r), as in the public code, or within 1/sqrt(fan-in);
    orthonormal rows; orthonormal rows that are orthogonal to all earlier modules' A as well."""

    def lora_faults(self) -> list[ConfigIssue | None]:
        """Broken laws of the shared fields."""
        return [
            *self.adapter_faults(),
            require(self.lora_alpha > 0, "lora_alpha", self.lora_alpha, "greater than 0"),
        ]

    def faults_in(self, context: EffectContext) -> list[ConfigIssue | None]:
        """Capacity: orthonormal starts need as many dimensions as they have rows."""
        if self.a_init not in {"orthonormal", "complement"}:
            return []
        modules = self.orthonormal_modules(context)
        return [self.capacity_fault(context, modules, f"a_init: {self.a_init}")]

    def orthonormal_modules(self, context: EffectContext) -> int:
        """How many modules of rank r `a_init` makes orthogonal to each other in one matrix."""
        return context.tasks if self.a_init == "complement" else 1

    def lora_effect(self, context: EffectContext, position: int = 0) -> Effect:
        """The shared fields in canonical form; they act at every task that adapts something.

        `position` counts the modules that a matrix has already: with none, a complement is of
        nothing. A method whose A has no earlier modules leaves it out.
        """
        acts = self.adapter_effect(context)
        if self.matrices(context.blocks) == 0:
            return acts
        alone = self.a_init == "complement" and position == 0
        start = "orthonormal" if alone else self.a_init
        return acts | {"lora_alpha": self.lora_alpha, "a_init": start}
