"""Fields of a sweep file, with their types."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from clmethods.config.readout import ReadoutConfig
from sweeps.definition.budget import Budget
from sweeps.definition.file.data_records import DataRecord
from sweeps.definition.file.extends import Layer
from sweeps.definition.file.run_sections import SECTIONS
from sweeps.definition.logging import Logging
from sweeps.definition.orders import OrderDesign
from sweeps.definition.replicate_design import ReplicateDesign
from sweeps.definition.resources import Resources
from sweeps.definition.retries import Retries
from sweeps.definition.space.ablation import AblationPlan
from sweeps.definition.space.sampling import Algorithm
from sweeps.definition.stopping import EarlyStop, Racing
from sweeps.definition.sweep import (
    DEFAULT_OBJECTIVES,
    Direction,
)
from sweeps.storage.options import StorageOptions


class RunSections(BaseModel):
    """Sections of a run, with the fields of `clmethods.config` that are written in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: dict[str, object] = Field(default_factory=dict)
    stream: dict[str, object] = Field(default_factory=dict)
    method: dict[str, object] = Field(default_factory=dict)
    train: dict[str, object] = Field(default_factory=dict)

    def sections(self) -> dict[str, dict[str, object]]:
        """Return the sections that are written in the file."""
        return {name: getattr(self, name) for name in SECTIONS if name in self.model_fields_set}


class BaselineFile(RunSections):
    """Entry of `baselines`: the differences from the base run."""

    label: str | None = None
    """Name in tables; null derives it from the differences."""


class SweepFile(RunSections):
    """Fields of a sweep file, with their types; `sweep_from_dict` also checks constraints."""

    name: str = ""
    """Name of the folder of the sweep: letters, digits, - and _."""
    extends: str | None = None
    """Shipped study, or path relative to this file, from which this file defines differences."""
    merged_from: tuple[Layer, ...] = ()
    """Files that `extends` refers to, from the farthest to the nearest; written by the program."""
    search: dict[str, object] = Field(default_factory=dict)
    """Axes by dotted path: a list of values, or {uniform | log | integer: [low, high]}.

    By the name of a section: a list of choices, each with its fields, an optional `label` and an
    optional `search` with its own axes.
    """
    where: tuple[str, ...] = ()
    """Conditions that each searched setting must meet."""
    ablation: AblationPlan = AblationPlan()
    baselines: tuple[BaselineFile, ...] = ()
    readouts: tuple[ReadoutConfig, ...] = (ReadoutConfig(),)
    orders: OrderDesign = OrderDesign()
    seeds: tuple[int, ...] = (0,)
    replicates: ReplicateDesign = ReplicateDesign()
    """Pairs of order and seed that are run; by default each order with each seed."""
    algorithm: Algorithm = Algorithm()
    objectives: dict[str, Direction] = Field(default_factory=lambda: dict(DEFAULT_OBJECTIVES))
    early_stop: EarlyStop | None = None
    racing: Racing | None = None
    resources: Resources = Resources()
    retries: Retries = Retries()
    logging: Logging = Logging()
    budget: Budget = Budget()
    storage: StorageOptions = StorageOptions()
    """Access to the storage; not part of stage keys or of the identity of the sweep."""
    data_records: tuple[DataRecord, ...] = ()
    """Facts of the user's own data when the sweep was run; written by the program."""
