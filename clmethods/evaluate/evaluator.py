"""`Evaluator`: counts of correct predictions of a chain, for any number of readouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from clmethods.config.keys import StageSpec
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.data.streams import EVALUATED_SPLITS, Split
from clmethods.determinism import on_device, prepare_process
from clmethods.errors import refuse
from clmethods.evaluate.chain_values import ChainValues, StateSource
from clmethods.evaluate.eval_count import EvalCount
from clmethods.evaluate.stage_predictions import StagePredictions
from clmethods.methods import State
from clmethods.metrics import feature_drift
from clmethods.readout.adaptive import Head
from clmethods.readout.features import FeatureCache
from clmethods.readout.statistics import ReadoutStatistics


@final
class Evaluator:
    """Evaluator of the stages of one chain, in any order.

    Counts after a stage depend only on the stages up to it and on the grouping of the classes.
    Values that are constant along the chain are computed once for all readouts and cached:
    features per (snapshot, split, task), statistics of the training features, distances.
    Evaluators of chains with a common beginning may share the features.
    """

    def __init__(
        self,
        run: RunConfig,
        chain: Sequence[StageSpec],
        states: StateSource | None = None,
        statistics: ReadoutStatistics | None = None,
        features: FeatureCache | None = None,
    ) -> None:
        """Take a run, its chain, and optional sources of values that need not be computed.

        `states` returns earlier states. It is called for a method without snapshots, and only if
        task-adaptive prediction or drift requires them. `statistics` replace the training images
        of the tasks that they cover.
        """
        self.run, self.chain = run, tuple(chain)
        self.statistics = statistics or ReadoutStatistics()
        self._values = ChainValues(
            run,
            self.chain,
            states,
            self.statistics,
            FeatureCache() if features is None else features,
        )

    def counts(
        self, position: int, state: State, readouts: Sequence[ReadoutConfig]
    ) -> dict[str, list[EvalCount]]:
        """Return counts by readout id after the stage at `position`.

        `state` is the folded state of the stage. Raises `InvalidConfigError` for a readout that
        the run's method does not allow.
        """
        refuse([issue for readout in readouts for issue in readout.issues_in(self.run)])
        stage = self._stage(position, state)
        counts: dict[str, list[EvalCount]] = {readout.readout_id: [] for readout in readouts}
        distinct = {readout.readout_id: readout for readout in readouts}
        if not self._values.snapshots:  # later stages cannot recompute these features
            for kind in {readout.tap_kind for readout in readouts} - {None}:
                stage.all_gaussians(kind, position)
        for split in EVALUATED_SPLITS:
            for group in self.run.stream.groups():  # all readouts share the features of a group
                if len(self._values.labels(split, group)):
                    for name, readout in distinct.items():
                        counts[name] += stage.counts(readout, split, group)
                    stage.clear_images()
        if all(readout.routing == "last" for readout in readouts):  # no later stage uses it
            self._values.features.forget(self.chain[position].key)
        return counts

    def statistics_for(
        self, position: int, state: State, readouts: Sequence[ReadoutConfig]
    ) -> State:
        """Return the statistics of the classes up to `position` that `readouts` need, by name.

        `ReadoutStatistics(tensors)` restores them; an evaluator with them needs no old images.
        """
        stage = self._stage(position, state)
        for readout in readouts:
            stage.all_gaussians(readout.task_id_kind, position)
            stage.all_gaussians(readout.tap_kind, position)
        return self.statistics.tensors(*readouts) if readouts else {}

    def aligned_head(self, position: int, state: State, readout: ReadoutConfig) -> Head | None:
        """Return the head aligned by task-adaptive prediction; None if the head is not changed."""
        return self._stage(position, state).head(readout)

    def feature_drift(
        self, position: int, state: State, split: Split = "test"
    ) -> dict[int, float]:
        """Return the drift of the features of each old task's images, by group index.

        The drift is the mean of 1 - cos(h_j(x), h_t(x)) over the images of task j (docs/method.md
        section 6.2).
        """
        stage = self._stage(position, state)
        return {
            group.index: feature_drift(
                stage.features(earlier.position, split, group).cpu().numpy(),
                stage.features(position, split, group).cpu().numpy(),
            )
            for earlier in self.chain[:position]
            for group in earlier.groups
        }

    def _stage(self, position: int, state: State) -> StagePredictions:
        prepare_process(self.run.train)
        return StagePredictions(self._values, position, on_device(state, self.run.train.device))


def evaluate_stage(
    run: RunConfig,
    chain: Sequence[StageSpec],
    position: int,
    state: State,
    readouts: Sequence[ReadoutConfig],
    states: StateSource | None = None,
) -> dict[str, list[EvalCount]]:
    """Return the counts of one stage by readout id; for a whole chain, use one `Evaluator`."""
    return Evaluator(run, chain, states).counts(position, state, readouts)
