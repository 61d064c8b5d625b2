"""What a sweep is: file, axes, orders, trials. Needs neither torch nor a cluster."""

from sweeps.spec.ablation import AblationPlan, Part
from sweeps.spec.axes import Axis
from sweeps.spec.budget import Budget
from sweeps.spec.file import SweepFile, load_sweep, sweep_from_dict
from sweeps.spec.missing import missing_data
from sweeps.spec.orders import BALANCES, ORDERS, OrderDesign
from sweeps.spec.parting import Difference, Parting, parting
from sweeps.spec.resources import Resources
from sweeps.spec.runs import tolerated_weights
from sweeps.spec.space import ALGORITHMS, Algorithm
from sweeps.spec.stopping import EarlyStop, Racing, replicate_sequence
from sweeps.spec.studies import shipped_studies
from sweeps.spec.sweep import METRICS, Configuration, Merge, Sweep
from sweeps.spec.trials import TrialSpec, expand

__all__ = [
    "ALGORITHMS",
    "BALANCES",
    "METRICS",
    "ORDERS",
    "AblationPlan",
    "Algorithm",
    "Axis",
    "Budget",
    "Configuration",
    "Difference",
    "EarlyStop",
    "Merge",
    "OrderDesign",
    "Part",
    "Parting",
    "Racing",
    "Resources",
    "Sweep",
    "SweepFile",
    "TrialSpec",
    "expand",
    "load_sweep",
    "missing_data",
    "parting",
    "replicate_sequence",
    "shipped_studies",
    "sweep_from_dict",
    "tolerated_weights",
]
