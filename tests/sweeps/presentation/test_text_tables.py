"""Text tables: percent, intervals, alignment, width, color only where it is seen."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from sweeps.analysis.front.pareto import pareto_table
from sweeps.analysis.trials.summary import summarize
from sweeps.presentation.text_tables import percent, render_table

ROWS = [
    {"label": "rank 8", "average_accuracy": 0.6244, "trainable_parameters": 2_650_000},
    {"label": "[b]x", "average_accuracy": None, "trainable_parameters": 12},
]


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.624, 0.606, 0.642), "62.4 (60.6 to 64.2)"),
        ((0.624, None, None), "62.4"),
        ((-0.031, -0.041, -0.021), "-3.1 (-4.1 to -2.1)"),
        ((0.957, 0.931, 0.974), "95.7 (93.1 to 97.4)"),
        ((0.45, 0.15, 0.7), "45.0 (15.0 to 70.0)"),
        ((0.45, -0.75, 1.65), "45.0 (too few runs)"),
        ((0.5, 0.1, 0.9), "50.0 (too few runs)"),
        ((None, None, None), "–"),  # noqa: RUF001
        ((1.0, 1.0, 1.0), "100.0 ± 0.0"),
    ],
)
def test_percent(ends, text):
    assert percent(*ends) == text


def test_fractions_are_percent_numbers_stand_right_and_nulls_are_dashes():
    lines = render_table(ROWS, title="Front").splitlines()
    assert lines[0] == "Front"
    assert "average accuracy %" in lines[2]
    assert lines[4].split() == ["rank", "8", "62.4", "2,650,000"]
    assert lines[5].split() == ["[b]x", "–", "12"]  # noqa: RUF001  # no markup is read
    assert len(lines[4]) == len(lines[5])


def test_interval_columns_fold_into_their_mean(study):
    for seed in range(3):
        study.add([[0.7, 0.0], [0.5, 0.6 + 0.02 * seed]], seed=seed)
    table = pareto_table(
        summarize(study.trials, study.evals, "test"),
        {"average_accuracy": "max", "trainable_parameters": "min"},
    )
    row = table.to_pylist()[0]
    text = render_table(table, ["label", "average_accuracy", "trainable_parameters", "on_front"])
    low, high = (100 * row[f"average_accuracy_{end}"] for end in ("low", "high"))
    assert f"56.0 ({low:.1f} to {high:.1f})" in text
    assert "1,000" in text
    assert "1,000 ±" not in text  # what does not vary needs no interval
    assert "yes" in text
    assert "low" not in render_table(table)


def test_a_narrow_screen_lists_whole_labels_and_numbers_the_rows():
    labels = [f"lorac_ipc importance_threshold={t} module_weights=learned" for t in (0, 0.2)]
    rows = [
        {"label": label, "runs": 4, "average_accuracy": 0.5 + k / 10, "forgetting": k / 10}
        for k, label in enumerate(labels)
    ]
    narrow = render_table(rows, width=45).splitlines()
    assert max(map(len, narrow)) <= 45
    assert narrow[1:5] == [
        " in all rows: lorac_ipc",
        "   module_weights=learned, runs 4",
        " 1  importance_threshold=0",
        " 2  importance_threshold=0.2",
    ]
    assert [line.split() for line in narrow[-2:]] == [["1", "50.0", "0.0"], ["2", "60.0", "10.0"]]
    wide = render_table(rows, width=200).splitlines()
    assert all(any(label in line for line in wide) for label in labels)


def test_columns_that_do_not_fit_follow_below_with_the_row_numbers():
    rows = [{"label": "x", **{f"column_{k}": k + row for k in range(8)}} for row in (0, 10)]
    lines = render_table(rows, width=40).splitlines()
    assert max(map(len, lines)) <= 40
    heads = [line.split("   ")[0].strip() for line in lines if "column" in line]
    assert heads == ["#"] * 3
    assert "in all rows: label x" in lines[1]


def test_an_alone_or_unrelated_text_is_not_taken_for_a_label():
    """Words that texts share by chance are not moved out of them."""
    rows = [
        {"step": f"method.rank: {a} -> {b}, a long sentence", "n": a} for a, b in ((2, 4), (4, 8))
    ]
    said = render_table(rows, width=30)
    assert "method.rank: 2 -> 4, a" in said
    assert "in all rows" not in said


def test_without_a_terminal_nothing_is_colored_or_wrapped():
    rows = [{"label": "x" * 300, "on_front": True}]
    text = render_table(rows)
    assert "\x1b" not in text
    assert "x" * 300 in text


@pytest.mark.parametrize("title", [None, "Front"])
@pytest.mark.parametrize(
    "rows",
    [ROWS, [], [{"label": "two\nlines", "n": 40_000}, {"label": "日本", "n": None}]],
    ids=["plain", "none", "wide"],
)
def test_where_nothing_must_fit_the_layout_is_the_same(rows, title):
    columns = ["label", *(["n"] if rows and "n" in rows[0] else [])]
    expected = render_table(rows, columns, title=title, width=10_000)
    assert render_table(rows, columns, title=title) == expected


def test_an_empty_table_has_its_head():
    table = pa.table(
        {"label": pa.array([], pa.string()), "forgetting": pa.array([], pa.float64())}
    )
    assert "forgetting %" in render_table(table)
    assert render_table([]).strip() == ""


def test_a_column_that_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="no column 'acuracy'"):
        render_table(ROWS, ["acuracy"])


def test_lists_and_flags_are_readable():
    text = render_table([{"opd": [0.5, 0.25], "frozen": True, "wall_s": 1234.5678}])
    assert "0.5, 0.25" in text
    assert "yes" in text
    assert "1,235" in text


def test_analysis_needs_neither_torch_nor_ray():
    code = (
        "import sys\n"
        "from sweeps.analysis.front import pareto\n"
        "from sweeps.analysis.orders import order_effect\n"
        "from sweeps.presentation import text_tables\n"
        "sys.exit(bool({'torch', 'timm', 'ray', 'pandas', 'optuna'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
