"""Early stopping and a race in the report: who, when, what it spared and what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pytest

from sweeps.analysis.effects.stopping_audit import rung_verdicts
from sweeps.report import ReportInputs, render
from sweeps.report.cost import cost_section
from sweeps.report.page import sections_of
from sweeps.report.stopping import stopping_section
from tests.sweeps.report.pages import Page
from tests.sweeps.report.simulated import simulated
from tests.sweeps.report.stopped import ruled
from tests.sweeps.simulated import Simulation, Truth

RULES = {
    "early_stop": {"after_task": 2, "metric": "average_accuracy", "audit": 0.3},
    "racing": {"start": 4, "step": 2},
}
STOPPED = Simulation(
    orders={"design": "random", "count": 3},
    rules=RULES,
    matrices=False,
    truth=Truth(configuration=0.1, residual=0.002, configuration_order=0.002),
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """20 configurations, three orders, two seeds; rungs after 2 and 6 of 10 tasks, then a race."""
    return ruled(tmp_path_factory.mktemp("ruled"), STOPPED)


def rungs(inputs: ReportInputs) -> list[tuple[str, str]]:
    return [(one.config_id, one.verdict) for one in inputs.decisions if one.by == "early_stop"]


def means(inputs: ReportInputs) -> dict[str, float]:
    return {
        one.config_id: sum(found.values()) / len(found)
        for one in inputs.by_split["validation"]
        if (found := one.metrics["average_accuracy"])
    }


def test_each_rung_reports_who_continued_stopped_and_was_audited(inputs: ReportInputs) -> None:
    figure = next(f for f in stopping_section(inputs).figures if f.id == "stopping-rungs")
    first, second = figure.table.rows
    assert first[:4] == ["after 2 tasks", "20", "7", "13"]
    assert second[:4] == ["after 6 tasks", "7", "3", "4"]
    counted = Counter(verdict for _, verdict in rungs(inputs))
    assert int(first[4]) + int(second[4]) == counted["audit"] > 0
    bars = {trace["name"]: trace["y"] for trace in figure.spec["data"]}
    assert bars["continued"] == [7, 3]
    assert sum(bars["stopped"]) == counted["stops"]
    assert "n = 20 configurations" in figure.caption


def test_what_was_spared_is_what_nobody_trained(inputs: ReportInputs) -> None:
    asked = {key for row in inputs.trials.to_pylist() for key in row["stage_keys"]}
    trained = set(inputs.stages["stage_key"].to_pylist())
    spared, share = len(asked - trained), len(asked - trained) / len(asked)
    assert spared > 0
    lead = stopping_section(inputs).lead
    assert f"saved {spared} of {len(asked)} stages ({share:.0%})" in lead


def test_the_regret_is_that_of_the_audited_ones(inputs: ReportInputs) -> None:
    """The best of the stopped ones is declared audited: it then has a regret, known by hand."""
    found, verdicts = means(inputs), rung_verdicts(rungs(inputs))
    kept = sorted(verdicts.kept, key=found.__getitem__)
    best, second = kept[-1], kept[-2]
    turned = tuple(
        replace(one, verdict="audit") if (one.config_id, one.tasks) == (best, 6) else one
        for one in inputs.decisions
    )
    section = stopping_section(replace(inputs, decisions=turned))
    labels = {one.config_id: one.label for one in inputs.decisions}
    regret = 100 * (found[best] - found[second])
    words = f"{labels[best]}, ended {regret:.1f} points better in average accuracy than"
    assert f"Regret: the best audited configuration, {words}" in section.lead
    figure = next(f for f in section.figures if f.id == "stopping-regret")
    assert figure.table.rows[0][0] == labels[best]
    assert figure.table.rows[0][2] == f"{regret:+.1f}"
    assert figure.table.rows[0][5] == "yes"  # it is on the front
    assert len(figure.table.rows) == len(verdicts.audited) + 1
    assert f"n = {len(verdicts.audited) + 1} audited configurations" in figure.caption


def test_no_regret_is_said_too(inputs: ReportInputs) -> None:
    found, verdicts = means(inputs), rung_verdicts(rungs(inputs))
    best = max(found[c] for c in verdicts.kept)
    assert all(found[c] < best for c in verdicts.audited)
    assert "Regret 0: no audited configuration ended better" in stopping_section(inputs).lead


def test_the_race_says_what_it_left_out(inputs: ReportInputs) -> None:
    """One racer has three runs fewer than the six that are declared."""
    racers = [one for one in inputs.decisions if one.by == "racing"]
    trials = inputs.trials
    later = pc.and_(
        pc.equal(trials["config_id"], racers[0].config_id), pc.equal(trials["seed"], 1)
    )
    section = stopping_section(replace(inputs, trials=trials.filter(pc.invert(later))))
    race = dict(section.tables)["Decisions of racing"]
    assert [row[0] for row in race.rows] == [one.label for one in racers]
    assert [row[1:3] for row in race.rows] == [["3", "6"], ["6", "6"], ["6", "6"]]
    assert "saved 3 of 18 declared runs" in section.lead
    assert "saved 0 of 18 declared runs" in stopping_section(inputs).lead


def test_every_stopped_configuration_is_named_with_its_reason(inputs: ReportInputs) -> None:
    decided = dict(stopping_section(inputs).tables)["Decisions of the rungs"]
    assert len(decided.rows) == 20
    first, last = decided.rows[0], decided.rows[-1]
    assert first[1:3] in (["6", "stopped"], ["6", "stopped, audited"])
    assert first[3].startswith("stops after 6 tasks: rank")
    assert last[2] == "continued"


def test_the_page_has_the_section_where_rules_are_declared(inputs: ReportInputs) -> None:
    page = Page(render(inputs))
    assert "Early stopping" in page.sections["stopping"]
    assert len(page.tables["stopping-regret"]) > 1
    assert "No configuration was stopped early" not in page.sections["cost"]
    without = simulated(4, orders=1, seeds=1, tasks=3)
    assert "stopping" not in [section.id for section in sections_of(without)]
    (note,) = cost_section(without).notes
    assert "neither `early_stop` nor `racing`" in note


def test_nothing_decided_and_nothing_stopped_yet_are_said(inputs: ReportInputs) -> None:
    before = stopping_section(replace(inputs, decisions=()))
    assert "No rung has been decided yet, so no configuration was stopped." in before.lead
    assert "Racing has not started" in before.lead
    assert before.figures == ()
    on = tuple(one for one in inputs.decisions if one.verdict == "goes on" and one.tasks == 6)
    assert "No configuration was stopped" in stopping_section(replace(inputs, decisions=on)).lead


def test_an_audit_that_has_not_finished_is_not_read(tmp_path: Path) -> None:
    """After the first step only the first rung is decided, and its audited ones run."""
    rules = {"early_stop": RULES["early_stop"]}
    small = replace(STOPPED, orders={"design": "identity"}, seeds=1, rules=rules)
    early = ruled(tmp_path, small, steps=1)
    section = stopping_section(early)
    assert [one.tasks for one in early.decisions] == [2] * 20
    assert "13 of 20 configurations were stopped early" in section.lead
    assert section.notes == (
        "The cost of early stopping is not known yet: the audit has not finished.",
    )
    assert [figure.id for figure in section.figures] == ["stopping-rungs"]
    unknown = tuple(replace(o, verdict="stops") for o in early.decisions if o.verdict == "audit")
    printed = stopping_section(replace(early, decisions=unknown))
    assert "no stopped configuration was audited" in printed.notes[0]
