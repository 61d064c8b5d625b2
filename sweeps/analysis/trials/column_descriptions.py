"""Descriptions of the columns of all result tables and of the summary, generated from the code."""

from __future__ import annotations

from clmethods.metrics import COUNT_METRICS, METRICS, OF_COUNTS, REFERENCES
from sweeps.analysis.trials.reference_metrics import NEEDY, REFERENCES_COLUMN
from sweeps.analysis.trials.summary import SUMMARY
from sweeps.results import SCHEMA_VERSION, TABLES, describe

MEMORY = "the size of the stored stages: `stages.state_bytes`, cumulative over the tasks"

_OWN = {
    "readout_id": "Readout that made the predictions; batch-wise readouts have separate rows.",
    "split": "Held-out images: validation, for selection, or test.",
    "reason": "Reason why the row has no metrics: the run failed, or evaluations are missing.",
    REFERENCES_COLUMN: "JSON: reference runs that were used, by kind of reference.",
}


def describe_tables() -> str:
    """Return all result tables and the summary as Markdown, column by column."""
    return "\n".join(
        [f"Result tables, schema version {SCHEMA_VERSION}.\n", describe(), _describe_summary()]
    )


def _describe_summary() -> str:
    lines = [
        "### summary\n",
        "One row per trial x readout x split. Computed from the counts when it is read. There is "
        "also a column\nfor every searched field, named by its dotted path.\n",
        "| column | type | better | meaning |",
        "|---|---|---|---|",
    ]
    kinds = {field.name: str(field.type) for field in SUMMARY}
    known = {c.name: c.doc for table in TABLES.values() for c in table.columns}
    for name in (*SUMMARY.names, *NEEDY, REFERENCES_COLUMN):
        kind = kinds.get(name, "string" if name == REFERENCES_COLUMN else "double")
        better, meaning = "", _OWN.get(name, known.get(name, ""))
        if name in METRICS or name in COUNT_METRICS:
            better = "high" if _metric(name)[0] == "max" else "low"
            meaning = _metric(name)[1]
        lines.append(f"| `{name}` | {kind} | {better} | {meaning} |")
    return "\n".join(lines) + "\n"


def _metric(name: str) -> tuple[str, str]:
    """Return direction and definition, with the data required besides the counts of the run."""
    if name in METRICS:
        return METRICS[name].direction, METRICS[name].definition
    metric = COUNT_METRICS[name]
    if name in OF_COUNTS:
        return metric.direction, metric.definition
    needs = f"`{metric.needs}`: {REFERENCES.get(metric.needs or '', MEMORY)}"
    return metric.direction, f"{metric.definition}. Null without {needs}"
