"""Configuration: one setting of all hyperparameters, trained in each order with each seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from clmethods.canonical import canonical_json
from clmethods.config.run import RunConfig

Role = Literal["search", "baseline", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Setting that is trained in each order and with each seed."""

    label: str
    """Short name, unique in the sweep except for replicates by class order or split."""
    role: Role
    factors: dict[str, object]
    """Point on the axes, or differences of a baseline from the base.

    Fields that do not act are left out; a part is `part.NAME`.
    """
    parts: dict[str, str] = field(default_factory=dict)
    """State `on` or `off` of each part of the ablation plan that acts here, by name."""
    run: RunConfig
    """Resolved run; its seed and task order are placeholders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Settings of the search that are equal in effect and share one configuration."""

    label: str
    """Label of the configuration."""
    idle: tuple[str, ...]
    """Fields and parts that do not act in it; they are left out of its factors."""
    settings: tuple[dict[str, object], ...]
    """Two or more points; the first one defines the label."""


def label_of(kind: str, factors: Mapping[str, object]) -> str:
    """Return a method with the given fields: `lorac_ipc importance_threshold=0.1`."""
    shown = {path: value for path, value in factors.items() if path != "method.kind"}
    pairs = [f"{path.split('.')[-1]}={_show(value)}" for path, value in shown.items()]
    return " ".join([kind, *pairs] if kind else pairs)


def _show(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(_show, value))
    return value if isinstance(value, str) else canonical_json(value)
