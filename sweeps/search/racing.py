"""Racing: further replicates only where membership of the Pareto front is undecided.

Configurations see the same replicates in the same sequence, so two of them are compared by the
differences cell by cell, in which what orders and seeds do to both cancels. After each round every
pair has an interval of its mean difference in every objective. All of these intervals, over all
pairs, objectives and rounds, hold together with the stated confidence (Bonferroni): whatever
follows from them is then right, all at once. Two things follow:

* off the front: some other configuration is no worse in every objective and better in one;
* on the front: every other one that is not off is worse in some objective and cannot dominate it.
  One that is off need not be asked: if it dominated, then so would the one that dominates it.

The intervals are t intervals from variance components over orders and seeds, pooled over all
configurations that scatter alike (`sweeps.search.pooled_variance`); one that scatters more is
compared by the differences of each pair alone. Never a percentile bootstrap, which covers too
little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, compress

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from clmethods.metrics import Direction
from sweeps.definition.stopping import EXACT, Racing
from sweeps.search.pooled_variance import own_spreads, pooled_spread
from sweeps.search.scores import Cell, Run, Scores, cell_name, known
from sweeps.statistics.variance_components import unbalanced

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceDecision:
    """What a race has decided so far. Configurations are named by config_id, sorted."""

    decided_on: tuple[str, ...]
    """On the Pareto front."""
    decided_off: tuple[str, ...]
    """Dominated."""
    undecided: tuple[str, ...]
    failed: tuple[str, ...]
    """Left out of the race: a run failed, or lacks an objective."""
    requested: dict[str, tuple[Cell, ...]]
    """The cells to run next, by configuration: of the undecided ones, and of those that may still
    dominate them. Empty when the race is over."""
    because: dict[str, str]
    """The reason for each configuration, in words."""
    intervals: int
    """How many intervals hold together."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of C racers, M objectives; the arrays are filled look by look."""

    margin: Values
    """(C, C, M): at least so much better is the row's configuration than the column's, by all
    intervals so far; -inf where nothing is known."""
    on: Mask
    """(C,)"""
    off: Mask
    since: Rows
    """(C,) the look that decided."""

    def dominating(self) -> Mask:
        """(C, C): the row dominates the column."""
        return np.asarray((self.margin >= 0).all(axis=2) & (self.margin > 0).any(axis=2))

    def rivals(self) -> Mask:
        """(C, C): the row is not off and may still dominate the column."""
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
    """What the runs at hand decide about the front, and which ones are needed next.

    `sequence` holds all declared cells, from `replicate_sequence`; every configuration has the
    first few of them. The looks of `racing` are gone through from the first on, each with the
    cells that there were then. So the answer depends on the runs alone, and a race that was
    interrupted goes on as if it had not been. What was decided stays decided, unless the
    configuration that decided it fails in a later replicate.

    A look uses the longest beginning of the sequence whose design has an interval: cells that
    share no order and no seed, a complete table, or one whose variance components can be told
    apart. Orders count as drawn. Objectives of `EXACT` have no luck in them and need no interval;
    in any other, differences that do not vary at all prove nothing, for a few equal counts of
    right answers are no sign of certainty. With one replicate nothing is decided.

    `among` is the number of configurations that may ever enter the race, if that is more than
    there are in `scores`: the confidence then holds over all of them. `names` are what `because`
    calls the configurations; their config_ids without.

    Raises ValueError, naming the cells, if a configuration's are not the first of the sequence.
    """
    ids = sorted(scores)
    for config_id in ids:
        _check_beginning(config_id, scores[config_id], sequence)
    called = {config_id: (names or {}).get(config_id, config_id) for config_id in ids}
    failed = {c: issue for c in ids if (issue := _fault(scores[c], objectives)) is not None}
    racers = [c for c in ids if c not in failed]
    gain = _gains([scores[c] for c in racers], objectives, sequence)  # (C, M, R)
    counts = np.array([len(scores[c]) for c in racers], dtype=np.int64)  # (C,)
    exact = _exact(gain, objectives, counts)  # (M,)
    looks = racing.looks(len(sequence))
    used = {look: _sound_beginning(sequence[:look]) for look in looks}
    tests = len(set(used.values()) - {0})
    entered = max(len(ids), among or 0)
    intervals = entered * (entered - 1) // 2 * int((~exact).sum()) * tests
    level = 1.0 - (1.0 - racing.confidence) / max(intervals, 1)

    state = _start(gain, exact)
    for look in looks:
        if not (counts >= look).any():
            break
        ready = np.flatnonzero((counts >= look) & ~state.off)
        if used[look] and len(ready) > 1:
            _learn(state, gain, ~exact, ready, sequence[: used[look]], level)
        _decide(state, look)

    rivals = state.rivals()
    labels = [called[c] for c in racers]
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


