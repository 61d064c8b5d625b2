"""Search spaces with conditions and choices; settings that are equal in effect are one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError, stage_chain
from sweeps.definition import Sweep, sweep_from_dict

BASE: dict[str, Any] = {
    "name": "test",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"tasks": 3},
    "method": {"rank": 2},
}
CHOICES = [
    {"kind": "lorac_ipc", "search": {"importance_threshold": [0, 0.2], "rank": [2, 4]}},
    {"kind": "lora_sequential", "label": "one LoRA"},
    {"kind": "nearest_class_mean"},
]


def sweep_of(**fields: Any) -> Sweep:
    return sweep_from_dict({**BASE, **fields})


def factors_of(sweep: Sweep) -> list[dict[str, Any]]:
    return [configuration.factors for configuration in sweep.configurations]


def refusal(**fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_of(**fields)
    return {issue.path: str(issue) for issue in refused.value.issues}


def test_where_keeps_the_settings_that_meet_every_condition() -> None:
    search = {"method.rank": [2, 4, 8], "method.module_weights": ["ones", "learned"]}
    where = ["method.module_weights != 'learned' or method.rank <= 4", "method.rank > 2"]
    sweep = sweep_of(search=search, where=where)
    assert factors_of(sweep) == [
        {"method.rank": 4, "method.module_weights": "ones"},
        {"method.rank": 4, "method.module_weights": "learned"},
        {"method.rank": 8, "method.module_weights": "ones"},
    ]
    assert sweep.rejected == 3


def test_where_reads_fields_that_do_not_vary_too() -> None:
    sweep = sweep_of(search={"method.rank": [2, 4]}, where=["method.rank * stream.tasks < 10"])
    assert [f["method.rank"] for f in factors_of(sweep)] == [2]


def test_where_removes_values_that_do_not_fit_together() -> None:
    search = {"method.ipc_beta1": [0.5, 0.95], "method.ipc_window": [300, 100]}
    assert set(refusal(search=search)) == {"search"}
    where = ["method.ipc_beta1 < 0.9 or method.ipc_window >= 300"]
    freezing = {"rank": 2, "importance_threshold": 0.2}
    assert len(sweep_of(method=freezing, search=search, where=where).configurations) == 3


def test_where_that_removes_everything_is_refused_with_the_counts() -> None:
    where = ["method.rank >= 1", "method.rank > 9"]
    message = refusal(search={"method.rank": [2, 4, 8]}, where=where)["where"]
    assert "conditions that at least one setting meets" in message
    assert message.endswith("Of 3 settings where[1] rejects 3.")


def test_a_condition_that_null_leaves_open_is_refused_once() -> None:
    search = {"method.depth": [None, 1], "method.rank": [2, 4]}
    issues = refusal(search=search, where=["method.depth <= 1"])
    assert set(issues) == {"where[0]"}
    where = ["method.depth == null or method.depth <= 1"]
    assert len(sweep_of(search=search, where=where).configurations) == 4


SAMPLED = {"train.lr": {"log": [0.001, 1]}, "method.rank": {"integer": [1, 8]}}


@pytest.mark.parametrize("kind", ["random", "sobol"])
@given(trials=st.integers(1, 8), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=8)
def test_rejected_draws_are_replaced_and_more_draws_keep_the_earlier_ones(
    kind: str, trials: int, seed: int
) -> None:
    def drawn(trials: int) -> list[dict[str, Any]]:
        algorithm = {"kind": kind, "trials": trials, "seed": seed}
        where = ["method.rank <= 2 or train.lr > 0.3"]
        return factors_of(sweep_of(search=SAMPLED, algorithm=algorithm, where=where))

    found = drawn(trials)
    assert found == drawn(trials)
    assert len(found) == trials
    assert all(f["method.rank"] <= 2 or f["train.lr"] > 0.3 for f in found)
    assert drawn(trials + 3)[:trials] == found


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_draws_that_are_rejected_beyond_the_bound_are_refused(kind: str) -> None:
    algorithm = {"kind": kind, "trials": 60, "max_rejected": 0.6}
    issues = refusal(search=SAMPLED, algorithm=algorithm, where=["method.rank <= 1"])
    assert "conditions that reject at most 60% of the draws" in issues["where"]
    assert "of 150 draws meet them, and 60 are required" in issues["where"]
    algorithm["max_rejected"] = 0.97
    sweep = sweep_of(search=SAMPLED, algorithm=algorithm, where=["method.rank <= 1"])
    assert len(sweep.configurations) == 60


def test_a_choice_brings_its_own_axes_and_leaves_out_those_of_the_others() -> None:
    sweep = sweep_of(search={"method": CHOICES, "train.epochs": [1, 2]})
    found = factors_of(sweep)
    ipc = "lorac_ipc"
    assert found == [
        {
            "method": ipc,
            "method.importance_threshold": threshold,
            "method.rank": rank,
            "train.epochs": epochs,
        }
        for threshold in (0.0, 0.2)
        for rank in (2, 4)
        for epochs in (1, 2)
    ] + [
        {"method": "one LoRA", "train.epochs": 1},
        {"method": "one LoRA", "train.epochs": 2},
        {"method": "nearest_class_mean"},  # nothing is trained, so epochs do not act
    ]
    labels = [configuration.label for configuration in sweep.configurations]
    assert labels[0] == "lorac_ipc importance_threshold=0 rank=2 epochs=1"
    assert labels[-3:] == ["one LoRA epochs=1", "one LoRA epochs=2", "nearest_class_mean"]
    assert len(set(labels)) == len(labels)


def test_a_field_that_only_some_of_the_methods_have_varies_where_it_exists() -> None:
    sweep = sweep_of(
        search={
            "method": [{"kind": "lora_sequential"}, {"kind": "nearest_class_mean"}],
            "method.rank": [1, 2, 3],
        }
    )
    assert factors_of(sweep) == [
        *({"method": "lora_sequential", "method.rank": rank} for rank in (1, 2, 3)),
        {"method": "nearest_class_mean"},
    ]


def test_a_choice_of_another_section_sets_its_fields_together() -> None:
    train = [{"optimizer": "adam", "lr": 0.01}, {"optimizer": "sgd", "lr": 0.1}, {}]
    sweep = sweep_of(search={"train": train})
    found = [(c.run.train.optimizer, c.run.train.lr, c.label) for c in sweep.configurations]
    assert found == [
        ("adam", 0.01, "lorac_ipc optimizer=adam lr=0.01"),
        ("sgd", 0.1, "lorac_ipc optimizer=sgd lr=0.1"),
        ("adam", 0.005, "lorac_ipc base"),
    ]


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_draws_assign_the_axes_of_the_choice_that_they_make(kind: str) -> None:
    algorithm = {"kind": kind, "trials": 24}
    sweep = sweep_of(
        search={"method": CHOICES, "train.lr": {"log": [0.01, 1]}}, algorithm=algorithm
    )
    found = factors_of(sweep)
    assert {f["method"] for f in found} == {"lorac_ipc", "one LoRA", "nearest_class_mean"}
    for factors in found:
        inner = {"method.importance_threshold", "method.rank"} & set(factors)
        assert bool(inner) == (factors["method"] == "lorac_ipc")


def test_conditions_name_choices_by_their_labels() -> None:
    where = ["method != 'lorac_ipc' or train.epochs == 2", "method.rank <= 2"]
    sweep = sweep_of(search={"method": CHOICES, "train.epochs": [1, 2]}, where=where)
    assert {(f["method"], f.get("train.epochs")) for f in factors_of(sweep)} == {
        ("lorac_ipc", 2),
        ("nearest_class_mean", None),  # has no rank: the condition does not bind it
    }  # and the rank of `one LoRA` is 16


def test_settings_that_do_not_differ_in_effect_are_one_and_their_idle_fields_are_blank() -> None:
    search = {"method.ortho_mode": ["none", "gram"], "method.ortho_lambda": [0.1, 0.5, 2]}
    sweep = sweep_of(search=search)
    assert factors_of(sweep) == [
        {"method.ortho_mode": "none"},
        *({"method.ortho_mode": "gram", "method.ortho_lambda": value} for value in (0.1, 0.5, 2)),
    ]
    (merge,) = sweep.merges
    assert merge.label == "lorac_ipc ortho_mode=none"
    assert merge.idle == ("method.ortho_lambda",)
    assert len(merge.settings) == 3


def test_an_idle_field_is_as_the_sections_say_so_that_ids_do_not_follow_the_list() -> None:
    def ids(lambdas: list[float]) -> set[str]:
        search = {"method.ortho_mode": ["none", "gram"], "method.ortho_lambda": lambdas}
        return {c.run.config_id for c in sweep_of(search=search).configurations}

    assert ids([0.1, 0.5]) < ids([2, 0.5, 0.1])


def test_values_that_act_alike_are_one_but_not_blank() -> None:
    # 12 matrices: 0.17 and 0.24 both freeze two of them after each task, 0.05 none
    sweep = sweep_of(search={"method.importance_threshold": [0.17, 0.24, 0.05]})
    assert factors_of(sweep) == [
        {"method.importance_threshold": 0.17},
        {"method.importance_threshold": 0.05},
    ]
    (merge,) = sweep.merges
    assert merge.idle == ()
    # all listed values act alike, but not like the section's own
    sweep = sweep_of(search={"method.importance_threshold": [0.17, 0.24]})
    assert factors_of(sweep) == [{"method.importance_threshold": 0.17}]
    assert sweep.configurations[0].run.method.importance_threshold == 0.17  # type: ignore[union-attr]


def test_settings_are_merged_only_if_all_their_stages_are_equal() -> None:
    search = {
        "method.importance_threshold": [0, 0.05, 0.17, 0.24],
        "method.ipc_beta1": [0.5, 0.85],
        "method.omega_lr_scale": [0.1, 1],
        "method.module_weights": ["ones", "learned"],
        "method.depth": [0, 1, None],
    }
    sweep = sweep_of(search=search)
    chains = [stage_chain(configuration.run)[-1].key for configuration in sweep.configurations]
    assert len(set(chains)) == len(chains)
    labels = [configuration.label for configuration in sweep.configurations]
    assert len(set(labels)) == len(labels)
    merged = sum(len(merge.settings) - 1 for merge in sweep.merges)
    assert len(sweep.configurations) + merged == 4 * 2 * 2 * 2 * 3
    assert len(sweep.configurations) < 30
