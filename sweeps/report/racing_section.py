"""Report on racing: its decisions about configurations, and the number of runs it saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow.compute as pc

from sweeps.presentation.numbers import count
from sweeps.report.page_model import Column, Table, table
from sweeps.report.report_inputs import ReportInputs
from sweeps.search.search_state import Decision

LISTED = 60
PLACES = {"on": "on the front", "off": "off the front"}


def racing_summary(
    inputs: ReportInputs, race: Sequence[Decision], tables: list[tuple[str, Table]]
) -> str:
    """Return the decisions of racing in a sentence, and append their table to `tables`."""
    if not race:
        return "Racing has not started, because its first runs are incomplete."
    finished = inputs.trials.filter(pc.equal(inputs.trials["status"], "finished"))
    done = Counter(finished["config_id"].to_pylist())
    requested = Counter(inputs.trials["config_id"].to_pylist())
    declared = _declared(inputs, race)
    saved = sum(max(declared[o.config_id] - requested[o.config_id], 0) for o in race)
    verdicts = Counter(decision.verdict for decision in race)
    failed = f", {verdicts['failed']} failed" if verdicts["failed"] else ""
    tables.append(
        (
            "Decisions of racing",
            table(
                [
                    Column(title="configuration", term="racing"),
                    "#runs",
                    "#declared",
                    "decision",
                    "reason",
                ],
                [
                    [
                        o.label,
                        done[o.config_id],
                        declared[o.config_id],
                        PLACES.get(o.verdict, o.verdict),
                        o.because,
                    ]
                    for o in race[:LISTED]
                ],
                note=f"the first {LISTED} of {len(race):,}" if len(race) > LISTED else "",
            ),
        )
    )
    return (
        f"Racing decided that {verdicts['on']} of {count(len(race), 'configuration')} are on the "
        f"front and {verdicts['off']} are not; {verdicts['undecided']} are undecided{failed}. It "
        f"saved {saved:,} of {count(declared.total(), 'declared run')}."
    )


def _declared(inputs: ReportInputs, race: Sequence[Decision]) -> Counter[str]:
    """Return the number of runs of each configuration without racing.

    That number is the number of pairs of order and seed, times class orders and splits if they
    vary.
    """
    sweep = inputs.sweep
    listed: Counter[str] = Counter()
    for config in sweep.configurations:
        if config.role == "search":
            listed[config.run.config_id] += len(sweep.replicates_for(config.run))
    proposed = sweep.replicate_count
    return Counter({o.config_id: listed[o.config_id] or proposed for o in race})
