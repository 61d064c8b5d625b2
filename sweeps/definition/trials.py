"""Trials of a sweep: configurations x pairs of order and seed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from clmethods.canonical import canonical_json
from clmethods.config.from_dict import run_from_dict
from clmethods.config.keys import StageSpec, stage_chain
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from sweeps.definition.configuration import Configuration, Role
from sweeps.definition.orders import Order
from sweeps.definition.sweep import Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """Training chain with its readouts."""

    trial_id: str
    """Id of the resolved run; it depends neither on the sweep nor on readouts."""
    config_id: str
    order_id: str
    seed: int
    label: str
    """Label of the configuration, shared by all orders and seeds."""
    role: Role
    factors: dict[str, object]
    run: RunConfig
    readouts: tuple[ReadoutConfig, ...]

    @property
    def name(self) -> str:
        """Readable name: configuration, order, seed."""
        return f"{self.label}, order {self.order_id}, seed {self.seed}"

    @property
    def chain(self) -> tuple[StageSpec, ...]:
        """Stages in order."""
        return stage_chain(self.run)

    def to_json(self) -> str:
        """Return canonical JSON, the format in which trials are passed through Ray."""
        return canonical_json(self)

    @classmethod
    def from_json(cls, text: str) -> TrialSpec:
        """Return the trial that `to_json` serialized."""
        data = json.loads(text)
        run = run_from_dict(data.pop("run"))
        readouts = tuple(ReadoutConfig(**readout) for readout in data.pop("readouts"))
        return cls(run=run, readouts=readouts, **data)


def expand(sweep: Sweep) -> tuple[TrialSpec, ...]:
    """Return all trials that the file defines; `sweeps.search` adds those of proposals.

    A trial that belongs to two configurations is returned once, for the first of them.
    """
    return trials_of(sweep, sweep.configurations)


def trials_of(sweep: Sweep, configurations: Iterable[Configuration]) -> tuple[TrialSpec, ...]:
    """Return the trials of some configurations, all with the same pairs of order and seed."""
    trials: dict[str, TrialSpec] = {}
    ordered = lru_cache(maxsize=4096)(_ordered)  # most configurations have the same stream
    for configuration in configurations:
        readouts = sweep.readouts_for(configuration.run)
        config_id = configuration.run.config_id
        for order, seed in sweep.replicates_for(configuration.run):
            stream = ordered(configuration.run.stream, order)
            run = configuration.run.unchecked(configuration.run.backbone, stream, seed)
            trial = TrialSpec(
                trial_id=run.trial_id,
                config_id=config_id,
                order_id=run.order_id,
                seed=seed,
                label=configuration.label,
                role=configuration.role,
                factors=configuration.factors,
                run=run,
                readouts=readouts,
            )
            trials.setdefault(trial.trial_id, trial)
    return tuple(trials.values())


def _ordered(stream: StreamConfig, order: Order) -> StreamConfig:
    return replace(stream, task_order=order)
