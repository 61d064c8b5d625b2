"""Limits on the size of a sweep file, which are checked before its values are.

Each value costs a check of a whole run, so a mistake in an exponent would take hours to be
reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from clmethods.errors import ConfigIssue
from clmethods.strict_yaml import MAX_KEYS
from sweeps.definition.file.run_sections import SECTIONS
from sweeps.definition.space.sampling import MAX_POINTS
from sweeps.definition.sweep import Sweep

MAX_SEEDS = 1000
MAX_ORDERS = 10_000
MAX_CHOICES = 1000
"""Maximum number of choices of a whole section."""
MAX_TRIALS = 1_000_000
"""Maximum number of trials: configurations x pairs of order and seed."""
_LENGTHS = {
    "seeds": (MAX_SEEDS, "More task orders (`orders.count`) are replicates too."),
    "where": (100, "Join conditions with `and`."),
    "readouts": (100, ""),
    "baselines": (1000, "Vary their fields under `search`."),
}
"""Maximum number of items of lists, and the way around."""


def size_issues(document: Mapping[str, Any]) -> list[ConfigIssue]:
    """Return issues of parts that are too large to be checked."""
    issues = [*_mappings_and_lists(document, "")]
    search = document.get("search")
    choices = search if isinstance(search, Mapping) else {}
    lists = {name: document.get(name) for name in _LENGTHS} | {
        f"search.{section}": choices.get(section) for section in SECTIONS
    }
    for name, value in lists.items():
        most, hint = _LENGTHS.get(name, (MAX_CHOICES, "Vary single fields instead."))
        if isinstance(value, list) and len(value) > most:
            issues.append(_too_many(name, len(value), most, "items", hint))
    orders = document.get("orders")
    count = orders.get("count") if isinstance(orders, Mapping) else None
    if isinstance(count, int) and count > MAX_ORDERS:
        issues.append(_too_many("orders.count", count, MAX_ORDERS, "orders"))
    return issues or _grid(document)


def trial_issues(sweep: Sweep) -> list[ConfigIssue]:
    """Return an issue if the sweep has more trials than can be planned.

    Orders that depend on task tables that are not measured yet are few, and are not counted.
    """
    if sweep.unmeasured:
        return []
    configurations = len(sweep.configurations)
    if sweep.algorithm.learns:
        configurations += sweep.algorithm.trials or 0
    runs = [configuration.run for configuration in sweep.configurations] or [sweep.base]
    orders = max(len(sweep.orders_for(run)) for run in {run.stream: run for run in runs}.values())
    replicates = orders * len(sweep.seeds)
    replicates = min(replicates, sweep.replicates.runs or replicates)
    trials = configurations * replicates
    if trials <= MAX_TRIALS:
        return []
    hint = (
        f"They are {configurations} configurations x {orders} orders x {len(sweep.seeds)} seeds. "
        if sweep.replicates.runs is None
        else f"They are {configurations} configurations x {replicates} replicates. "
    ) + "Start with fewer of one of them and add more later: stored stages are kept."
    return [ConfigIssue("search", f"{trials} trials", f"at most {MAX_TRIALS} trials", hint)]


def _mappings_and_lists(value: Any, path: str) -> Iterator[ConfigIssue]:
    if isinstance(value, Mapping):
        if len(value) > MAX_KEYS:
            yield _too_many(path or "sweep", len(value), MAX_KEYS, "keys in a mapping")
            return
        for name, item in value.items():
            yield from _mappings_and_lists(item, f"{path}.{name}" if path else f"{name}")
    elif isinstance(value, list):
        if len(value) > MAX_POINTS:
            hint = "Use a range, such as {log: [0.001, 1]}, with `random` or `sobol`."
            hint = hint if path.startswith("search.") else ""
            yield _too_many(path, len(value), MAX_POINTS, "items", hint)
            return
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                yield from _mappings_and_lists(item, f"{path}[{index}]")


def _grid(document: Mapping[str, Any]) -> list[ConfigIssue]:
    """Return an issue if a grid has too many combinations, without looking at their values."""
    algorithm, search = document.get("algorithm"), document.get("search")
    kind = algorithm.get("kind", "grid") if isinstance(algorithm, Mapping) else "grid"
    if kind != "grid" or not isinstance(search, Mapping):
        return []
    combinations = _combinations(search)
    if combinations <= MAX_POINTS:
        return []
    got = f"{combinations} combinations" if combinations < 10**12 else "more than 10^12"
    hint = (
        "Use `algorithm: {kind: sobol, trials: 100}`, or `random`, to draw some of them, or list "
        "fewer values."
    )
    constraint = f"at most {MAX_POINTS} combinations of a grid"
    return [ConfigIssue("search", got, constraint, hint)]


def _combinations(search: Mapping[str, Any]) -> int:
    return math.prod(
        sum(map(_choice_combinations, values)) if path in SECTIONS else len(values)
        for path, values in search.items()
        if isinstance(values, list) and values
    )


def _choice_combinations(choice: Any) -> int:
    inner = choice.get("search") if isinstance(choice, Mapping) else None
    return _combinations(inner) if isinstance(inner, Mapping) else 1


def _too_many(path: str, got: int, most: int, noun: str, hint: str = "") -> ConfigIssue:
    return ConfigIssue(path, got, f"at most {most} {noun}", hint)
