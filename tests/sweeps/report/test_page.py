"""The page of a real small sweep: its numbers are those of the tables, its texts are safe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result

from clmethods.metrics import METRICS
from sweeps.analysis.front.pareto_table import front_rows
from sweeps.analysis.trials.metric_choice import direction_of
from sweeps.analysis.trials.summary import summarize
from sweeps.cli.locate import open_stored_sweep
from sweeps.definition import sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.presentation.selection_card import MARGIN
from sweeps.report import ReportInputs, read_report_inputs, render
from sweeps.report.formatting import metric_name, shown
from sweeps.report.glossary import glossary
from sweeps.report.page import sections_of
from sweeps.report.plots import plot_labels
from sweeps.storage import open_storage
from tests.sweeps.cli.conftest import DOCUMENT
from tests.sweeps.report.pages import Page, data_of
from tests.sweeps.results.apart import take_apart
from tests.sweeps.run_files import store_as_run

Command = Callable[..., Result]


def report_inputs_at(storage: Path, readout: str | None = None) -> ReportInputs:
    stored = open_stored_sweep(str(storage))
    return read_report_inputs(stored.sweep, stored.objects, readout)


@pytest.fixture(scope="module")
def inputs(finished: Path) -> ReportInputs:
    return report_inputs_at(finished)


@pytest.fixture(scope="module")
def text(inputs: ReportInputs) -> str:
    return render(inputs)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The finished sweep, to be changed."""
    storage = Path(shutil.copytree(finished, tmp_path / "copy"))
    take_apart(storage, "small")
    return storage


def parts(storage: Path, table: str) -> list[Path]:
    return sorted(storage.glob(f"sweeps/small/results/{table}/*.parquet"))


def test_the_front_table_has_the_numbers_of_the_analysis(inputs: ReportInputs, page: Page) -> None:
    head, *rows = page.tables["front-0"]
    assert head[-4:] == [
        "validation: average accuracy / %",
        "validation: forgetting / %",
        "test: average accuracy / %",
        "test: forgetting / %",
    ]
    expected = front_rows(inputs.sweep, inputs.summaries, "last")
    assert len(rows) == len(expected) == 4
    for row, held in zip(rows, expected, strict=True):
        assert row[-2] == shown("average_accuracy", *held.estimate("average_accuracy", "test"))
        assert row[3] == str(held.n_replicates)


def test_every_figure_is_one_that_plotly_accepts_and_has_a_table(
    inputs: ReportInputs, text: str, page: Page
) -> None:
    figures = data_of(text)["figures"]
    assert {"front-0", "order-disparity", "order-ranking", "order-mean-ranks"} <= set(figures)
    assert {
        "effects-average_accuracy",
        "matrices-drift",
        "cost-reuse",
        "cost-configurations",
    } <= set(figures)
    for name, spec in figures.items():
        go.Figure(_with_colors(spec))
        assert len(page.tables[name]) > 1, name


def test_every_figure_says_its_unit_its_n_and_what_its_words_mean(
    inputs: ReportInputs, page: Page
) -> None:
    """Also those that a click opens, whose tables the page's script fills."""
    for section in sections_of(inputs):
        for figure in section.figures:
            assert "n = " in figure.caption, figure.id
            assert set(figure.terms) <= set(glossary()), figure.id
            assert figure.terms, figure.id
            unit = ("%", "points", " s", "number", "units", "correlation", "frozen from")
            axes = [figure.spec["layout"][name]["title"]["text"] for name in ("xaxis", "yaxis")]
            words = " ".join([figure.caption, figure.title, *axes])
            assert any(name in words for name in unit), figure.id
    ids = {attributes.get("id") for _, attributes in page.tags}
    opened = {"detail-validation", "detail-test", "detail-curves", "detail-freeze"}
    assert opened | {f"{name}-table" for name in opened} <= ids
    printed = page.sections["configurations"]
    for word in ("accuracy matrix", "forgetting curve", "freeze map", "parallel coordinates"):
        assert word in printed


def _with_colors(value: object) -> object:
    if isinstance(value, str) and value.startswith("@"):
        return "Blues" if value == "@sequential" else "#000000"
    if isinstance(value, list):
        return [_with_colors(one) for one in value]
    if isinstance(value, dict):
        return {key: _with_colors(one) for key, one in value.items()}
    return value


