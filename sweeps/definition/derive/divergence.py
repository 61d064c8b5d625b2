"""Divergence of two trials: the first stage whose keys differ, and the differing fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from clmethods.canonical import canonical_json
from clmethods.config.keys import StageSpec
from sweeps.definition.trials import TrialSpec


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Field that differs in effect; a value is None if the field does not act."""

    path: str
    first: object
    second: object


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Common stages of two trials, and the differences at the first stage that is not common."""

    shared: int
    """Number of common stages."""
    lengths: tuple[int, int]
    differences: tuple[Difference, ...]
    """Differences at the first stage that is not common; empty if one chain contains the other."""


def divergence(first: TrialSpec, second: TrialSpec) -> Divergence:
    """Compare the chains of two trials by the fields that act at each stage."""
    chains = first.chain, second.chain
    lengths = len(chains[0]), len(chains[1])
    shared = 0
    for first_stage, second_stage in zip(*chains, strict=False):
        if first_stage.key != second_stage.key:
            differences = differences_of(_acting(first_stage), _acting(second_stage))
            return Divergence(shared=shared, lengths=lengths, differences=tuple(differences))
        shared += 1
    return Divergence(shared=shared, lengths=lengths, differences=())


def _acting(stage: StageSpec) -> dict[str, object]:
    return {"task": list(stage.classes), **stage.effect}


def differences_of(first: object, second: object, path: str = "") -> list[Difference]:
    """Return the differences of two pieces of plain data by path; missing values are None."""
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
