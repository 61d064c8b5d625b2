"""Checks and measurements between the loading of a sweep and its run."""

from __future__ import annotations

from clmethods.errors import refuse
from sweeps.definition.file.missing_data import misfit_weights, missing_compilers, missing_data
from sweeps.definition.orders.task_similarity_measurement import measured_sweep
from sweeps.definition.sweep import Sweep


def ready_sweep(sweep: Sweep, *, on_cluster: bool) -> Sweep:
    """Return the sweep with the task tables that its orders need.

    The machines of a cluster have folders and compilers of their own, so that those that are
    missing on this machine are then no issue.

    Raises:
        InvalidConfigError: If data, weights or compilers are missing, or if weights do not fit.
    """
    if not on_cluster:
        refuse([*missing_data(sweep), *missing_compilers(sweep)])
    refuse(misfit_weights(sweep))
    return measured_sweep(sweep)
