"""Base classes of the method configurations: shared fields, properties and effects.

`effect(position, context)` returns the settings that influence the training of the task at
`position`, in canonical form. Stage keys and the sharing of stages are derived from it, so it must
be exact. Two runs with equal effects up to a position must have bit-for-bit equal states there.
Conversely, every field in an effect must be able to change the state.
`tests/clmethods/test_contract.py` tests both conditions for every method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.canonical import JsonValue
from clmethods.catalog.facts import SITES
from clmethods.config.methods.run_shapes import EffectContext as EffectContext
from clmethods.config.methods.run_shapes import (
    GroupsByStage,
    RunShapes,
    Size,
    head,
    module_sizes,
    network,
)
from clmethods.errors import ConfigIssue, finite, require

Site = Literal["q", "k", "v", "o", "f1", "f2"]
HeadKind = Literal["none", "moving", "settled"]
AInit = Literal["kaiming_ref", "kaiming_fan_in", "orthonormal", "complement"]
Effect = dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFields(ABC):
    """Base class of all method configurations; a subclass adds its `kind` and its fields."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    VERSION: ClassVar[int] = 1
    """Version of the method, increased when the method computes different results."""
    TRAINS: ClassVar[bool] = True
    """False if the method never trains a task and uses no random numbers."""
    ORDER_FREE: ClassVar[bool] = False
    """True if the method trains on all tasks at once, in a single stage."""
    REFERENCE: ClassVar[bool] = False
    """True if plots show the method as a reference line, not as a point of the front."""
    RECURRING_CLASSES: ClassVar[bool] = False
    """True if a class may occur in several tasks, as in a domain-incremental stream."""
    ROUTINGS: ClassVar[tuple[str, ...]] = ("last",)
    """Routings of a readout that are supported by the snapshots of the method."""

    @property
    def head(self) -> HeadKind:
        """Kind of the linear head `head.weight`, `head.bias` in the state.

        `settled`: training neither uses nor changes the rows of classes learned earlier;
        `moving`: training may use or change them; `none`: the method has no such head.
        """
        return "none"

    @abstractmethod
    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act at `position`, in canonical form."""

    @abstractmethod
    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the sizes of the tensors that each stage stores, which `end_task` returns.

        If a shape depends on data, the largest possible one is used; `clmethods.forecast.memory`
        lists these cases.
        """

    def trains_at(self, position: int, context: EffectContext) -> bool:
        """Return True if the task at `position` is trained.

        If it is not trained, only `precision`, `tf32`, `device` and `threads` of `train` act.
        """
        return self.TRAINS

    def draws_at(self, position: int, context: EffectContext) -> bool:
        """Return True if random numbers are drawn at `position`; else `seed` does not act."""
        return self.trains_at(position, context)

    @property
    def moves_snapshots(self) -> bool:
        """True if later tasks change the outputs of earlier snapshots."""
        return False

    def issues_in(self, context: EffectContext) -> list[ConfigIssue | None]:
        """Return issues that depend on the whole run, such as too many modules for a matrix.

        An entry None is a check that passed.
        """
        return []

    def warnings_in(self, context: EffectContext) -> list[str]:
        """Return warnings about settings that are valid but probably unintended.

        Each warning is a sentence. `sweeps plan` prints them.
        """
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class FullFields(MethodFields):
    """Shared fields of the methods that train all weights of the network."""

    body_lr_scale: float = 0.1
    """Ratio of the backbone's learning rate to that of the head."""

    def full_issues(self) -> list[ConfigIssue | None]:
        """Return the issues of the shared fields; an entry None is a check that passed."""
        scale = self.body_lr_scale
        return [*finite(self), require(scale >= 0, "body_lr_scale", scale, "0 or more")]

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and all weights of the network, which every stage replaces."""
        return [head(shapes) | {"vit": network(shapes)}] * len(shapes.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFields(MethodFields):
    """Shared fields of all low-rank methods: position and size of the modules."""

    rank: int = 16
    """r, the rank of the module of one task."""
    sites: tuple[Site, ...] = SITES  # type: ignore[assignment]  # a tuple of the same literals
    """Matrices that are adapted in each block. Their order has no effect."""
    depth: int | None = None
    """Number of adapted blocks, counted from the input. None adapts all blocks; 0 is a linear
    probe."""

    @property
    def head(self) -> HeadKind:
        """`settled`: with local cross-entropy, rows of other tasks are not parameters."""
        return "settled"

    def adapter_issues(self) -> list[ConfigIssue | None]:
        """Return the issues of the shared fields; an entry None is a check that passed."""
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
        """Return the adapted sites in the order of `SITES`."""
        return tuple(site for site in SITES if site in self.sites)

    def adapted_blocks(self, blocks: int) -> int:
        """Return the number of adapted blocks in a backbone of `blocks` blocks."""
        return blocks if self.depth is None else min(self.depth, blocks)

    def matrices(self, blocks: int) -> int:
        """Return M, the number of adapted matrices."""
        return self.adapted_blocks(blocks) * len(self.sites)

    def module_sizes(self, shapes: RunShapes, rank: int) -> tuple[Size, ...]:
        """Return the size of A and B of the n largest adapted matrices, for n from 0 to all."""
        fans = tuple(shapes.facts.fan(site) for site in self.ordered_sites())
        return module_sizes(fans, self.adapted_blocks(shapes.facts.blocks), rank, shapes.word)

    def stored_in_one_module(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and one module per matrix, which every stage replaces."""
        module = self.module_sizes(shapes, self.rank)[-1]
        return [head(shapes) | {"lora": module}] * len(shapes.stages)

    def stored_in_module_each(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and a new module per matrix for every stage."""
        module = self.module_sizes(shapes, self.rank)[-1]
        return [head(shapes) | {f"lora.{t}": module} for t in range(len(shapes.stages))]

    def smallest_fan_in(self, context: EffectContext) -> tuple[str, int]:
        """Return (site, a) of the adapted matrix with the smallest fan-in a."""
        fans = {site: context.backbone.fan(site)[0] for site in self.ordered_sites()}
        site = min(fans, key=lambda name: fans[name])
        return site, fans[site]

    def capacity_issue(self, context: EffectContext, modules: int, why: str) -> ConfigIssue | None:
        """Return an issue if the rows of A of `modules` modules cannot all be orthogonal.

        Orthogonal rows need `modules` times `rank` dimensions, at most the smallest fan-in. `why`
        is the setting that requires orthogonal rows, such as `ortho_mode: project`.
        """
        if self.matrices(context.blocks) == 0:
            return None
        site, fan_in = self.smallest_fan_in(context)
        each = f"{modules} modules of this rank" if modules > 1 else "the rows of this rank"
        return require(
            modules * self.rank <= fan_in,
            "rank",
            self.rank,
            f"at most {fan_in // modules} with {why}",
            f"At site {site!r}, whose fan-in is {fan_in}, {each} must be orthogonal: lower the "
            f"rank, train fewer tasks, remove the site, or change {why}.",
        )

    def adapter_effect(self, context: EffectContext) -> Effect:
        """Return the shared fields in canonical form; they act at every task with adapters."""
        if self.matrices(context.blocks) == 0:
            return {"depth": 0}
        return {
            "rank": self.rank,
            "sites": list(self.ordered_sites()),
            "depth": self.adapted_blocks(context.blocks),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFields(AdapterFields):
    """Shared fields of methods with LoRA modules: random initial A, scaling by lora_alpha / r."""

    lora_alpha: float = 1.0
    """Numerator of the scale lora_alpha / rank of the composed update. The public code uses 1."""
    a_init: AInit = "kaiming_ref"
    """Initialization of A. `kaiming_ref`: uniform in ±1/sqrt(r), as in the public code;
    `kaiming_fan_in`: uniform in ±1/sqrt(fan-in); `orthonormal`: orthonormal rows; `complement`:
    orthonormal rows that are also orthogonal to A of all earlier modules."""

    def lora_issues(self) -> list[ConfigIssue | None]:
        """Return the issues of the shared fields; an entry None is a check that passed."""
        return [
            *self.adapter_issues(),
            require(self.lora_alpha > 0, "lora_alpha", self.lora_alpha, "greater than 0"),
        ]

    def issues_in(self, context: EffectContext) -> list[ConfigIssue | None]:
        """Return an issue if an orthonormal initial A has more rows than dimensions."""
        if self.a_init not in {"orthonormal", "complement"}:
            return []
        modules = self.orthonormal_modules(context)
        return [self.capacity_issue(context, modules, f"a_init: {self.a_init}")]

    def orthonormal_modules(self, context: EffectContext) -> int:
        """Return the number of modules per matrix that `a_init` makes orthogonal to each other."""
        return context.tasks if self.a_init == "complement" else 1

    def lora_effect(self, context: EffectContext, position: int = 0) -> Effect:
        """Return the shared fields in canonical form; they act at every task with adapters.

        `position` is the number of earlier modules of a matrix. Without earlier modules,
        `complement` has the effect of `orthonormal`. Methods without earlier modules omit it.
        """
        acts = self.adapter_effect(context)
        if self.matrices(context.blocks) == 0:
            return acts
        first = self.a_init == "complement" and position == 0
        a_init = "orthonormal" if first else self.a_init
        return acts | {"lora_alpha": self.lora_alpha, "a_init": a_init}
