"""Analyses of a stored sweep as data frames; the numbers are those of the commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from clmethods.canonical import canonical_json
from clmethods.errors import refuse, require
from sweeps.analysis.trials.metric_choice import (
    SPLITS,
    Results,
    all_orders,
    chosen_metric,
    chosen_readout,
)
from sweeps.api.argument_names import argument_names
from sweeps.api.selected_configuration import SelectedConfiguration, selected_configuration

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.analysis.effects.search_effects import VariedSearch
    from sweeps.analysis.selection.selection_candidates import DecisionBasis
    from sweeps.api.order_frames import OrderPart
    from sweeps.definition.sweep import Sweep


class SweepAnalyses(ABC):
    """Analyses of one sweep.

    Every method returns a pandas data frame. Accuracies and forgetting are fractions. An estimate
    has the columns NAME, NAME_low and NAME_high: the mean and the 95 % interval over orders and
    seeds. The ends are NaN if the runs do not provide an interval. Only trials that the sweep
    file currently requests are used, as in the commands.

    Raises (all methods): `InvalidConfigError` for a readout, a metric or a split that does not
    exist; `ImportError` if pandas is not installed.
    """

    __slots__ = ()

    @abstractmethod
    def _source(self) -> tuple[Sweep, Results]:
        """Return the sweep that is analyzed, and the results of its requested trials."""

    def configurations(
        self, metrics: Sequence[str] = (), readout: str | None = None, split: str | None = None
    ) -> pd.DataFrame:
        """Return one row per configuration, readout and split, with metrics and their intervals.

        Args:
            metrics: Names of metrics; the objectives if it is empty.
            readout: Only this readout; None for all.
            split: `validation` or `test`; None for both.

        Returns:
            Data frame with the columns label, role, method, readout_id, split, n_replicates,
            n_missing, one column per searched field (`method.rank`), NAME, NAME_low and NAME_high
            per metric, interval (the design, or the reason why there is no interval), and
            config_id.
        """
        from sweeps.api.front_frames import configuration_frame

        with argument_names():
            _check_split(split)
            return configuration_frame(*self._source(), metrics, readout, split)

    def front(self, readout: str | None = None, *, iqm: bool = False) -> pd.DataFrame:
        """Return the table of `sweeps pareto`: the front first, then baselines and references.

        Args:
            readout: Id of a readout; None for the first of the sweep.
            iqm: Use interquartile means instead of means.

        Returns:
            Data frame with the columns label, role, on_front, knee, p_front (front membership
            probability; NaN if it is unknown), n_replicates, stopped, `validation.NAME` and
            `test.NAME` with their `_low` and `_high` per objective, interval, readout_id and
            config_id. The front is that of the means on validation images.
        """
        from sweeps.api.front_frames import front_frame

        with argument_names():
            return front_frame(*self._source(), readout, iqm)

    def orders(
        self,
        of: OrderPart = "disparity",
        readout: str | None = None,
        split: str = "validation",
        metric: str | None = None,
    ) -> pd.DataFrame:
        """Return a table of `sweeps orders` about the effect of the task order.

        Args:
            of: `disparity`: one row per configuration, the spread of final accuracies between
                orders (aopd, mopd) and between seeds (seed_aopd, seed_mopd), and `reason` for
                missing values. `variance`: one row per source of variance of the metric, with
                share, share_low and share_high. `position` and `preceding`: effects of the
                position and of the preceding task on the final accuracy of a task, with
                intervals; `level` is the stage, from 1, or the preceding task, from 0.
                `extremes`: best and worst order of each configuration.
            readout: Id of a readout; None for the first of the sweep.
            split: `validation` or `test`.
            metric: Name of a metric of the accuracy matrix; None for the first objective.

        Returns:
            Data frame with the columns above, and `reason` where a value can be unknown.
        """
        from sweeps.api.order_frames import ORDER_PARTS, order_frame

        with argument_names():
            refuse([require(of in ORDER_PARTS, "of", of, f"one of {list(ORDER_PARTS)}")])
            _check_split(split)
            definition, results = self._source()
            name = chosen_readout(definition, readout)
            chosen = chosen_metric(definition, metric)
            return order_frame(results, of, name, split, chosen)

    def effects(
        self,
        metrics: Sequence[str] = (),
        readout: str | None = None,
        split: str = "validation",
        baselines: Mapping[str, object] | None = None,
    ) -> pd.DataFrame:
        """Return the effects of `sweeps effects`: each value of an axis against its baseline.

        Args:
            metrics: Names of metrics; the objectives if it is empty.
            readout: Id of a readout; None for the first of the sweep.
            split: `validation` or `test`.
            baselines: Values to compare with, by axis: `{"method.rank": 4}`. By default, the
                lowest number or the first value.

        Returns:
            Data frame with the columns metric, axis, value, baseline, pairs (matched pairs of
            configurations), difference, difference_low, difference_high, p_value,
            adjusted_p_value (for all effects on the metric), significant, and
            detectable_difference (with a probability of about 80 %). Differences are paired by
            order and seed; they are NaN without a pair.
        """
        from sweeps.api.effect_frames import effect_frame

        search = self._search(metrics, readout, split, baselines)
        return effect_frame(search, all_orders(self._source()[0]))

    def interactions(
        self,
        metrics: Sequence[str] = (),
        readout: str | None = None,
        split: str = "validation",
        baselines: Mapping[str, object] | None = None,
    ) -> pd.DataFrame:
        """Return the change of each effect when another axis leaves its baseline value.

        The arguments are those of `effects`.

        Returns:
            Data frame with the columns metric, axis, value, other_axis, other_value, squares
            (settings with all four combinations), and the columns of a difference as in `effects`.
        """
        from sweeps.api.effect_frames import interaction_frame

        search = self._search(metrics, readout, split, baselines)
        return interaction_frame(search, all_orders(self._source()[0]))

    def select(
        self,
        *,
        max: Mapping[str, float | str] | None = None,
        min: Mapping[str, float | str] | None = None,
        prefer: str | None = None,
        knee: bool = False,
        by: DecisionBasis = "bound",
        within: float | None = None,
        readout: str | None = None,
        searched: bool = False,
        choose_on: Mapping[str, Sequence[object]] | None = None,
        order: str | Sequence[int] | None = None,
    ) -> SelectedConfiguration:
        """Select a configuration under constraints, as `sweeps select` does.

        Args:
            max: Upper bounds by metric: `{"forgetting": 0.05}` or `{"forgetting": "5%"}`.
            min: Lower bounds by metric.
            prefer: Metric to optimize; None for the first objective.
            knee: Select the knee of the Pareto front instead.
            by: `bound`, `pessimistic` or `mean`.
            within: Indifference margin as a fraction; the cheapest configuration within it is
                selected.
            readout: Only this readout; None for all that do not receive the task ID.
            searched: Exclude baselines.
            choose_on: Runs to decide on, as `{"orders": ["0-1-2"], "seeds": [0, 1]}`.
            order: Task order of the production run; None for the first of the sweep.

        Returns:
            The choice. Its repr is the selection card; `.table()` lists all configurations.

        Raises:
            InvalidConfigError: If a criterion does not fit the sweep, or contradicts another one.
        """
        from sweeps.presentation.selection_request import SelectionRequest

        with argument_names():
            request = SelectionRequest(
                limits=_limits("max", max) + _limits("min", min),
                prefer=prefer,
                knee=knee,
                basis=by,
                within=within,
                readout=readout,
                searched=searched,
                choose_on=tuple(
                    f"{name}={','.join(map(str, values))}"
                    for name, values in (choose_on or {}).items()
                ),
                order=order if order is None or isinstance(order, str) else _joined(order),
            )
            return selected_configuration(*self._source(), request)

    def _search(
        self,
        metrics: Sequence[str],
        readout: str | None,
        split: str,
        baselines: Mapping[str, object] | None,
    ) -> VariedSearch:
        from sweeps.analysis.effects.search_effects import varied_search

        values = _as_texts(baselines)
        with argument_names():
            _check_split(split)
            return varied_search(*self._source(), metrics, readout, split, values)


def _check_split(split: str | None) -> None:
    allowed = f"one of {list(SPLITS)}"
    refuse([require(split is None or split in SPLITS, "split", split, allowed)])


def _as_texts(baselines: Mapping[str, object] | None) -> dict[str, str]:
    """Return values as texts, in the form in which the command line gives them."""
    return {
        path: value if isinstance(value, str) else canonical_json(value)
        for path, value in (baselines or {}).items()
    }


def _limits(kind: Literal["max", "min"], bounds: Mapping[str, float | str] | None) -> Any:
    from sweeps.analysis.selection.metric_bounds import metric_bound
    from sweeps.analysis.selection.selection_candidates import MetricLimit

    return tuple(
        MetricLimit(metric, kind, metric_bound(kind, f"{metric}={bound}", metric, str(bound)))
        for metric, bound in (bounds or {}).items()
    )


def _joined(order: Sequence[int]) -> str:
    return "-".join(map(str, order))
