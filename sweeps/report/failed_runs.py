"""Report section on failed runs, open runs, runs without metrics, and unreadable parts."""

from __future__ import annotations

from collections import Counter

from clmethods.config.readout import readout_notes
from sweeps.presentation.numbers import count
from sweeps.report.page_model import Section, table
from sweeps.report.report_inputs import ReportInputs

LISTED = 60


def failures_section(inputs: ReportInputs) -> Section:
    """Return failures by kind with one example each, and all missing runs and metrics."""
    rows = inputs.trials.to_pylist()
    failed = [row for row in rows if row["status"] == "failed"]
    stopped = [row for row in rows if row["status"] == "stopped"]
    total = inputs.requested
    remaining = total - inputs.finished - len(failed) - len(stopped)
    parts = [f"{inputs.finished:,} of {count(total, 'run')} finished"]
    parts.append(f"{len(failed):,} failed" if failed else "none failed")
    if stopped:
        parts.append(f"{len(stopped):,} stopped")
    if remaining:
        parts.append(f"{remaining:,} remaining")
    tables = []
    if failed:
        kinds = Counter(row["error_kind"] or "unknown" for row in failed)
        example = {row["error_kind"] or "unknown": row["error"] for row in reversed(failed)}
        tables.append(
            (
                "Failures by kind",
                table(
                    ["kind", "#runs", "for example"],
                    [[kind, n, example[kind]] for kind, n in kinds.most_common()],
                ),
            )
        )
        tables.append(
            (
                "Failed runs",
                table(
                    ["configuration", "order", "#seed", "#attempt", "#stages", "cause"],
                    [
                        [
                            row["label"],
                            row["order_id"],
                            row["seed"],
                            row["attempt"],
                            f"{row['stages_done']}/{row['stages_total']}",
                            row["error"],
                        ]
                        for row in failed[:LISTED]
                    ],
                    note=f"the first {LISTED} of {len(failed):,}" if len(failed) > LISTED else "",
                ),
            )
        )
    reasons = Counter(
        (row["readout_id"], row["reason"])
        for row in inputs.summaries["test"].select(["readout_id", "reason", "status"]).to_pylist()
        if row["reason"] and row["status"] == "finished"
    )
    if reasons:
        tables.append(
            (
                "Finished runs without metrics",
                table(
                    ["readout", "reason", "#runs"],
                    [[readout, reason, n] for (readout, reason), n in reasons.most_common(LISTED)],
                ),
            )
        )
    return Section(
        id="failures",
        title="Failures and warnings",
        short="Failures",
        lead="; ".join(parts) + ".",
        tables=tuple(tables),
        notes=tuple(dict.fromkeys(_warnings(inputs))),
    )


def _warnings(inputs: ReportInputs) -> list[str]:
    warnings = list(inputs.warnings)
    warnings += [
        f"Readout {name}: {note}." for name in inputs.readouts for note in readout_notes(name)
    ]
    versions = ("torch_version", "timm_version", "code_version", "host_kind")
    for name in versions:
        values = sorted(set(inputs.stages[name].to_pylist()))
        if len(values) > 1:
            warnings.append(
                f"The stages have {len(values)} values of {name}: {', '.join(values)}."
            )
    return warnings
