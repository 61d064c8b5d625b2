"""What a race decided about configurations, and which runs it left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow.compute as pc

from sweeps.report.evidence import Evidence
from sweeps.report.formatting import count
from sweeps.report.model import Column, Table, table
from sweeps.search.step import Decision

LISTED = 60
PLACES = {"on": "on the front", "off": "off the front"}


def raced(evidence: Evidence, race: Sequence[Decision], tables: list[tuple[str, Table]]) -> str:
    """What the race decided in words; its table is added."""
    if not race:
        return "The race has not begun: its first runs are not all there."
    finished = evidence.trials.filter(pc.equal(evidence.trials["status"], "finished"))
    done = Counter(finished["config_id"].to_pylist())
    held = Counter(evidence.trials["config_id"].to_pylist())
    declared = _declared(evidence, race)
    spared = sum(max(declared[o.config_id] - held[o.config_id], 0) for o in race)
    found = Counter(one.verdict for one in race)
    failed = f", {found['failed']} failed" if found["failed"] else ""
    tables.append(
        (
            "What the race decided",
            table(
                [
                    Column(title="configuration", term="race"),
                    "#runs",
                    "#declared",
                    "place",
                    "because",
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
        f"The race put {found['on']} of {count(len(race), 'configuration')} on the front and "
        f"{found['off']} off it, {found['undecided']} are undecided{failed}; it left out "
        f"{spared:,} of {count(declared.total(), 'declared run')}."
    )


def _declared(evidence: Evidence, race: Sequence[Decision]) -> Counter[str]:
    """Runs that each racer might have had: orders with seeds, and with class orders and splits."""
    sweep = evidence.sweep
    found: Counter[str] = Counter()
    for one in sweep.configurations:
        if one.role == "search":
            found[one.run.config_id] += len(sweep.orders_for(one.run)) * len(sweep.seeds)
    proposed = len(sweep.orders_for(sweep.base)) * len(sweep.seeds)
    return Counter({o.config_id: found[o.config_id] or proposed for o in race})
