"""Definitions for tooltips and the glossary; metrics and columns in their own code's words."""

from __future__ import annotations

from clmethods.metrics import DIRECTIONS, METRICS
from clmethods.metrics.counts import COUNT_METRICS
from sweeps.report.formatting import metric_name
from sweeps.results import TABLES

_COLUMNS = {
    "trainable parameters": ("trials", "trainable_parameters"),
    "stored bytes": ("trials", "stored_bytes"),
    "CPU seconds": ("stages", "cpu_s"),
    "wall seconds": ("stages", "wall_s"),
    "peak memory": ("stages", "peak_rss_bytes"),
}
"""Terms that a column of a result table defines."""

_STATISTICS = {
    "validation": "Images held out of training. They decide: search, front and choice read them.",
    "test": "Images that nothing was chosen on. They stand beside, to be reported.",
    "configuration": "One setting of all fields but the seeds and the task order, under one "
    "readout.",
    "run": "One configuration trained through all tasks, in one order with one seed.",
    "readout": "How predictions are read from a trained model; one training serves all of them.",
    "95 % interval": "Where the mean over all orders and seeds lies: a t interval from the "
    "variance components of orders x seeds, at Satterthwaite's quantile, or Cochran's with two "
    "orders or seeds. Runs that share an order or a seed do not count as independent.",
    "prediction interval": "Where one new run lies, with a fresh seed, in 95 % of the cases.",
    "accuracy matrix": "Accuracy on each task after each stage: the row is the stage, the column "
    "the task in the order of learning, so that what is right of the diagonal is not learned yet.",
    "forgetting curve": "A column of the accuracy matrix: the accuracy on one task from the stage "
    "that learned it to the last.",
    "freeze map": "Which matrices are no longer trained: importance-based parameter constraints "
    "freeze the most important ones, task after task.",
    "parallel coordinates": "One line per configuration; an upright line per axis of the search "
    "and per objective. A line crosses each at the configuration's value.",
    "front": "Configurations that no other beats in every objective at once, by their means on "
    "validation images. References and readouts that are told the task are never on it.",
    "share of draws": "How often a configuration is on the front when orders and seeds are drawn "
    "again with replacement, the same for all configurations (pigeonhole bootstrap).",
    "knee": "The point of the front that lies farthest beyond the plane through its extremes.",
    "hypervolume": "Share of the space of objectives that the front dominates, measured from the "
    "worst mean of each objective.",
    "attainment": "What the front of a single order with a single seed dominates or touches. The "
    "curve of k fronts bounds what at least k of them attain; that of half of them is the median "
    "front (empirical attainment function, Fonseca and Fleischer 2005).",
    "OPD": "Order-normalised performance disparity of a task: largest less smallest final "
    "accuracy over the task orders, averaged over seeds first (Yoon et al. 2020).",
    "AOPD": "Mean of the OPD over the tasks. It grows with the number of orders.",
    "MOPD": "Largest OPD of all tasks.",
    "seed floor": "The same disparity between the seeds of one order: what an order effect must "
    "rise above.",
    "variance share": "Part of the variance of single runs that comes from one source: analysis "
    "of variance with configuration, order and seed as random effects.",
    "Kendall's W": "Agreement of the rankings over the orders: 1 if every order ranks the "
    "configurations alike, 0 if they have nothing in common.",
    "flip": "An order in which the ranking of two configurations is turned around.",
    "position effect": "What learning a task early or late does to its final accuracy, as a "
    "deviation from the mean over the positions; order and task are taken out.",
    "carry-over": "What the task before does to the final accuracy of the one learned right after "
    "it; order, task and position are taken out.",
    "matched difference": "A value less the baseline value of its axis, over pairs of "
    "configurations that differ in nothing else, in the same order with the same seed.",
    "interaction": "How much the effect of one value changes where another axis takes its other "
    "value.",
    "fANOVA": "Share of the variance of a forest's prediction that one axis explains (Hutter et "
    "al. 2014). It has no interval.",
    "PED-ANOVA": "How much an axis matters for being among the best tenth (Watanabe et al. 2023). "
    "It has no interval.",
    "drift": "How far an effective weight has moved since the end of earlier tasks: mean of "
    "||E_t - E_j|| / ||E_j|| over the earlier tasks j, at the end of the run.",
    "matrix importance": "Share of the matrices with a lower importance score, over the tasks "
    "after which all were scored.",
    "frozen from": "First task that is trained with the matrix frozen, counted from 1; mean over "
    "the runs in which it froze.",
    "rung": "A number of tasks after which configurations are compared over the same orders and "
    "seeds, and the worse ones stop.",
    "audit": "A share of the stopped configurations, drawn at random, that runs to the end all "
    "the same, so that what stopping costs is measured.",
    "regret": "By how much the best audited configuration ended better than the best that went "
    "on; 0 if it did not. Stopped ones that were not audited may be better still.",
    "race": "Further orders and seeds only for configurations whose place on the front is "
    "undecided, by paired intervals that hold together over all pairs and rounds.",
    "ablation path": "From one configuration to another, one factor at a time, over "
    "configurations that were run (Fawcett and Hoos 2016).",
    "similarity association": "Rank correlation of how alike two tasks are with what the earlier "
    "one loses while the later is learned, given how long ago it was learned; mean over the runs. "
    "Above 0, similar tasks cost each other more.",
    "stage": "Training on one task from the state after the last one. Runs whose fields act alike "
    "up to a task share its stages.",
}
"""Terms of the analysis, for readers; the formulas are in the modules of `sweeps.analysis`."""


def glossary() -> dict[str, str]:
    """Every term with its definition."""
    definitions = {
        **{name: metric.definition for name, metric in METRICS.items()},
        **{name: metric.definition for name, metric in COUNT_METRICS.items()},
    }
    found = dict(_STATISTICS)
    for name, text in definitions.items():
        better = "higher" if DIRECTIONS[name] == "max" else "lower"
        found[metric_name(name)] = f"{text[0].upper()}{text[1:]}; {better} is better."
    for term, (name, column) in _COLUMNS.items():
        found[term] = next(c.doc for c in TABLES[name].columns if c.name == column)
    return found
