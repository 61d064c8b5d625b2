"""Readouts: one id per effect, idle options refused, and notes that must be said."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import (
    InvalidConfigError,
    JointLoraConfig,
    LoracIpcConfig,
    LoraSequentialConfig,
    NearestClassMeanConfig,
    ReadoutConfig,
    RunConfig,
    SequentialFinetuningConfig,
    canonical_json,
)
from clmethods.config.readout import is_batch_wise, is_upper_bound, readout_notes

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "routing": st.sampled_from(["last", "instance", "batch", "oracle"]),
    "metric": st.sampled_from(["corr", "cov", "shared_cov", "cosine", "euclid"]),
    "clusters": st.sampled_from([1, 2, 4]),
    "shrinkage_diag": st.sampled_from([0.5, 1, 1.0, 5.0]),
    "shrinkage_off": st.sampled_from([0, 0.25, 1.0]),
    "batch_size": st.sampled_from([1, 5, 64]),
    "tap": st.booleans(),
    "tap_steps": st.sampled_from(["ours", "ref"]),
    "tap_mix": st.sampled_from(["size", "uniform"]),
    "tap_storage": st.sampled_from(["multi_centroid", "covariance", "variance"]),
    "tap_clusters": st.sampled_from([1, 5, 10]),
    "tap_epochs": st.sampled_from([0, 5, 50]),
    "tap_lr": st.sampled_from([5e-3, 1e-5, 1.0]),
    "tap_restore": st.booleans(),
}


@st.composite
def readouts(draw: st.DrawFn) -> ReadoutConfig:
    """Any valid readout: options that are refused are left out."""
    desired = {name: draw(values) for name, values in FIELDS.items()}
    while True:
        try:
            return ReadoutConfig(**desired)
        except InvalidConfigError as error:
            for issue in error.issues:
                desired.pop(issue.path, None)


@settings(max_examples=300, deadline=None)
@given(readouts(), readouts())
def test_ids_and_fingerprints_are_equal_where_the_effects_are(
    one: ReadoutConfig, other: ReadoutConfig
) -> None:
    alike = canonical_json(one.effect) == canonical_json(other.effect)
    assert (one.readout_id == other.readout_id) == alike
    assert (one.fingerprint == other.fingerprint) == alike
    assert one != other or alike


def test_ids_of_a_whole_grid_tell_all_effects_apart() -> None:
    """Hypothesis seldom draws two that differ in one field alone."""
    bases = [
        ReadoutConfig(routing="batch", metric="corr", clusters=2, tap=True),
        ReadoutConfig(routing="instance", metric="shared_cov", tap=True, tap_storage="covariance"),
        ReadoutConfig(tap=True, tap_clusters=5),
    ]
    changes: dict[str, list[Any]] = {
        "routing": ["last", "instance", "oracle"],
        "metric": ["corr", "cov", "euclid"],
        "clusters": [1, 4],
        "shrinkage_diag": [0.5, 2.0],
        "shrinkage_off": [0.5, 1.0],
        "batch_size": [1, 32],
        "tap": [False],
        "tap_steps": ["ref"],
        "tap_mix": ["uniform"],
        "tap_storage": ["variance", "covariance"],
        "tap_clusters": [1, 20],
        "tap_epochs": [0, 5],
        "tap_lr": [1e-3],
        "tap_restore": [False],
    }
    single = [{name: value} for name, values in changes.items() for value in values]
    found: dict[str, str] = {}
    for base in bases:
        for one, two in combinations([{}, *single], 2):
            try:
                readout = replace(base, **(one | two))
            except InvalidConfigError:
                continue
            effect = canonical_json(readout.effect)
            assert found.setdefault(readout.readout_id, effect) == effect
    assert len(found) > 100
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "last"),
        ({"routing": "instance"}, "instance-cosine"),
        ({"routing": "oracle"}, "oracle"),
        ({"routing": "instance", "metric": "corr"}, "instance-corr"),
        ({"routing": "batch", "metric": "corr", "clusters": 2}, "batch-corr-k2"),
        ({"routing": "batch", "batch_size": 32}, "batch-cosine-b32"),
        (
            {"routing": "instance", "metric": "cov", "shrinkage_diag": 2, "shrinkage_off": 0.5},
            "instance-cov-g2-o0.5",
        ),
        ({"tap": True}, "last-tap"),
        (
            {"tap": True, "tap_steps": "ref", "tap_mix": "uniform", "tap_restore": False},
            "last-tap-uniform-ref-chain",
        ),
        (
            {"routing": "oracle", "tap": True, "tap_storage": "covariance", "tap_epochs": 5},
            "oracle-tap-covariance-e5",
        ),
    ],
)
def test_an_id_says_what_is_special(fields: dict[str, Any], name: str) -> None:
    assert ReadoutConfig(**fields).readout_id == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"routing": "batch", "batch_size": 1}, {"routing": "instance"}),
        ({"tap": True, "tap_epochs": 0}, {}),
        ({"tap": True, "tap_clusters": 1}, {"tap": True, "tap_storage": "variance"}),
        (
            {"routing": "instance", "metric": "corr", "shrinkage_diag": 1, "clusters": 4},
            {"routing": "instance", "metric": "corr"},
        ),
    ],
)
def test_two_spellings_of_one_effect_are_one_readout(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    left, right = ReadoutConfig(**one), ReadoutConfig(**other)
    assert (left.readout_id, left.fingerprint) == (right.readout_id, right.fingerprint)


def test_evaluations_stored_by_the_first_readouts_are_still_found() -> None:
    """Their keys were hashed over two fields, before there were more."""
    found = {
        readout.readout_id: readout.fingerprint
        for readout in (
            ReadoutConfig(),
            ReadoutConfig(routing="instance"),
            ReadoutConfig(routing="instance", metric="euclid"),
            ReadoutConfig(routing="oracle"),
        )
    }
    assert found == {
        "last": "d83005384aa43449",
        "instance-cosine": "123f8e6782fb0e6f",
        "instance-euclid": "69f68694f0489f75",
        "oracle": "419cb60c9b8e38a9",
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"metric": "corr"},
            "metric: got 'corr', allowed: to be left out unless routing is `instance` or `batch`",
        ),
        (
            {"routing": "instance", "clusters": 2},
            "clusters: got 2, allowed: to be left out unless metric is one of ['corr', 'cov', "
            "'shared_cov']",
        ),
        ({"routing": "oracle", "shrinkage_off": 0.5}, "shrinkage_off: got 0.5, allowed: to be"),
        (
            {"routing": "instance", "batch_size": 8},
            "batch_size: got 8, allowed: to be left out unless routing is `batch`",
        ),
        ({"tap_lr": 1.0}, "tap_lr: got 1.0, allowed: to be left out unless tap is true"),
        ({"tap_restore": False}, "tap_restore: got False, allowed: to be left out unless tap"),
        (
            {"tap": True, "tap_storage": "variance", "tap_mix": "uniform"},
            "tap_mix: got 'uniform', allowed: to be left out unless tap_storage is "
            "`multi_centroid`",
        ),
        ({"routing": "instance", "metric": "cov", "clusters": 0}, "clusters: got 0, allowed: 1"),
        (
            {"routing": "instance", "metric": "cov", "shrinkage_off": 2.0},
            "shrinkage_off: got 2.0, allowed: from 0 to shrinkage_diag, 1. With a larger",
        ),
        (
            {"routing": "instance", "metric": "cov", "shrinkage_diag": float("nan")},
            "shrinkage_diag: got nan, allowed: a finite number",
        ),
        ({"routing": "batch", "batch_size": 0}, "batch_size: got 0, allowed: 1 or more"),
        ({"tap": True, "tap_epochs": -1}, "tap_epochs: got -1, allowed: 0 or more"),
        ({"tap": True, "tap_lr": 0.0}, "tap_lr: got 0.0, allowed: greater than 0"),
        ({"tap": True, "tap_clusters": 0}, "tap_clusters: got 0, allowed: 1 or more"),
    ],
)
def test_invalid_input_is_refused_with_constraint(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        ReadoutConfig(**fields)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("method", "allowed"),
    [
        (LoracIpcConfig(), {"last", "instance", "batch", "oracle", "tap", "chain"}),
        (LoraSequentialConfig(), {"last", "tap", "chain"}),
        (SequentialFinetuningConfig(), {"last", "tap", "chain"}),
        (SequentialFinetuningConfig(head_loss="global"), {"last", "tap"}),
        (JointLoraConfig(), {"last"}),
        (NearestClassMeanConfig(), {"last"}),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
def test_what_a_method_allows(method: Any, allowed: set[str]) -> None:
    kinds = {
        "last": ReadoutConfig(),
        "instance": ReadoutConfig(routing="instance"),
        "batch": ReadoutConfig(routing="batch"),
        "oracle": ReadoutConfig(routing="oracle"),
        "tap": ReadoutConfig(tap=True),
        "chain": ReadoutConfig(tap=True, tap_restore=False),
    }
    run = RunConfig(method=method)
    assert {name for name, readout in kinds.items() if not readout.issues_in(run)} == allowed


def test_readouts_that_leak_or_look_back_say_so() -> None:
    leaks = ReadoutConfig(routing="batch", metric="corr")
    bound = ReadoutConfig(routing="oracle", tap=True)
    stale = ReadoutConfig(tap=True)
    assert is_batch_wise(leaks.readout_id)
    assert "leaks the task" in readout_notes(leaks.readout_id)[0]
    assert is_upper_bound(bound.readout_id)
    assert "upper bound" in readout_notes(bound.readout_id)[0]
    assert "older snapshots" in readout_notes(stale.readout_id)[0]
    for quiet in (ReadoutConfig(), ReadoutConfig(routing="instance", tap=True)):
        assert not is_batch_wise(quiet.readout_id)
        assert not is_upper_bound(quiet.readout_id)
        assert readout_notes(quiet.readout_id) == []


def test_a_readout_survives_being_written_down() -> None:
    readout = ReadoutConfig(routing="batch", metric="corr", tap=True, tap_lr=1.0)
    again = ReadoutConfig(**asdict(readout))
    assert (again, again.fingerprint) == (readout, readout.fingerprint)
