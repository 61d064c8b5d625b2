"""Where two trials part: the first stage whose keys differ, and the fields that part them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from clmethods.canonical import canonical_json
from clmethods.config.keys import StageSpec
from sweeps.definition.trials import TrialSpec


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that acts differently; a value of None means that it does not act at all."""

    path: str
    first: Any
    second: Any


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """How far two trials go together, and why no further."""

    shared: int
    """Number of stages that both share."""
    lengths: tuple[int, int]
    differences: tuple[Difference, ...]
    """At the first stage that they do not share; empty if one chain is part of the other."""


def divergence(first: TrialSpec, second: TrialSpec) -> Divergence:
    """Compare the chains of two trials by what, in effect, acts at each stage."""
    chains = first.chain, second.chain
    lengths = len(chains[0]), len(chains[1])
    shared = 0
    for one, other in zip(*chains, strict=False):
        if one.key != other.key:
            differences = differences_of(_acting(one), _acting(other))
            return Divergence(shared=shared, lengths=lengths, differences=tuple(differences))
        shared += 1
    return Divergence(shared=shared, lengths=lengths, differences=())


def _acting(stage: StageSpec) -> dict[str, Any]:
    return {"task": list(stage.classes), **stage.effect}


def differences_of(first: Any, second: Any, path: str = "") -> list[Difference]:
    """Where two pieces of plain data differ, by dotted path; what is missing is None."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return [
            difference
            for name in dict.fromkeys([*first, *second])
            for difference in differences_of(
                first.get(name), second.get(name), f"{path}.{name}" if path else str(name)
            )
        ]
    if canonical_json(first) == canonical_json(second):
        return []
    return [Difference(path=path, first=first, second=second)]