def test_accuracy_matrices_are_means_over_the_runs(inputs: ReportInputs, text: str) -> None:
    """The last row of a matrix averages to the average accuracy of the summary."""
    view = data_of(text)["explorer"]["views"][0]
    for k, split in enumerate(("validation", "test")):
        summary = summarize(inputs.trials, inputs.evals, split).to_pylist()
        for row in view["rows"]:
            values = [
                s["average_accuracy"]
                for s in summary
                if s["config_id"] == row["id"] and s["readout_id"] == "last"
            ]
            matrix = row["m"][k]
            assert np.mean(matrix[-1]) / 1000 == pytest.approx(np.mean(values), abs=6e-4)
            assert [len(r) for r in matrix] in ([1, 2, 3, 4, 5], [5])


def test_instance_wise_and_batch_wise_never_share_a_figure(text: str, page: Page) -> None:
    data = data_of(text)
    kinds = [view["kind"] for view in data["explorer"]["views"]]
    assert kinds == ["instance-wise", "batch-wise"]
    homes = {
        a["id"]: a.get("data-readout") for tag, a in page.tags if tag == "figure" and "id" in a
    }
    assert homes["front-0"] == "last"
    assert homes["front-1"].startswith("batch")
    assert "not comparable with instance-wise results" in page.sections["front"]
    others = [name for name, readout in homes.items() if readout is None]
    assert others  # everything else is of the one readout that the summary names
    assert "readout last" in page.sections["summary"]


def test_validation_decides_and_test_is_reported_alongside(page: Page) -> None:
    assert "The front uses validation images; results on test" in page.sections["front"]
    assert "validation : used for decisions test : reported" in page.sections["summary"]


def test_the_card_is_that_of_select(finished: Path, page: Page, sweeps_command: Command) -> None:
    card = sweeps_command("select", finished).output
    lines = [line[MARGIN:] for line in card.splitlines()]
    assert len(lines) > 5
    for line in lines:
        assert " ".join(line.replace("`", " ").split()) in " ".join(
            page.sections["summary"].split()
        )


def test_nothing_is_fetched(text: str, page: Page) -> None:
    """No tag points outside; what Plotly's code holds is data until it is asked for a map."""
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,", (tag, value)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_a_label_is_text_wherever_it_stands(copy: Path) -> None:
    label = "<script>alert(1)</script>\"'&</td>"
    for part in parts(copy, "trials"):
        table = pq.read_table(part)
        column = table.schema.get_field_index("label")
        labels = pc.if_else(pc.equal(table["role"], "search"), label, table["label"])
        pq.write_table(table.set_column(column, table.schema.field(column), labels), part)
    found = render(report_inputs_at(copy))
    assert "<script>alert" not in found
    assert "&lt;script&gt;alert(1)" in found
    data = data_of(found)
    shown_labels = str(data["figures"])
    assert "<script>" not in shown_labels
    assert "&lt;script&gt;" in shown_labels


def test_labels_stay_apart_when_they_are_shortened() -> None:
    long = "lorac_ipc importance_threshold=0.1 module_weights=learned ortho_lambda=0.01 rank="
    assert plot_labels([f"{long}2", f"{long}4"]) == ["rank=2", "rank=4"]
    assert plot_labels(["a<b"]) == ["a&lt;b"]
    assert len(set(plot_labels([f"{long}2", "ncm"]))) == 2


def test_definitions_are_those_of_the_metrics(page: Page) -> None:
    terms = glossary()
    for name, metric in METRICS.items():
        assert metric.definition[1:] in terms[metric_name(name)]
        assert terms[metric_name(name)].endswith(
            "higher is better." if direction_of(name) == "max" else "lower is better."
        )
    tips = {a["data-tip"] for _, a in page.tags if "data-tip" in a}
    assert terms["forgetting"] in tips
    assert tips <= set(terms.values())


@pytest.mark.parametrize(
    "objectives",
    [
        {"average_accuracy": "max"},
        {"average_accuracy": "max", "trainable_parameters": "min", "forgetting": "min"},
    ],
    ids=len,
)
def test_one_objective_or_three(copy: Path, objectives: dict[str, str]) -> None:
    file = copy / "sweeps/small/sweep.yaml"
    document = yaml.safe_load(file.read_text(encoding="utf-8")) | {"objectives": objectives}
    store_as_run(open_storage(str(copy)), "small", document)
    found = render(report_inputs_at(copy))
    head, *rows = Page(found).tables["front-0"]
    assert len(head) == 4 + 2 * len(objectives)
    assert len(rows) == 4
    for spec in data_of(found)["figures"].values():
        go.Figure(_with_colors(spec))
    assert [o["name"] for o in data_of(found)["explorer"]["objectives"]] == list(objectives)


