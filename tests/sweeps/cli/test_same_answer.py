"""`run`, `select`, `pareto`, `orders` and the report give the same answers on one storage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.text.run_summary import result_text
from sweeps.execution.driver import SweepOutcome
from sweeps.planning.plan import make_plan
from sweeps.report import read_report_inputs, render
from sweeps.stages.stage_store import StageStore
from tests.sweeps.report.pages import Page

Command = Callable[..., Result]


def _run_summary(answers: Path) -> str:
    stored = open_stored_sweep(str(answers))
    plan = make_plan(stored.sweep, StageStore(stored.objects))
    trials = len(plan.trials)
    outcome = SweepOutcome(plan=plan, trained=0, finished=trials, failed=(), interrupted=False)
    return result_text(outcome, stored.objects)


def _page(answers: Path) -> Page:
    stored = open_stored_sweep(str(answers))
    return Page(render(read_report_inputs(stored.sweep, stored.objects)))


def test_the_same_configuration_is_chosen(sweeps_command: Command, answers: Path) -> None:
    card = sweeps_command("select", answers).output
    chosen = next(line for line in card.splitlines() if line.startswith("choose"))
    name = chosen.removeprefix("choose").strip()
    assert name == "nearest_class_mean, readout `last`"
    summary = _run_summary(answers)
    assert re.search(rf"choose +{re.escape(name)}$", summary, flags=re.MULTILINE)
    assert "best on validation" not in summary  # a second answer to the same question
    assert name.replace("`", "") in " ".join(_page(answers).sections["summary"].split())


def test_the_three_answers_are_those_of_the_report(answers: Path, finished: Path) -> None:
    for storage in (answers, finished):
        summary = " ".join(_run_summary(storage).split())
        order, rest = re.findall(
            r"does the task order matter\? (.*?\.) Which configuration .*? (LoRA\? .*)$", summary
        )[0]
        sections = {k: " ".join(t.split()) for k, t in _page(storage).sections.items()}
        assert order in sections["orders"]
        assert order in sections["summary"]
        benefit = re.search(r"LoRA\? ((?:Not here|Yes here|Undecided): .*?\))", rest)
        assert benefit is not None
        assert benefit[1] in sections["summary"]
    saved = rest.partition("What did sharing stages save? ")[2]
    assert re.match(r"\d+ finished runs took \d+ steps, of which \d+ were shared: ", saved)
    assert saved in sections["cost"]  # the second storage knows the costs of its stages


def test_the_answers_fit_a_small_terminal(answers: Path) -> None:
    lines = _run_summary(answers).splitlines()
    start = lines.index("How much does the task order matter?")
    assert len(lines) - start <= 25
    assert all(len(line) <= 80 for line in lines[start:])


def test_numbers_and_counts_agree(sweeps_command: Command, answers: Path) -> None:
    sections = {k: " ".join(t.split()) for k, t in _page(answers).sections.items()}
    orders = sweeps_command("orders", answers).output
    (agreement,) = re.findall(r"Kendall's W [\d.]+ over \d configurations", orders)
    value, number = re.findall(r"[\d.]+", agreement)
    assert f"Kendall's W over {number} configurations of the search: {value}" in sections["orders"]
    plan = json.loads(sweeps_command("orders", answers, "--json").output)
    assert plan["ranking"]["configurations"] == int(number) == 3
    assert f"{plan['ranking']['kendall_w']:.2f}" == value
    assert "configurations 5 " in sections["summary"]
    assert (
        "of 5 configurations"
        in sweeps_command("plan", _file(answers), "--storage", answers).output
    )


def _file(answers: Path) -> Path:
    (file,) = answers.glob("sweeps/*/sweep.yaml")
    return file


def test_every_mean_of_the_table_is_that_of_the_report(
    sweeps_command: Command, answers: Path
) -> None:
    found = json.loads(sweeps_command("pareto", answers, "--json").output)
    text = sweeps_command("pareto", answers).output
    page = {cell for table in _page(answers).tables.values() for row in table for cell in row}
    means = [
        row[key]["mean"]
        for row in found["configurations"]["rows"]
        for key in ("validation_average_accuracy", "test_average_accuracy")
    ]
    assert len(means) == 10
    for mean in means:
        shown = f"{100 * mean:.1f}"
        assert shown in text
        assert any(cell.startswith(shown) for cell in page), shown
