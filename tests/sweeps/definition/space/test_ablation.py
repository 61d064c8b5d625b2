"""Ablation plans: enabled parts of configurations, their description, and invalid plans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition import Sweep, expand, sweep_from_dict

BASE: dict[str, Any] = {
    "name": "test",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"tasks": 3},
    "method": {"rank": 2, "importance_threshold": 0.2},
}
PARTS = {
    "orthogonality": {"off": {"method.ortho_mode": "none"}},
    "weights": {"on": {"method.omega_lr_scale": 1.0}, "off": {"method.module_weights": "ones"}},
    "freezing": {"off": {"method.importance_threshold": 0}},
}


def sweep_of(plan: str, parts: dict[str, Any] | None = None, **fields: Any) -> Sweep:
    ablation = {"plan": plan, "parts": PARTS if parts is None else parts}
    return sweep_from_dict({**BASE, "ablation": ablation, **fields})


def states(sweep: Sweep) -> list[str]:
    """Return the initials of the enabled parts of each configuration."""
    return [
        "".join(name[0] for name, side in c.parts.items() if side == "on")
        for c in sweep.configurations
    ]


def refusal(ablation: Any, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict({**BASE, "ablation": ablation, **fields})
    return {issue.path: str(issue) for issue in refused.value.issues}


@pytest.mark.parametrize(
    ("plan", "expected", "labels"),
    [
        (
            "leave_one_out",
            ["owf", "wf", "of", "ow"],
            ["full", "without orthogonality", "without weights", "without freezing"],
        ),
        (
            "add_one_in",
            ["", "o", "w", "f"],
            ["bare", "only orthogonality", "only weights", "only freezing"],
        ),
        (
            "factorial",
            ["owf", "ow", "of", "o", "wf", "w", "f", ""],
            [
                "full",
                "without freezing",
                "without weights",
                "with orthogonality",
                "without orthogonality",
                "with weights",
                "with freezing",
                "bare",
            ],
        ),
    ],
)
def test_a_plan_trains_its_combinations_and_names_them(
    plan: str, expected: list[str], labels: list[str]
) -> None:
    sweep = sweep_of(plan)
    assert states(sweep) == expected
    assert [c.label for c in sweep.configurations] == [f"lorac_ipc {label}" for label in labels]


def test_parts_set_what_they_say() -> None:
    full, _, unweighted, _ = [c.run.method for c in sweep_of("leave_one_out").configurations]
    assert (full.module_weights, full.omega_lr_scale) == ("learned", 1.0)  # type: ignore[union-attr]
    assert unweighted.module_weights == "ones"  # type: ignore[union-attr]


def test_results_carry_the_names_of_the_parts_and_ids_do_not() -> None:
    trials = expand(sweep_of("leave_one_out"))
    assert json.loads(trials[1].to_json())["factors"] == {
        "part.orthogonality": "off",
        "part.weights": "on",
        "part.freezing": "on",
    }
    method = {**BASE["method"], "ortho_mode": "none", "omega_lr_scale": 1.0}
    (plain,) = expand(sweep_from_dict({**BASE, "method": method}))
    assert trials[1].trial_id == plain.trial_id
    assert trials[1].config_id == plain.config_id


def test_a_plan_is_crossed_with_the_search_and_where_reads_its_parts() -> None:
    search = {"method.rank": [2, 4]}
    assert len(sweep_of("leave_one_out", search=search).configurations) == 8
    where = ["part.orthogonality == 'on' or method.rank == 2"]
    sweep = sweep_of("leave_one_out", search=search, where=where)
    assert len(sweep.configurations) == 7
    assert "lorac_ipc rank=4 without weights" in [c.label for c in sweep.configurations]


def test_every_draw_is_trained_in_every_state() -> None:
    search = {"train.lr": {"log": [0.01, 1]}}
    algorithm = {"kind": "random", "trials": 3}
    sweep = sweep_of("add_one_in", search=search, algorithm=algorithm)
    rates = [c.run.train.lr for c in sweep.configurations]
    assert len(rates) == 12
    assert len(set(rates)) == 3


def test_a_part_that_does_not_act_beside_another_is_blank() -> None:
    parts = {
        "freezing": {"off": {"method.importance_threshold": 0}},
        "memory": {"on": {"method.ipc_beta1": 0.5}, "off": {"method.ipc_beta1": 0.9}},
    }
    sweep = sweep_of("factorial", parts, method={"rank": 2, "importance_threshold": 0.2})
    assert [c.parts for c in sweep.configurations] == [
        {"freezing": "on", "memory": "on"},
        {"freezing": "on", "memory": "off"},
        {"freezing": "off"},
    ]
    (merge,) = sweep.merges
    assert merge.idle == ("part.memory",)


def test_a_part_acts_in_the_methods_that_have_its_fields() -> None:
    parts = {"orthogonality": {"off": {"method.ortho_mode": "none"}}}
    methods = [{"kind": "lorac_ipc"}, {"kind": "nearest_class_mean"}]
    sweep = sweep_of("leave_one_out", parts, search={"method": methods})
    assert [c.label for c in sweep.configurations] == [
        "lorac_ipc full",
        "lorac_ipc without orthogonality",
        "nearest_class_mean",
    ]


OFF = {"off": {"method.ortho_mode": "none"}}


@pytest.mark.parametrize(
    ("ablation", "path", "message"),
    [
        ({"plan": "leave_two_out"}, "ablation.plan", "Did you mean 'leave_one_out'?"),
        ({"parts": {"a": OFF}}, "ablation.plan", "one of leave_one_out, add_one_in"),
        ({"plan": "factorial"}, "ablation.parts", "1 to 10 named parts"),
        ({"plan": "factorial", "parts": {"a-b": OFF}}, "ablation.parts.a-b", "letters, digits"),
        ({"plan": "factorial", "parts": {"a": {}}}, "ablation.parts.a.off", "one or more fields"),
        (
            {"plan": "factorial", "parts": {"a": {"of": {}, **OFF}}},
            "ablation.parts.a.of",
            "Did you mean 'off'?",
        ),
        (
            {"plan": "factorial", "parts": {"a": {"off": {"method.ortho_mod": "none"}}}},
            "ablation.parts.a.off.method.ortho_mod",
            "Did you mean 'method.ortho_mode'?",
        ),
        (
            {"plan": "factorial", "parts": {"a": {"off": {"method.ortho_mode": "non"}}}},
            "ablation.parts.a.off.method.ortho_mode",
            "Did you mean 'none'?",
        ),
        (
            {"plan": "factorial", "parts": {"a": OFF, "b": OFF}},
            "ablation.parts.b.off.method.ortho_mode",
            "'a' sets it too.",
        ),
        (
            {"plan": "factorial", "parts": {"a": {"off": {"method.rank": 4}}}},
            "ablation.parts.a.off.method.rank",
            "a field that `search` does not vary",
        ),
        (
            {"plan": "factorial", "parts": {"a": {"off": {"method.ortho_mode": "gram"}}}},
            "ablation.parts.a",
            "a part whose `on` and `off` train different things",
        ),
    ],
)
def test_what_is_no_plan_is_refused(ablation: Any, path: str, message: str) -> None:
    issues = refusal(ablation, search={"method.rank": [2, 4]})
    assert set(issues) == {path}
    assert message in issues[path]
