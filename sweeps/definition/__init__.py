"""Definition of a sweep: sweep file, search space, task orders, trials; without torch or Ray."""

from sweeps.definition.budget import Budget
from sweeps.definition.configuration import Configuration, Merge
from sweeps.definition.derive.divergence import Difference, Divergence, divergence
from sweeps.definition.file.file_fields import SweepFile
from sweeps.definition.file.loading import load_sweep, sweep_from_dict
from sweeps.definition.file.missing_data import misfit_weights, missing_compilers, missing_data
from sweeps.definition.file.run_sections import tolerated_weights
from sweeps.definition.file.shipped_studies import shipped_studies
from sweeps.definition.file.stored_file import (
    ChangedSweepFileError,
    stored_document,
    stored_sweep,
    sweep_of,
)
from sweeps.definition.orders import BALANCES, ORDERS, OrderDesign
from sweeps.definition.orders.task_similarity_measurement import measured_sweep
from sweeps.definition.replicate_design import ReplicateDesign, replicate_sequence
from sweeps.definition.resources import Resources
from sweeps.definition.space.ablation import AblationPlan, Part
from sweeps.definition.space.axes import Axis
from sweeps.definition.space.sampling import ALGORITHMS, Algorithm
from sweeps.definition.stopping import EarlyStop, Racing
from sweeps.definition.sweep import METRICS, Sweep
from sweeps.definition.trials import TrialSpec, expand

__all__ = [
    "ALGORITHMS",
    "BALANCES",
    "METRICS",
    "ORDERS",
    "AblationPlan",
    "Algorithm",
    "Axis",
    "Budget",
    "ChangedSweepFileError",
    "Configuration",
    "Difference",
    "Divergence",
    "EarlyStop",
    "Merge",
    "OrderDesign",
    "Part",
    "Racing",
    "ReplicateDesign",
    "Resources",
    "Sweep",
    "SweepFile",
    "TrialSpec",
    "divergence",
    "expand",
    "load_sweep",
    "measured_sweep",
    "misfit_weights",
    "missing_compilers",
    "missing_data",
    "replicate_sequence",
    "shipped_studies",
    "stored_document",
    "stored_sweep",
    "sweep_from_dict",
    "sweep_of",
    "tolerated_weights",
]
