"""Glossary of the report and of `docs/glossary.md`: terms of the field and of this package.

Definitions of metrics and of columns are taken from `clmethods.metrics` and `sweeps.results`.
After a change, write `docs/glossary.md` again with `python -c "from sweeps.report.glossary import
glossary_markdown; print(glossary_markdown(), end='')" > docs/glossary.md`.
"""

from __future__ import annotations

import textwrap

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
"""Terms that are columns of a result table, as (table, column)."""

_TERMS = {
    "task": "Set of classes that a method learns at the same time.",
    "task order": "Permutation of the tasks: the order in which a run learns them.",
    "sweep": "Set of runs that one sweep file describes: configurations x task orders x seeds.",
    "axis": "Field of the sweep file that takes several values in the search.",
    "configuration": "One setting of all fields except seeds and task order, with one readout.",
    "trial": "One configuration with one task order and one seed, and all its readouts, which Ray "
    "Tune schedules.",
    "run": "One configuration, trained on all tasks in one order with one seed.",
    "replicate": "One of several runs of the same configuration, with another order or seed.",
    "baseline": "Configuration outside the search, trained for comparison.",
    "reference": "Configuration for comparison that solves an easier problem, such as joint "
    "training on all tasks; it is never on the front.",
    "stage": "Training on one task, starting from the state after the previous task. Runs whose "
    "settings have the same effect up to a task share its stage.",
    "stage key": "Hash of all inputs that the state of a stage depends on. Stages with the same "
    "key are trained once.",
    "chain": "Stages of one trial, in the order of training.",
    "validation": "Training images that are held out. Search, front and selection use them.",
    "test": "Images that no decision uses. Test results are reported alongside.",
    "readout": "Procedure that predicts classes with a trained model. All readouts use the same "
    "training.",
    "95 % interval": "Confidence interval of the mean over all orders and seeds: a t interval "
    "from the variance components of orders x seeds, with Satterthwaite's quantile, or Cochran's "
    "for two orders or seeds. Runs that share an order or a seed do not count as independent.",
    "prediction interval": "Interval that contains the result of one new run, with a new seed, "
    "with a probability of 95 %.",
    "accuracy matrix": "Accuracy on each task after each stage. Rows are stages, columns are "
    "tasks in the order of learning. Entries right of the diagonal are of tasks not learned yet.",
    "forgetting curve": "Column of the accuracy matrix: accuracy on one task after the stage that "
    "learned it and after each later stage.",
    "importance-based parameter constraints (IPC)": "Freezing of the weight matrices with the "
    "highest importance scores after each task, so that later tasks do not change them.",
    "freeze map": "Share of the runs in which each weight matrix is frozen, by task.",
    "parallel coordinates": "Plot with one vertical line per axis of the search and per "
    "objective. Each configuration is a line that crosses them at its values.",
    "front": "Pareto front: configurations that no other configuration dominates, by their means "
    "on validation images. References and readouts that use the true task are never on it.",
    "P(front)": "Front membership probability: estimated probability that a configuration is on "
    "the front of the true means, from the runs that all configurations have in common. It needs "
    "at least three orders and three seeds. It is too high above 90 % "
    "where orders have an effect: by up to 14 points in simulations with three orders.",
    "knee": "Point of the front with the largest distance from the plane through its extremes.",
    "hypervolume": "Volume of the objective space that the front dominates, relative to the worst "
    "mean of each objective.",
    "attainment curve": "Boundary of the objective values that at least k single runs (one order, "
    "one seed) dominate or equal; for half of the runs it is the median front (empirical "
    "attainment function, Fonseca and Fleischer 2005).",
    "OPD": "Order-normalized performance disparity of a task: largest minus smallest final "
    "accuracy over the task orders, after averaging over seeds (Yoon et al. 2020).",
    "AOPD": "Mean of the OPD over the tasks. It increases with the number of orders.",
    "MOPD": "Maximum of the OPD over the tasks.",
    "seed floor": "The same disparity between seeds of one order. An order effect is visible only "
    "if it exceeds this value.",
    "variance share": "Share of the variance of single runs that is due to one source: analysis "
    "of variance with configuration, order and seed as random effects.",
    "Kendall's W": "Agreement of the rankings of configurations between orders: 1 if all orders "
    "give the same ranking, 0 if there is no agreement.",
    "mean rank": "Rank of a configuration by its mean over seeds, averaged over the orders; 1 if "
    "it is the best in every order.",
    "flip": "Order in which the ranking of two configurations is reversed.",
    "position effect": "Effect of the position of a task on its final accuracy, as a deviation "
    "from the mean over positions, adjusted for order and task.",
    "carry-over": "Effect of the preceding task on the final accuracy of a task, adjusted for "
    "order, task and position.",
    "matched difference": "A value minus the baseline value of its axis, over pairs of "
    "configurations that differ in nothing else, with the same order and seed.",
    "interaction": "Change of the effect of one value when another axis changes its value.",
    "fANOVA": "Share of the variance of a random forest's prediction that one axis explains "
    "(Hutter et al. 2014). It has no interval.",
    "PED-ANOVA": "Importance of an axis for belonging to the best tenth of the configurations "
    "(Watanabe et al. 2023). It has no interval.",
    "drift": "Relative change of an effective weight since the end of earlier tasks: mean of "
    "||E_t - E_j|| / ||E_j|| over the earlier tasks j, at the end of the run.",
    "matrix importance": "Share of the matrices with a lower importance score, over the tasks "
    "after which all matrices were scored.",
    "frozen from": "First stage, counted from 1, that is trained with the matrix frozen; mean "
    "over the runs in which it was frozen.",
    "rung": "Number of tasks after which early stopping compares configurations over the same "
    "orders and seeds and stops the worse ones.",
    "audit": "Continuation of a random share of the stopped configurations to the last task, "
    "which measures the cost of early stopping.",
    "regret": "Difference between the best audited configuration and the best configuration that "
    "was not stopped; 0 if the latter is at least as good. Stopped configurations that were not "
    "audited may be better.",
    "racing": "Adaptive replication: further orders and seeds only for configurations whose "
    "membership in the front is undecided, by paired intervals that hold simultaneously over all "
    "pairs and rounds.",
    "ablation path": "Path from one configuration to another that changes one factor per step, "
    "over configurations that were run (Fawcett and Hoos 2016).",
    "similarity association": "Rank correlation between the similarity of two tasks and the loss "
    "of accuracy on the earlier task while the later one is learned, adjusted for the number of "
    "tasks in between; mean over runs. If positive, a task is forgotten more while a similar task "
    "is learned.",
}
"""Terms of the analysis and of this package. The formulas are in `sweeps.analysis`."""

