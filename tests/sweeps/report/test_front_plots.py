"""Plot of the front: names of its points, nothing drawn over them, a ring around the choice."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sweeps.report import ReportInputs
from sweeps.report.front import front_section
from sweeps.report.page_model import Figure
from tests.sweeps.report.simulated import simulated

CSS = (Path(__file__).parents[3] / "sweeps" / "report" / "assets" / "report.css").read_text(
    "utf-8"
)


@cache
def _inputs() -> ReportInputs:
    return simulated(30, 3, 3)


@cache
def _figure() -> Figure:
    return front_section(_inputs()).figures[0]


def _traces() -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in _figure().spec["data"] if trace.get("name")}


def test_the_front_is_drawn_above_all_other_points() -> None:
    names = list(_traces())
    assert names.index("on the front") > names.index("searched")
    assert names.index("on the front") > names.index("baselines")


def test_a_ring_marks_the_choice() -> None:
    choice = _inputs().choice.chosen
    assert choice is not None
    ring = _traces()["the choice"]
    assert ring["marker"]["symbol"] == "circle-open"
    mean = choice.estimates["average_accuracy"].interval.mean
    assert ring["y"] == [pytest.approx(100 * mean, abs=1e-5)]


def test_every_point_of_the_front_has_a_name_of_its_own() -> None:
    rows = [row for row in _inputs().fronts["last"] if row.on_front]
    texts = [note["text"] for note in _figure().spec["layout"]["annotations"]]
    assert 1 < len(rows) == len(texts) == len(set(texts))
    for text in texts:
        assert sum(set(text.split()) <= set(row.label.split()) for row in rows) == 1


def test_the_heading_has_the_readout_and_its_own_counts() -> None:
    front = sum(row.on_front for row in _inputs().fronts["last"])
    assert f"readout last: {front} of 30 searched configurations" in _figure().title


def _luminance(color: str) -> float:
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((text, ground) for text in ("ink", "soft", "accent") for ground in ("paper", "ground")),
        *((text, "accent-soft") for text in ("ink", "soft", "accent")),
        ("second", "second-soft"),
        ("paper", "accent"),
    ],
)
def test_the_contrast_of_texts_is_at_least_that_of_wcag_aa(
    theme: int, text: str, ground: str
) -> None:
    blocks = re.findall(r":root[^{]*\{([^}]*--paper[^}]*)\}", CSS)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[theme]))
    light, dark = sorted((_luminance(colors[text]), _luminance(colors[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
