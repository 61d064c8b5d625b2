"""Racing: additional replicates only where membership of the Pareto front is undecided.

All configurations get the same replicates in the same sequence. Two of them are compared by their
differences cell by cell, in which effects of orders and seeds that both share cancel. After each
round, each pair has an interval of its mean difference in each objective. The confidence level
holds for all intervals simultaneously, over all pairs, objectives and rounds (Bonferroni), so that
all conclusions from them hold simultaneously too. A configuration is

* off the front, if another one is at least as good in every objective and better in one;
* on the front, if every other one that is not off is worse in some objective, so that it cannot
  dominate. Configurations that are off need no check: if one of them dominated, the configuration
  that dominates it would dominate too.

The intervals are t intervals from variance components over orders and seeds, pooled over all
configurations with similar variance (`sweeps.search.pooled_variance`). A noisier configuration is
compared by the differences of each pair separately. Percentile bootstrap intervals are not used,
because their coverage is too low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, compress

import numpy as np
import numpy.typing as npt

from clmethods.metrics import Direction
from sweeps.definition.stopping import EXACT, Racing
from sweeps.search.pooled_variance import pooled_variance, separate_variances
from sweeps.search.scores import Cell, Run, Scores, cell_name, counted, known
from sweeps.statistics.variance_components import unbalanced

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceDecision:
    """Decisions of a race so far. Configurations are given by config_id, sorted."""

    decided_on: tuple[str, ...]
    """Configurations on the Pareto front."""
    decided_off: tuple[str, ...]
    """Dominated configurations."""
    undecided: tuple[str, ...]
    failed: tuple[str, ...]
    """Configurations excluded from the race: a run failed or lacks an objective."""
    requested: dict[str, tuple[Cell, ...]]
    """Cells to run next, by configuration: for undecided configurations and for those that may
    dominate them. Empty when the race is over."""
    because: dict[str, str]
    """Reason for the decision on each configuration, as text."""
    intervals: int
    """Number of simultaneous intervals."""


@dataclass(frozen=True, slots=True)
class _State:
    """State of a race with C configurations and M objectives, updated look by look."""

    margin: Values
    """(C, C, M): lower bound of the improvement of the row over the column, from all intervals so
    far; -inf without an interval."""
    on: Mask
    """(C,) configurations decided to be on the front."""
    off: Mask
    """(C,) configurations decided to be off the front."""
    since: Rows
    """(C,) look of the decision."""

    def dominating(self) -> Mask:
        """Return a mask (C, C): the row dominates the column."""
        return np.asarray((self.margin >= 0).all(axis=2) & (self.margin > 0).any(axis=2))

    def rivals(self) -> Mask:
        """Return a mask (C, C): the row is not off the front and may dominate the column."""
        worse = (self.margin > 0).any(axis=2).T
        alive = ~self.off[:, None] & ~np.eye(len(self.off), dtype=bool)
        return np.asarray(alive & ~worse)


def decide_race(
    scores: Scores,
    racing: Racing,
    objectives: Mapping[str, Direction],
    sequence: Sequence[Cell],
    *,
    among: int | None = None,
    names: Mapping[str, str] | None = None,
) -> RaceDecision:
    """Decide the front from the available runs, and select the runs that are needed next.

    The looks of `racing` are replayed from the first one, each with the cells that were available
    then. The result therefore depends on the runs only, and an interrupted race continues as if it
    had not been interrupted. Decisions are final, unless a configuration on which a decision
    depends fails in a later replicate.

    A look uses the longest prefix of the sequence whose design has an interval: cells without a
    common order or seed, a complete table, or a design with identifiable variance components.
    Orders count as a random sample. Objectives in `EXACT` have no replicate noise and need no
    interval. For any other objective, constant differences decide nothing, because a few equal
    counts of correct predictions are no evidence of certainty. Nothing is decided with one
    replicate.

    Args:
        scores: Metrics by configuration and cell.
        racing: Confidence level and looks.
        objectives: Directions by metric.
        sequence: All declared cells, from `replicate_sequence`. Each configuration has the first
            few of them.
        among: Number of configurations that may ever enter the race, if it is larger than the
            number of `scores`; the confidence level then covers all of them.
        names: Names of the configurations in `because`; by default their config_ids.

    Raises:
        ValueError: If the cells of a configuration are not a prefix of the sequence. The message
            names the missing cells.
    """
    ids = sorted(scores)
    for config_id in ids:
        _check_prefix(config_id, scores[config_id], sequence)
    label_of = {config_id: (names or {}).get(config_id, config_id) for config_id in ids}
    failed = {
        c: issue for c in ids if (issue := _exclusion_reason(scores[c], objectives)) is not None
    }
    racers = [c for c in ids if c not in failed]
    gain = _gains([scores[c] for c in racers], objectives, sequence)  # (C, M, R)
    counts = np.array([len(scores[c]) for c in racers], dtype=np.int64)  # (C,)
    exact = _exact(gain, objectives, counts)  # (M,)
    looks = racing.looks(len(sequence))
    usable = {look: _usable_length(sequence[:look]) for look in looks}
    tests = len(set(usable.values()) - {0})
    entered = max(len(ids), among or 0)
    intervals = entered * (entered - 1) // 2 * int((~exact).sum()) * tests
    level = 1.0 - (1.0 - racing.confidence) / max(intervals, 1)

    state = _start(gain, exact)
    for look in looks:
        if not (counts >= look).any():
            break
        ready = np.flatnonzero((counts >= look) & ~state.off)
        if usable[look] and len(ready) > 1:
            _learn(state, gain, ~exact, ready, sequence[: usable[look]], level)
        _decide(state, look)

    rivals = state.rivals()
    labels = [label_of[c] for c in racers]
    undecided = ~state.on & ~state.off
    requested = _requested(undecided | rivals[:, undecided].any(axis=1), counts, looks)
    because = failed | {
        config_id: _reason(state, c, rivals[:, c], labels, [*objectives], counts)
        for c, config_id in enumerate(racers)
    }
    return RaceDecision(
        decided_on=tuple(compress(racers, state.on)),
        decided_off=tuple(compress(racers, state.off)),
        undecided=tuple(compress(racers, undecided)),
        failed=tuple(failed),
        requested={racers[c]: tuple(sequence[start:end]) for c, (start, end) in requested.items()},
        because={config_id: because[config_id] for config_id in ids},
        intervals=intervals,
    )


def _check_prefix(config_id: str, runs: Mapping[Cell, Run], sequence: Sequence[Cell]) -> None:
    expected = sequence[: len(runs)]
    missing = [cell_name(cell) for cell in expected if cell not in runs]
    if missing or len(runs) > len(sequence):
        raise ValueError(
            f"replicates must be added in the given sequence, but {config_id} with {len(runs)} "
            f"runs lacks {', '.join(missing) or 'some'}"
        )


def _exclusion_reason(runs: Mapping[Cell, Run], objectives: Mapping[str, Direction]) -> str | None:
    """Return the reason why a configuration cannot race; None if it can."""
    for cell, run in sorted(runs.items()):
        if not run:
            return f"failed: the run of {cell_name(cell)}"
        lacking = [name for name in objectives if known(run, name) is None]
        if lacking:
            return f"left out: no {' nor '.join(lacking)} in {cell_name(cell)}"
    return None


def _gains(
    runs: Sequence[Mapping[Cell, Run]],
    objectives: Mapping[str, Direction],
    sequence: Sequence[Cell],
) -> Values:
    """Return the metrics (C, M, R), more is better; NaN for cells that were not run."""
    gain = np.full((len(runs), len(objectives), len(sequence)), np.nan)
    for c, cells in enumerate(runs):
        for m, (name, direction) in enumerate(objectives.items()):
            sign = 1.0 if direction == "max" else -1.0
            for r, cell in enumerate(sequence[: len(cells)]):
                value = known(cells[cell], name)
                gain[c, m, r] = np.nan if value is None else sign * value
    return gain


def _exact(gain: Values, objectives: Mapping[str, Direction], counts: Rows) -> Mask:
    """Return a mask (M,) of noise-free objectives that are constant in all runs, at least two."""
    if len(gain) == 0 or counts.min() < 2:
        return np.zeros(len(objectives), dtype=bool)
    constant = (np.nanmax(gain, axis=2) == np.nanmin(gain, axis=2)).all(axis=0)
    return np.asarray(constant & np.array([name in EXACT for name in objectives], dtype=bool))


def _usable_length(cells: Sequence[Cell]) -> int:
    """Return the length of the longest prefix whose design has an interval; 0 if none has."""
    return next((n for n in range(len(cells), 1, -1) if _is_usable(cells[:n])), 0)


def _is_usable(cells: Sequence[Cell]) -> bool:
    orders, seeds = {order for order, _ in cells}, {seed for _, seed in cells}
    if len(cells) == len(orders) * len(seeds) or len(cells) == len(orders) == len(seeds):
        return True
    flat = np.zeros(len(cells))
    return unbalanced(flat, [order for order, _ in cells], [seed for _, seed in cells]) is not None


def _start(gain: Values, exact: Mask) -> _State:
    racers, objectives, _ = gain.shape
    margin = np.full((racers, racers, objectives), -np.inf)
    for m in np.flatnonzero(exact):
        margin[:, :, m] = gain[:, None, m, 0] - gain[None, :, m, 0]
    flags = [np.zeros(racers, dtype=bool) for _ in range(2)]
    return _State(margin, flags[0], flags[1], np.zeros(racers, dtype=np.int64))


def _learn(
    state: _State, gain: Values, noisy: Mask, ready: Rows, cells: Sequence[Cell], level: float
) -> None:
    """Raise the lower bounds for all pairs of `ready` with the intervals over `cells`."""
    from scipy.special import stdtrit  # slow to import; planning loads this module for every sweep

    for m in np.flatnonzero(noisy):
        values = gain[ready, m, : len(cells)]  # (C, N)
        spread = pooled_variance(values, cells)
        alike = np.zeros(len(ready), dtype=bool) if spread is None else spread.alike
        if spread is not None:
            rows, means = ready[alike], values[alike].mean(axis=1)
            width = float(stdtrit(spread.degrees, 0.5 + level / 2)) * spread.variance**0.5
            least = means[:, None] - means[None, :] - width
            np.fill_diagonal(least, -np.inf)
            block = np.ix_(rows, rows, [m])
            state.margin[block] = np.maximum(state.margin[block], least[:, :, None])
        pairs = [
            (a, b) for a, b in combinations(range(len(ready)), 2) if not (alike[a] and alike[b])
        ]
        if pairs:
            first, second = np.array(pairs).T
            differences = values[first] - values[second]  # (P, N)
            variance, degrees = separate_variances(differences, cells)
            half = float(stdtrit(degrees, 0.5 + level / 2)) * np.sqrt(variance)
            mean, varies = differences.mean(axis=1), variance > 0.0
            for rows, columns, sign in ((first, second, 1.0), (second, first, -1.0)):
                better, worse = ready[rows[varies]], ready[columns[varies]]
                least = np.maximum(state.margin[better, worse, m], (sign * mean - half)[varies])
                state.margin[better, worse, m] = least


def _decide(state: _State, look: int) -> None:
    """Make the decisions that follow from the bounds; earlier decisions do not change."""
    newly_off = state.dominating().any(axis=0) & ~state.on & ~state.off
    state.off[newly_off] = True
    newly_on = ~state.rivals().any(axis=0) & ~state.on & ~state.off
    state.on[newly_on] = True
    state.since[newly_on | newly_off] = look


def _requested(continuing: Mask, counts: Rows, looks: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return (first, last + 1) of the cells to run next, by configuration, up to the next look."""
    rows = np.flatnonzero(continuing)
    if len(rows) == 0:
        return {}
    least = int(counts[rows].min())
    target = next((look for look in looks if look > least), least)
    return {int(c): (int(counts[c]), target) for c in rows if counts[c] < target}


def _reason(
    state: _State,
    c: int,
    rivals: Mask,
    labels: Sequence[str],
    objectives: Sequence[str],
    counts: Rows,
) -> str:
    if state.off[c]:
        beats = (state.margin[:, c] >= 0).all(axis=1) & (state.margin[:, c] > 0).any(axis=1)
        by = int(np.flatnonzero(beats)[0])
        margins = zip(objectives, state.margin[by, c], strict=True)
        advantages = [
            f"by at least {margin:.2g} in {name}" if margin > 0 else f"equal in {name}"
            for name, margin in margins
        ]
        return (
            f"off the front after {state.since[c]} replicates: {labels[by]} is better, "
            f"{', '.join(advantages)}"
        )
    if state.on[c]:
        return (
            f"on the front after {state.since[c]} replicates: each other configuration is off the "
            "front, or worse in some objective"
        )
    open_ = [label for label, rival in zip(labels, rivals, strict=True) if rival]
    more = f" and {len(open_) - 3} more" if len(open_) > 3 else ""
    return (
        f"undecided after {counted(int(counts[c]), 'replicate')}: {', '.join(open_[:3])}{more} "
        "may still dominate it"
    )
