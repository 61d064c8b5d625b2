"""One stored sweep with its analyses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import pyarrow.compute as pc

from sweeps.analysis.trials.metric_choice import Results
from sweeps.api.sweep_analyses import SweepAnalyses

if TYPE_CHECKING:
    from sweeps.definition.sweep import Sweep


@final
@dataclass(frozen=True, slots=True, eq=False)
class AnalyzedSweep(SweepAnalyses):
    """Stored sweep with the analyses of `SweepAnalyses`."""

    definition: Sweep
    """Sweep file of the last run, validated and resolved."""
    results: Results
    """Arrow tables of the requested trials, and `warnings` about missing or damaged parts."""

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.definition.name

    @property
    def readouts(self) -> list[str]:
        """Ids of the readouts; the first one is the default of the analyses."""
        return [readout.readout_id for readout in self.definition.readouts]

    def __repr__(self) -> str:
        trials = self.results.trials
        finished = pc.sum(pc.equal(trials["status"], "finished")).as_py() or 0
        configurations = len(trials["config_id"].unique())
        warned = len(self.results.warnings)
        objectives = [f"{name} ({better})" for name, better in self.definition.objectives.items()]
        lines = [
            f"sweep {self.name!r}: {finished} finished trials of {configurations} configurations",
            f"  readouts    {', '.join(self.readouts)}",
            f"  objectives  {', '.join(objectives)}",
            "  analyses    .configurations() .front() .orders() .effects() .interactions() "
            ".select()",
        ]
        if warned:
            lines.append(f"  warnings    {warned}, in .results.warnings")
        return "\n".join(lines)

    def _source(self) -> tuple[Sweep, Results]:
        return self.definition, self.results
