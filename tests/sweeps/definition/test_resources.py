"""`resources` of a sweep file: what is accepted and refused; and that no key depends on it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition import Sweep, expand, sweep_from_dict
from sweeps.definition.file.json_schema import sweep_schema
from sweeps.definition.resources import resource_warnings
from sweeps.planning.driver_lock import keep_sweep_file, refuse_other_meaning
from sweeps.storage import open_storage
from tests.sweeps.stages.small import DOCUMENT

GPU = {"device": "cuda", "precision": "bfloat16"}
ON_GPU = {**DOCUMENT, "train": {**DOCUMENT["train"], **GPU}}


def sweep_with(resources: Any, document: dict[str, Any] = ON_GPU, **fields: Any) -> Sweep:
    return sweep_from_dict({**document, "resources": resources, **fields})


@pytest.mark.parametrize(
    ("written", "gpus", "types"),
    [
        ({"gpu": 1}, 1, ()),
        ({"gpu": 0.25}, 0.25, ()),
        ({"gpu": 2}, 2, ()),
        ({"gpu": "auto"}, None, ()),
        ({"gpu": 1, "gpu_type": "L4"}, 1, ("L4",)),
        ({"gpu": "auto", "gpu_type": ["A100-80G", "L4"]}, None, ("A100-80G", "L4")),
        ({"gpu": 1, "gpu_type": None}, 1, ()),
    ],
)
def test_what_is_accepted(written: dict[str, Any], gpus: float | None, types: Any) -> None:
    resources = sweep_with(written).resources
    assert (resources.gpus, resources.gpu_types) == (gpus, types)
    jsonschema.validate({**ON_GPU, "resources": written}, sweep_schema())


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"gpu": "lots"}, "resources.gpu: got 'lots', allowed: a number or 'auto'"),
        ({"gpu": None}, "resources.gpu: got None, allowed: a number or 'auto'"),
        ({"gpu": [0.5]}, "resources.gpu: got [0.5], allowed: a number or 'auto'"),
        ({"gpu": 1.5}, "got 1.5, allowed: 0 to 1, or a whole number, or auto"),
        ({"gpu": -1}, "got -1.0, allowed: 0 to 1, or a whole number, or auto"),
        ({"gpu": 0.00001}, "allowed: 0, or 0.0001 or more. That is the smallest share"),
        ({"gpu_type": "L4"}, "got 'L4', allowed: to be left out while resources.gpu is 0"),
        ({"gpu": 1, "gpu_type": 4}, "got 4, allowed: text or a list of texts or null"),
        ({"gpu": 1, "gpu_type": [4]}, "got [4], allowed: text or a list of texts or null"),
        ({"gpu": 1, "gpu_type": []}, "got [], allowed: null, a type, or one or more types"),
        ({"gpu": 1, "gpu_type": ["L4", "L4"]}, "allowed: each type once"),
        ({"gpu": 1, "gpu_type": "in(L4)"}, "allowed: the value of a node label, such as L4"),
        ({"gpu": 1, "gpu_type": "x" * 64}, "up to 63 letters"),
        ({"gpus": 1}, "Did you mean 'gpu'?"),
    ],
)
def test_what_is_refused(written: dict[str, Any], message: str) -> None:
    """Each with one fault, at a path that is in the file."""
    document = DOCUMENT if "gpu" not in written or "gpu_type" in written else ON_GPU
    with pytest.raises(InvalidConfigError) as refused:
        sweep_with(written, document)
    (issue,) = refused.value.issues
    assert message in str(issue)
    assert issue.path.split(".")[:2] == ["resources", next(iter(reversed(written)))]


def test_every_issue_of_the_section_is_reported_at_once() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_with({"gpu": 1.5, "gpu_type": ["L4", ""], "max_concurrent": 0})
    paths = [issue.path for issue in refused.value.issues]
    assert paths == ["resources.gpu", "resources.gpu_type", "resources.max_concurrent"]


def test_auto_needs_runs_on_a_gpu() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_with({"gpu": "auto"}, DOCUMENT)
    (issue,) = refused.value.issues
    assert str(issue).startswith(
        "resources.gpu: got 'auto', allowed: a number, as train.device is cpu"
    )
    sweep_with({"gpu": "auto"}, DOCUMENT, baselines=[{"train": {"device": "cuda"}}])


def test_auto_may_have_a_budget_of_gpu_hours() -> None:
    assert sweep_with({"gpu": "auto"}, budget={"gpu_hours": 1}).budget.gpu_hours == 1


@pytest.mark.parametrize(
    "written", [{}, {"gpu": 0.25}, {"gpu": "auto"}, {"gpu": 1, "gpu_type": ["T4", "L4"]}]
)
def test_no_key_and_no_sweep_depends_on_it(written: dict[str, Any]) -> None:
    """A sweep continues under other resources: none of its labels identifies another run."""
    one, other = sweep_with({"gpu": 1}), sweep_with(written or {"gpu": 2})
    assert [t.trial_id for t in expand(one)] == [t.trial_id for t in expand(other)]
    assert [s.key for t in expand(one) for s in t.chain] == [
        s.key for t in expand(other) for s in t.chain
    ]
    objects = open_storage("memory://")
    keep_sweep_file(one, objects)
    refuse_other_meaning(other, objects)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (0.4, ["2 trials fit on a GPU, and 0.2 of it stays unused", "0.5 gives", "0.3333 lets 3"]),
        (0.7, ["1 trial fits on a GPU, and 0.3 of it stays", "1 gives each", "0.5 lets 2 fit"]),
        (0.3, ["3 trials fit", "0.3333 gives each trial more memory", "0.25 lets 4 fit"]),
        (2, ["a trial trains on one GPU, the others stay unused"]),
        (0.5, []),
        (0.33, []),
        (1, []),
        (0.01, []),
        ("auto", []),
    ],
)
def test_what_is_valid_but_probably_unintended(gpu: Any, words: list[str]) -> None:
    sweep = sweep_with({"gpu": gpu})
    found = resource_warnings(sweep.resources, [trial.run for trial in expand(sweep)])
    assert len(found) == bool(words)
    for word in words:
        assert word in found[0]


def test_gpus_for_runs_on_the_cpu_are_probably_unintended() -> None:
    sweep = sweep_with({"gpu": 1}, DOCUMENT)
    (found,) = resource_warnings(sweep.resources, [trial.run for trial in expand(sweep)])
    assert "train.device is cpu in every run" in found


@pytest.mark.parametrize(("precision", "hints"), [("float32", 1), ("bfloat16", 0), ("float64", 0)])
def test_float32_on_a_gpu_gets_a_hint(precision: str, hints: int) -> None:
    train = {**ON_GPU["train"], "precision": precision}
    sweep = sweep_with({"gpu": 1}, {**ON_GPU, "train": train})
    found = resource_warnings(sweep.resources, [trial.run for trial in expand(sweep)])
    assert len(found) == hints
    assert all("train.precision is float32 in 1 of 1 runs on a GPU" in hint for hint in found)
