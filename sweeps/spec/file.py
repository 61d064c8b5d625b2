"""The sweep file: YAML or a dict to a `Sweep`, strict, with all faults reported together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clmethods.config.faults import Fault, InvalidConfigError, nearest, refuse, require
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from sweeps.spec.configurations import (
    baseline_configurations,
    run_faults,
    searched,
    try_axes,
    try_baselines,
)
from sweeps.spec.orders import OrderDesign
from sweeps.spec.reading import plain, read_yaml
from sweeps.spec.runs import SECTIONS, CheckedRun, check_run
from sweeps.spec.space import Algorithm
from sweeps.spec.sweep import (
    DEFAULT_OBJECTIVES,
    METRICS,
    Configuration,
    Direction,
    Resources,
    Sweep,
)
from sweeps.spec.wording import validated


class RunSections(BaseModel):
    """The sections of a run, as far as they are written; `clmethods.config` gives their fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: dict[str, Any] = Field(default_factory=dict)
    stream: dict[str, Any] = Field(default_factory=dict)
    method: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)

    def sections(self) -> dict[str, dict[str, Any]]:
        """The sections that were written."""
        return {name: getattr(self, name) for name in SECTIONS if name in self.model_fields_set}


class BaselineFile(RunSections):
    """One entry under `baselines`: what differs from the base run."""

    label: str | None = None
    """How it is called in tables; None derives it from what differs."""


class SweepFile(RunSections):
    """What a person types. Types are checked here, laws across fields by `sweep_from_dict`."""

    name: str = ""
    """Name of the sweep's folder: letters, digits, - and _."""
    search: dict[str, Any] = Field(default_factory=dict)
    """Axes by dotted path: a list of values, or {uniform | log | integer: [low, high]}."""
    baselines: tuple[BaselineFile, ...] = ()
    readouts: tuple[ReadoutConfig, ...] = (ReadoutConfig(),)
    orders: OrderDesign = OrderDesign()
    seeds: tuple[int, ...] = (0,)
    algorithm: Algorithm = Algorithm()
    objectives: dict[str, Direction] = Field(default_factory=lambda: dict(DEFAULT_OBJECTIVES))
    resources: Resources = Resources()


def load_sweep(path: Path) -> Sweep:
    """The sweep that a YAML file specifies. Raises `InvalidConfigError` with every fault."""
    data, faults = read_yaml(path)
    return _build(data, faults)


def sweep_from_dict(data: Mapping[str, Any]) -> Sweep:
    """The sweep that a dict specifies; values may be the dataclasses themselves."""
    return _build(data, [])


def _build(written: Any, faults: Sequence[Fault]) -> Sweep:
    """Check every field by itself, then what they make together."""
    odd: list[Fault] = []
    document = plain(written, "", odd)
    if not isinstance(document, dict):
        raise InvalidConfigError([Fault("sweep", written, "a mapping of fields")])
    checked = validated(SweepFile, document)
    file = checked.value
    unsettled = {_head(fault.path) for fault in checked.faults}
    base = check_run(file.sections())
    baselines = [(baseline.label, baseline.sections()) for baseline in file.baselines]
    axes = try_axes(file.search, base, None if "algorithm" in unsettled else file.algorithm.kind)
    others = try_baselines([over for _, over in baselines], base)
    telling = _telling(file, base, [*axes.runs, *others.runs])
    own = [
        *_list_faults(file),
        *_readout_faults(file, base),
        *run_faults(telling, file.orders, file.resources),
    ]
    found = [
        *(*faults, *odd, *checked.faults),
        *(fault for fault in own if _head(fault.path) not in unsettled),
        *(*base.faults, *axes.faults, *others.faults),
    ]
    null = {fault.path for fault in odd}  # what is odd was read as null and may be refused twice
    refuse([fault for fault in found if fault.path not in null or fault in odd])

    search = searched(axes.axes, file.algorithm, base)
    configurations = (*search, *baseline_configurations(baselines, base, search))
    refuse(run_faults([c.run for c in configurations], file.orders, file.resources))
    refuse(_idle_readouts(file, configurations))
    return Sweep(
        name=file.name,
        base=base.run,
        axes=axes.axes,
        configurations=configurations,
        readouts=file.readouts,
        orders=file.orders,
        seeds=file.seeds,
        algorithm=file.algorithm,
        objectives=file.objectives,
        resources=file.resources,
        document=document,
    )


def _head(path: str) -> str:
    return re.split(r"[.\[]", path)[0]


def _telling(file: SweepFile, base: CheckedRun, tried: Sequence[RunConfig]) -> list[RunConfig]:
    """The runs that tell which orders and devices are needed; none if the base leaves it open."""
    decisive = {"stream.dataset", "stream.tasks", "train.device"}
    if decisive & {fault.path for fault in base.faults}:
        return []
    return [*tried] if decisive & set(file.search) else [base.run, *tried]


def _list_faults(file: SweepFile) -> list[Fault]:
    """Laws of the name, the lists and the mappings of the file itself."""
    seeds, objectives = file.seeds, file.objectives
    readouts = [readout.readout_id for readout in file.readouts]
    found = [
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", file.name) is not None,
            "name",
            file.name,
            "letters, digits, - and _, beginning with a letter or digit",
            "It names the folder of the results.",
        ),
        require(len(seeds) > 0, "seeds", [], "one or more whole numbers"),
        require(len(readouts) > 0, "readouts", [], "one or more readouts"),
        require(len(objectives) > 0, "objectives", {}, f"one or more of {list(METRICS)}"),
        *(
            require(seed not in seeds[:i], f"seeds[{i}]", seed, "each seed once")
            for i, seed in enumerate(seeds)
        ),
        *(
            require(name not in readouts[:i], f"readouts[{i}]", name, "each readout once")
            for i, name in enumerate(readouts)
        ),
        *(
            require(
                metric in METRICS,
                f"objectives.{metric}",
                direction,
                f"one of {list(METRICS)}",
                nearest(metric, METRICS),
            )
            for metric, direction in objectives.items()
        ),
    ]
    return [fault for fault in found if fault is not None]


def _readout_faults(file: SweepFile, base: CheckedRun) -> list[Fault]:
    """Objectives come from the first readout, so the searched method must support it."""
    if not base.kind_known or not file.readouts:
        return []
    mend = "Objectives are read from the first readout."
    return [
        replace(fault, mend=f"{fault.mend} {mend}".strip()).under("readouts[0]")
        for fault in file.readouts[0].faults_in(base.run)
    ]


def _idle_readouts(file: SweepFile, configurations: Sequence[Configuration]) -> list[Fault]:
    """Faults of readouts that no configuration supports; others leave out those that do not."""
    found: list[Fault] = []
    for index, readout in enumerate(file.readouts):
        faults = [readout.faults_in(configuration.run) for configuration in configurations]
        if all(faults):
            found += [fault.under(f"readouts[{index}]") for fault in faults[0]]
    return found
