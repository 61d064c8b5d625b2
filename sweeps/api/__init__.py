"""Public API for notebooks: define and run a sweep, load its results, and analyze them."""

from __future__ import annotations

from sweeps.api.analyzed_sweep import AnalyzedSweep
from sweeps.api.loaded_sweeps import LoadedSweeps, load, summaries_of
from sweeps.api.sweep_object import Sweep
from sweeps.api.sweep_run import RunResult, run

__all__ = ["AnalyzedSweep", "LoadedSweeps", "RunResult", "Sweep", "load", "run", "summaries_of"]