_MARKDOWN_HEAD = """# Glossary

Terms of continual learning, of the statistics and of this package. The report shows the same
definitions. This file is generated by `sweeps.report.glossary`; a test compares both."""

WIDTH = 99
"""Maximum number of characters of a line of the Markdown file."""


def glossary() -> dict[str, str]:
    """Return every term with its definition."""
    metrics = {
        **{name: metric.definition for name, metric in METRICS.items()},
        **{name: metric.definition for name, metric in COUNT_METRICS.items()},
    }
    terms = dict(_TERMS)
    for name, text in metrics.items():
        better = "higher" if DIRECTIONS[name] == "max" else "lower"
        terms[metric_name(name)] = f"{text[0].upper()}{text[1:]}; {better} is better."
    for term, (name, column) in _COLUMNS.items():
        terms[term] = next(c.doc for c in TABLES[name].columns if c.name == column)
    return terms


def glossary_markdown() -> str:
    """Return the glossary as Markdown, in alphabetical order."""
    terms = sorted(glossary().items(), key=lambda item: item[0].lower())
    parts = [
        textwrap.fill(f"**{term}**: {text}", WIDTH, break_on_hyphens=False) for term, text in terms
    ]
    return "\n\n".join([_MARKDOWN_HEAD, *parts]) + "\n"
