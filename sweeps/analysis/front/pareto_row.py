"""Rows of a Pareto table: one configuration under one readout with its objectives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class MeanEstimate(NamedTuple):
    """Mean of a metric with its interval; None where there is no value or no interval."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ParetoRow:
    """Configuration under a readout, on the images of one split."""

    config_id: str
    label: str
    role: str
    readout_id: str
    n_replicates: int
    """Number of runs with metrics."""
    n_missing: int
    """Number of runs without metrics."""
    interval: str
    """Description of the design of the intervals, or the reason why there are none."""
    stopped: bool
    """True if early stopping ended every run before its last stage."""
    approximate: bool
    """True if replicates are missing, so that the coverage is only approximate."""
    estimates: Mapping[str, MeanEstimate]
    """Mean and interval by objective, over the runs that have the objective."""
    n_fewer: int = 0
    """Number of runs by which another eligible configuration has more than this one."""
    on_front: bool = False


@dataclass(frozen=True, slots=True)
class FrontRow:
    """Configuration of the front table: results on validation and on test images."""

    validation: ParetoRow
    """Results that decide about the front."""
    test: Mapping[str, MeanEstimate] = field(default_factory=dict)
    """Objectives on test images."""
    p_front: float | None = None
    """Front membership probability; None if it is unknown, and for comparisons."""
    knee: bool = False

    @property
    def config_id(self) -> str:
        """Id of the configuration."""
        return self.validation.config_id

    @property
    def label(self) -> str:
        """Label of the configuration."""
        return self.validation.label

    @property
    def role(self) -> str:
        """`search`, `baseline` or `reference`."""
        return self.validation.role

    @property
    def n_replicates(self) -> int:
        """Number of runs with metrics."""
        return self.validation.n_replicates

    @property
    def on_front(self) -> bool:
        """True if no other searched configuration dominates it."""
        return self.validation.on_front

    def mean(self, metric: str) -> float | None:
        """Return the mean of an objective on validation images."""
        return self.validation.estimates[metric].mean

    def estimate(self, metric: str, split: str = "validation") -> MeanEstimate:
        """Return an objective with its interval on the images of a split."""
        found = self.validation.estimates if split == "validation" else self.test
        return found.get(metric, MeanEstimate())