def test_an_empty_sweep_has_one_sentence(tmp_path: Path) -> None:
    keep_sweep_file(sweep_from_dict(DOCUMENT), open_storage(str(tmp_path)))
    found = Page(render(report_inputs_at(tmp_path)))
    assert "No run of this sweep has finished yet" in found.sections[""]
    assert set(found.sections) == {"", "failures", "operations", "setting", "glossary"}
    assert "0 of 14 runs finished" in found.sections["failures"]


def test_half_a_sweep_has_a_report_that_says_what_is_missing(copy: Path) -> None:
    kept = parts(copy, "trials")
    for part in kept[::2]:
        part.unlink()
    found = Page(render(report_inputs_at(copy)))
    assert "7 of 14 runs finished; none failed; 7 remaining" in found.sections["failures"]
    assert found.tables["front-0"]


def test_one_run_each_says_that_intervals_are_unavailable(copy: Path) -> None:
    for part in parts(copy, "trials"):
        (row,) = pq.read_table(part).to_pylist()
        if row["seed"] != 0 or row["order_id"] not in {"any", "0-1-2-3-4"}:
            part.unlink()
    found = Page(render(report_inputs_at(copy)))
    assert "intervals and shares are unavailable" in found.sections["front"]
    assert not any("±" in cell for row in found.tables["front-0"] for cell in row)
    assert "has one task order, so order effects are not known" in found.sections["orders"]


def test_an_objective_that_is_the_same_everywhere(copy: Path) -> None:
    for part in parts(copy, "evals"):
        table = pq.read_table(part)
        right = pc.if_else(table["seen"], table["n"], None)
        column = table.schema.get_field_index("correct")
        pq.write_table(table.set_column(column, table.schema.field(column), right), part)
    found = Page(render(report_inputs_at(copy)))
    assert [row[-2] for row in found.tables["front-0"][1:]] == ["100.0 ± 0.0"] * 4
    assert "does not vary" in found.sections["orders"]


def test_metrics_that_do_not_exist_leave_a_dash(copy: Path) -> None:
    """A joint run has no forgetting, and a lost evaluation takes all metrics of its run."""
    parts(copy, "evals")[0].unlink()
    found = Page(render(report_inputs_at(copy)))
    joint = next(row for row in found.tables["front-0"] if "joint_lora" in row[0])
    assert joint[5] == joint[7] == "–"  # noqa: RUF001
    assert "no complete evaluation" in found.sections["failures"]


def test_a_failed_run_is_named_with_its_cause(copy: Path) -> None:
    part = parts(copy, "trials")[0]
    table = pq.read_table(part)
    for name, value in (
        ("status", "failed"),
        ("error", "loss is NaN at step 3"),
        ("error_kind", "NonFiniteLossError"),
    ):
        column = table.schema.get_field_index(name)
        field = table.schema.field(column)
        table = table.set_column(column, field, [[value]])
    pq.write_table(table, part)
    found = Page(render(report_inputs_at(copy)))
    assert "1 failed" in found.sections["failures"]
    assert "loss is NaN at step 3" in found.sections["failures"]
    assert "NonFiniteLossError" in found.sections["failures"]


def test_a_damaged_part_is_named_and_the_rest_is_used(copy: Path) -> None:
    part = parts(copy, "trials")[0]
    part.write_bytes(part.read_bytes()[:-20])
    found = Page(render(report_inputs_at(copy)))
    assert f"{part.name} is left out" in found.sections["failures"]
    assert "13 of 14 runs finished" in found.sections["failures"]


def test_every_section_has_its_place_and_its_way_there(inputs: ReportInputs, page: Page) -> None:
    ids = [section.id for section in sections_of(inputs)]
    links = [a["href"] for tag, a in page.tags if tag == "a" and "href" in a]
    assert [f"#{name}" for name in ["summary", *ids, "glossary"]] == links[1:]


def test_the_same_tables_make_the_same_page(finished: Path, text: str) -> None:
    assert render(report_inputs_at(finished)) == text
