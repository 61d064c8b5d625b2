"""Stage keys: which stages two runs share. That shared stages are equal is in test_contract.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config import (
    BackboneConfig,
    JointLoraConfig,
    LoracIpcConfig,
    LoraSequentialConfig,
    NearestClassMeanConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    partition_id,
    stage_chain,
)
from tests.strategies import lorac_configs, runs

RUN = RunConfig(
    backbone=BackboneConfig(name="tiny_vit8", weights="random", image_size=8),
    stream=StreamConfig(tasks=5),
    method=LoracIpcConfig(rank=2, importance_threshold=0.2),  # k = 2 of 12
)


def keys(run: RunConfig) -> list[str]:
    return [stage.key for stage in stage_chain(run)]


def shared(left: RunConfig, right: RunConfig) -> int:
    """Number of leading stages that two runs share."""
    pairs = zip(keys(left), keys(right), strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), left.stages)


def method(**changes: Any) -> RunConfig:
    return replace(RUN, method=replace(RUN.method, **changes))


def training(**changes: Any) -> RunConfig:
    return replace(RUN, train=replace(RUN.train, **changes))


def stream(**changes: Any) -> RunConfig:
    return replace(RUN, stream=replace(RUN.stream, **changes))


@given(runs())
def test_a_chain_links_each_stage_to_its_parent(run: RunConfig) -> None:
    chain = stage_chain(run)
    assert len(chain) == run.stages
    assert [stage.position for stage in chain] == list(range(run.stages))
    assert [stage.parent for stage in chain] == [None, *(stage.key for stage in chain[:-1])]
    assert len({stage.key for stage in chain}) == run.stages
    assert all(len(stage.key) == 64 for stage in chain)
    assert sorted(c for stage in chain for c in stage.classes) == list(range(10))


@given(st.permutations(range(5)), st.permutations(range(5)))
def test_orders_that_begin_alike_share_their_beginning(
    left: Sequence[int], right: Sequence[int]
) -> None:
    alike = next((i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b), 5)
    assert shared(stream(task_order=tuple(left)), stream(task_order=tuple(right))) == alike


def test_an_order_spelt_out_is_the_natural_one() -> None:
    assert shared(RUN, stream(task_order=(0, 1, 2, 3, 4))) == 5


@given(lorac_configs(), st.floats(0, 1))
def test_all_thresholds_share_the_first_stage(config: LoracIpcConfig, threshold: float) -> None:
    """With the default trace, which a run that never freezes falls back to."""
    trace: dict[str, Any] = {
        "ipc_target": "effective",
        "ipc_reducer": "mean",
        "ipc_every": 1,
        "ipc_window": 300,
    }
    config = replace(config, **trace)
    left = replace(RUN, method=config)
    right = replace(RUN, method=replace(config, importance_threshold=threshold))
    assert shared(left, right) >= 1


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        (0.2, 0.24, 5),  # both k = 2
        (0.0, 0.08, 5),  # both k = 0
        (0.2, 0.25, 1),  # k = 2 and 3
        (0.0, 0.2, 1),
        (0.5, 0.55, 5),  # both k = 6
        (1.0, 0.95, 1),  # k = 12 and 11
    ],
)
def test_thresholds_that_freeze_as_many_are_one(left: float, right: float, common: int) -> None:
    assert shared(method(importance_threshold=left), method(importance_threshold=right)) == common


def test_learned_weights_are_not_constant_ones_for_lack_of_freezing() -> None:
    for threshold in (0.0, 0.2):
        learned = method(importance_threshold=threshold)
        assert shared(learned, method(importance_threshold=threshold, module_weights="ones")) == 1


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        # Module weights act from the second task on, while anything is left to train.
        ({}, {"omega_lr_scale": 0.5}, 1),
        ({"module_weights": "ones"}, {"module_weights": "ones", "omega_lr_scale": 0.5}, 5),
        (
            {"importance_threshold": 1.0},
            {"importance_threshold": 1.0, "module_weights": "ones"},
            5,
        ),
        # Averages are taken when the second task begins, and only for a choice.
        ({}, {"ipc_beta1": 0.5}, 1),
        ({}, {"ipc_beta2": 0.0}, 1),
        ({"importance_threshold": 0.0}, {"importance_threshold": 0.0, "ipc_beta1": 0.5}, 5),
        ({"importance_threshold": 1.0}, {"importance_threshold": 1.0, "ipc_beta1": 0.5}, 5),
        # The trace is recorded from the first task on, if anything is ever frozen.
        ({}, {"ipc_every": 2}, 0),
        ({}, {"ipc_window": 400}, 0),
        ({"importance_threshold": 0.0}, {"importance_threshold": 0.0, "ipc_every": 2}, 5),
        # The penalty.
        ({}, {"ortho_lambda": 2.0}, 0),
        ({"ortho_mode": "none"}, {"ortho_mode": "none", "ortho_lambda": 2.0}, 5),
        ({"ortho_mode": "none"}, {"ortho_lambda": 0.0}, 5),
        # Where the adapters sit.
        ({}, {"sites": ("f2", "f1", "o", "v", "k", "q")}, 5),
        ({}, {"depth": 2}, 5),
        ({}, {"depth": 1}, 0),
        ({"depth": 2}, {"depth": 12}, 5),
        ({"depth": 0}, {"depth": 0, "rank": 7, "lora_alpha": 3.0, "sites": ("q",)}, 5),
        ({"depth": 0}, {"depth": 0, "module_weights": "ones", "importance_threshold": 1.0}, 5),
        ({}, {"rank": 3}, 0),
        ({}, {"a_init": "kaiming_fan_in"}, 0),
    ],
)
def test_a_setting_acts_from_where_it_matters(
    left: dict[str, object], right: dict[str, object], common: int
) -> None:
    assert shared(method(**left), method(**right)) == common


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        ({}, {"lr": 1e-3}, 0),
        ({}, {"lr_first_task": 5e-3}, 5),  # the value of lr
        ({}, {"lr_first_task": 1e-3}, 0),
        ({"lr_first_task": 1e-3}, {"lr_first_task": 1e-3, "lr": 1e-4}, 1),
        ({}, {"lr_min": 1e-4}, 0),
        ({"schedule": "constant"}, {"schedule": "constant", "lr_min": 1e-4}, 5),
        ({}, {"precision": "float64"}, 0),
        ({}, {"device": "cuda"}, 0),
        ({}, {"threads": 2}, 0),
        ({}, {"batch_size": 32}, 0),
    ],
)
def test_training_acts_from_where_it_matters(
    left: dict[str, object], right: dict[str, object], common: int
) -> None:
    assert shared(training(**left), training(**right)) == common


def test_the_split_seed_acts_only_if_something_is_held_out() -> None:
    assert shared(RUN, stream(split_seed=1)) == 0
    all_of_it = stream(validation_fraction=0.0)
    other = replace(all_of_it, stream=replace(all_of_it.stream, split_seed=1))
    assert shared(all_of_it, other) == 5


def test_a_whole_number_is_the_same_setting_as_its_float() -> None:
    assert shared(method(lora_alpha=2.0), method(lora_alpha=2)) == 5


def test_one_task_leaves_nothing_to_compose_or_to_freeze() -> None:
    one = replace(RUN, stream=StreamConfig(tasks=1))
    for change in ({"module_weights": "ones"}, {"importance_threshold": 1.0}, {"ipc_every": 3}):
        assert shared(one, replace(one, method=replace(RUN.method, **change))) == 1


def test_joint_training_knows_neither_order_nor_grouping() -> None:
    joint = replace(RUN, method=JointLoraConfig(rank=2))
    for change in ({"task_order": (4, 3, 2, 1, 0)}, {"class_order_seed": 7}):
        other = replace(joint, stream=replace(joint.stream, **change))
        assert shared(joint, other) == 1
    regrouped = replace(joint, stream=replace(joint.stream, class_order_seed=7))
    assert partition_id(joint) != partition_id(regrouped)  # which evaluations go by


def test_what_trains_nothing_depends_on_neither_rates_nor_seeds() -> None:
    means = replace(RUN, method=NearestClassMeanConfig())
    other = replace(means, seed=5, train=TrainConfig(lr=1.0, epochs=1, batch_size=3))
    assert shared(means, other) == 5
    assert shared(means, replace(means, train=TrainConfig(precision="float64"))) == 0


def test_methods_never_share_a_stage() -> None:
    kinds = [RUN.method, LoraSequentialConfig(rank=2), NearestClassMeanConfig()]
    first = [keys(replace(RUN, method=kind))[0] for kind in kinds]
    assert len(set(first)) == len(kinds)


def test_a_configuration_is_a_run_without_its_replicates() -> None:
    replicate = replace(RUN, seed=3, stream=replace(RUN.stream, class_order_seed=1, split_seed=2))
    assert replicate.config_id == RUN.config_id
    assert replicate.trial_id != RUN.trial_id
    assert method(rank=3).config_id != RUN.config_id
    assert stream(tasks=2).config_id != RUN.config_id