def _check_beginning(config_id: str, runs: Mapping[Cell, Run], sequence: Sequence[Cell]) -> None:
    expected = sequence[: len(runs)]
    missing = [cell_name(cell) for cell in expected if cell not in runs]
    if missing or len(runs) > len(sequence):
        raise ValueError(
            f"replicates are added in one sequence, of which {config_id} with {len(runs)} runs "
            f"lacks {', '.join(missing) or 'some'}"
        )


def _fault(runs: Mapping[Cell, Run], objectives: Mapping[str, Direction]) -> str | None:
    """Why a configuration cannot race."""
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
    """(C, M, R): more is better; NaN where a cell was not run."""
    gain = np.full((len(runs), len(objectives), len(sequence)), np.nan)
    for c, of in enumerate(runs):
        for m, (name, direction) in enumerate(objectives.items()):
            sign = 1.0 if direction == "max" else -1.0
            for r, cell in enumerate(sequence[: len(of)]):
                value = known(of[cell], name)
                gain[c, m, r] = np.nan if value is None else sign * value
    return gain


def _exact(gain: Values, objectives: Mapping[str, Direction], counts: Rows) -> Mask:
    """(M,): whether an objective without luck is indeed the same in all runs, two at least."""
    if len(gain) == 0 or counts.min() < 2:
        return np.zeros(len(objectives), dtype=bool)
    constant = (np.nanmax(gain, axis=2) == np.nanmin(gain, axis=2)).all(axis=0)
    return np.asarray(constant & np.array([name in EXACT for name in objectives], dtype=bool))


def _sound_beginning(cells: Sequence[Cell]) -> int:
    """The length of the longest beginning whose design gives a sound interval; 0 for none."""
    return next((n for n in range(len(cells), 1, -1) if _sound(cells[:n])), 0)


def _sound(cells: Sequence[Cell]) -> bool:
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
    """Raise the margins of all pairs of `ready` by the intervals over `cells`."""
    for m in np.flatnonzero(noisy):
        values = gain[ready, m, : len(cells)]  # (C, N)
        spread = pooled_spread(values, cells)
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
            ones, others = np.array(pairs).T
            differences = values[ones] - values[others]  # (P, N)
            variance, degrees = own_spreads(differences, cells)
            half = float(stdtrit(degrees, 0.5 + level / 2)) * np.sqrt(variance)
            mean, sure = differences.mean(axis=1), variance > 0.0
            for rows, columns, sign in ((ones, others, 1.0), (others, ones, -1.0)):
                better, worse = ready[rows[sure]], ready[columns[sure]]
                least = np.maximum(state.margin[better, worse, m], (sign * mean - half)[sure])
                state.margin[better, worse, m] = least


def _decide(state: _State, look: int) -> None:
    """Decide what follows from the margins; what was decided stays."""
    newly_off = state.dominating().any(axis=0) & ~state.on & ~state.off
    state.off[newly_off] = True
    newly_on = ~state.rivals().any(axis=0) & ~state.on & ~state.off
    state.on[newly_on] = True
    state.since[newly_on | newly_off] = look


def _requested(continuing: Mask, counts: Rows, looks: Sequence[int]) -> dict[int, tuple[int, int]]:
    """First and last + 1 of the cells to run next, by racer: up to the next look of the last."""
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
        told = [
            f"by at least {margin:.2g} in {name}" if margin > 0 else f"equal in {name}"
            for name, margin in margins
        ]
        return (
            f"off the front after {state.since[c]} replicates: {labels[by]} is better, "
            f"{', '.join(told)}"
        )
    if state.on[c]:
        return (
            f"on the front after {state.since[c]} replicates: every other is off it, or worse "
            "in some objective"
        )
    open_ = [label for label, rival in zip(labels, rivals, strict=True) if rival]
    more = f" and {len(open_) - 3} more" if len(open_) > 3 else ""
    return (
        f"undecided after {_count(int(counts[c]), 'replicate')}: {', '.join(open_[:3])}{more} "
        "may still dominate it"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
