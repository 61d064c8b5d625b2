"""Every kind of event is declared, documented, and read as it was written."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import sweeps
from sweeps.results.event_kinds import (
    FIELDS,
    KINDS,
    EventBody,
    HeadLost,
    NodeJoined,
    RunEnded,
    RunStarted,
    StageDone,
    TrialEnded,
    decoded,
    encoded,
)

PACKAGE = Path(sweeps.__file__).parent

STAGE = StageDone(trial="t", key="k", position=2, outcome="evaluated", seconds=3.0, node="w1")
EXAMPLES: list[EventBody] = [
    RunStarted(document="d", code_version="c", only=("a", "b"), pid=7, time_to_live_s=20),
    RunEnded(trained=3, budget_used="stages: 4 of 4 are used"),
    NodeJoined(node="w1", address="10.0.0.5", node_id="ab", cpus=8.0, gpus=0.5, slots=2),
    STAGE,
    TrialEnded(trial="t", name="n", status="failed", stages=1, error="e", node="w1"),
    HeadLost(),
]


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: body.kind)
def test_an_event_is_read_as_it_was_written(body: EventBody) -> None:
    assert decoded(body.kind, json.loads(json.dumps(encoded(body)))) == body


def test_a_misspelt_field_is_refused() -> None:
    fields: dict[str, Any] = {**encoded(STAGE), "secnds": 1.0}
    with pytest.raises(TypeError, match="secnds"):
        StageDone(**fields)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("stages", {}),
        ("stage", {"seconds": "3"}),
        ("stage", {"outcome": "skipped"}),
        ("stage", {"node": None}),
        ("stage", {"position": 1.5}),
    ],
)
def test_what_does_not_fit_its_kind_is_not_read(kind: str, changes: dict[str, Any]) -> None:
    assert decoded(kind, {**encoded(STAGE), **changes}) is None


def test_a_line_may_lack_fields_that_have_a_default_and_no_others() -> None:
    ended = encoded(EXAMPLES[4])
    assert decoded("trial", {k: v for k, v in ended.items() if k != "node"}) == TrialEnded(
        trial="t", name="n", status="failed", stages=1, error="e"
    )
    assert decoded("trial", {k: v for k, v in ended.items() if k != "name"}) is None


def test_fields_of_a_later_version_are_left_out() -> None:
    assert decoded("stage", {**encoded(STAGE), "energy": 5}) == STAGE


def test_the_readme_documents_every_kind_and_field() -> None:
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    part = text.split("### Event log")[1].split("\n### ")[0]
    documented = {}
    for row in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", part, re.MULTILINE):
        kind, fields = row
        plain = re.sub(r"\([^)]*\)", "", fields)
        documented[kind] = set(re.findall(r"`(\w+)`", plain))
    assert documented == {kind: set(names) for kind, names in FIELDS.items()}


def test_every_event_that_the_driver_adds_has_a_declared_kind() -> None:
    """Also those of rare faults: their fields are checked by mypy, and the kinds here."""
    names = {body.__name__ for body in KINDS.values()}
    added = []
    for file in PACKAGE.glob("execution/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("events.add"):
                (argument,) = node.args
                assert isinstance(argument, ast.Call)
                assert not node.keywords
                added.append(ast.unparse(argument.func))
    made_elsewhere = {"_who", "_ended_by"}
    assert len(added) >= 12
    assert set(added) - made_elsewhere <= names
    assert names - set(added) == {"RunStarted", "GpuShareDecided"}
