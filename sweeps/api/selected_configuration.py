"""Chosen configuration of a sweep: card, numbers, and the file for production."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.analysis.trials.metric_choice import Results
from sweeps.api.data_frames import INTERVAL_ENDS, frame_of_rows, interval_columns
from sweeps.presentation.production_file import production_document, production_run
from sweeps.presentation.selection_request import (
    SelectionAnswer,
    SelectionRequest,
    select_configuration,
)

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.definition.sweep import Sweep


@final
@dataclass(frozen=True, slots=True, eq=False)
class SelectedConfiguration:
    """Result of a selection; `config_id`, `label` and `readout_id` are None if nothing fits."""

    _sweep: Sweep
    _results: Results
    _answer: SelectionAnswer

    @property
    def config_id(self) -> str | None:
        """Id of the chosen configuration."""
        chosen = self._answer.choice.chosen
        return None if chosen is None else chosen.replicates.config_id

    @property
    def label(self) -> str | None:
        """Label of the chosen configuration."""
        chosen = self._answer.choice.chosen
        return None if chosen is None else chosen.replicates.label

    @property
    def readout_id(self) -> str | None:
        """Readout of the chosen configuration."""
        chosen = self._answer.choice.chosen
        return None if chosen is None else chosen.replicates.readout_id

    @property
    def card(self) -> str:
        """Selection card as text: reasons, runner-up, and the expected result of a new run."""
        return self._answer.text

    def __repr__(self) -> str:
        return self.card

    def table(self) -> pd.DataFrame:
        """Return one row per compared configuration, in the sequence of the decision.

        Configurations that satisfy all limits come first, the chosen one in the first row.

        Returns:
            Data frame with the columns label, readout_id, chosen, violated (limits that it does
            not surely satisfy, as text), NAME, NAME_low and NAME_high (mean and 95 % interval on
            validation images), NAME_bound (one-sided 80 % bound over common runs) per metric, and
            config_id.

        Raises:
            ImportError: If pandas is not installed.
        """
        choice = self._answer.choice
        rows: list[dict[str, Any]] = []
        metrics: dict[str, None] = {}
        for candidate in (*choice.admissible, *choice.refused):
            row: dict[str, Any] = {
                "label": candidate.replicates.label,
                "readout_id": candidate.replicates.readout_id,
                "chosen": candidate is choice.chosen,
                "violated": "; ".join(map(str, candidate.violated)),
                "config_id": candidate.replicates.config_id,
            }
            for metric, value in candidate.estimates.items():
                interval = value.interval
                row |= interval_columns(metric, (interval.mean, interval.low, interval.high))
                row[f"{metric}_bound"] = None if value.common is None else value.common.bound
                metrics[metric] = None
            rows.append(row)
        numbers = [f"{name}{end}" for name in metrics for end in (*INTERVAL_ENDS, "_bound")]
        columns = ["label", "readout_id", "chosen", "violated", *numbers, "config_id"]
        return frame_of_rows(rows, columns, numbers)

    def production(self) -> dict[str, Any]:
        """Return the run, its readout and the evidence, as `sweeps select -o` writes them.

        Raises:
            InvalidConfigError: If nothing was chosen.
        """
        chosen = self._answer.choice.chosen
        if chosen is None:
            constraint = "a selection that has chosen a configuration"
            raise InvalidConfigError([ConfigIssue("selection", None, constraint, self.card)])
        replicates = chosen.replicates
        run = production_run(self._results.trials, replicates.config_id, self._answer.order)
        readouts = self._sweep.readouts_for(run)
        readout = next(r for r in readouts if r.readout_id == replicates.readout_id)
        return production_document(
            self._sweep.name,
            run,
            readout,
            chosen,
            self._answer.question,
            self._answer.test,
            self._sweep.seeds,
        )

    def write(self, path: str | Path) -> None:
        """Write `production()` as a new YAML file for `clmethods train`.

        Raises:
            InvalidConfigError: If nothing was chosen.
            FileExistsError: If the file exists; nothing is overwritten.
        """
        from clmethods.strict_yaml import yaml_text

        text = yaml_text(self.production())
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text)


def selected_configuration(
    sweep: Sweep, results: Results, request: SelectionRequest
) -> SelectedConfiguration:
    """Return the choice among the stored configurations; see `select_configuration`."""
    answer = select_configuration(sweep, results, request)
    return SelectedConfiguration(sweep, results, answer)
