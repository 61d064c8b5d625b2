"""Comparison of training with the frozen backbone: chosen on validation, reported on test."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np
import pytest

from sweeps.analysis.front.training_free import compare_with_training_free
from sweeps.analysis.trials.replicates import Replicates


def configuration(label, grid, method="lorac_ipc", role="search"):
    metrics: dict[str, dict[tuple[str, Hashable], float]] = {
        "average_accuracy": {
            (f"order{i}", j): float(v) for i, row in enumerate(grid) for j, v in enumerate(row)
        }
    }
    return Replicates(label, label, role, method, "last", "validation", metrics, {})


def need(validation, test=None):
    test = test or validation
    return compare_with_training_free(
        validation, [replace(one, split="test") for one in test], "average_accuracy", "max"
    )


NOISE = np.random.default_rng(0).normal(0, 0.1, (3, 3))
MEANS = configuration("means", 0.7 + NOISE, "nearest_class_mean", "baseline")


def test_a_clear_gain_is_paired_and_said():
    noise = np.random.default_rng(1).normal(0, 0.005, (3, 3))
    found = need([configuration("lora", 0.75 + NOISE + noise), MEANS])
    assert found.gain == pytest.approx(0.05, abs=0.01)
    assert found.text.startswith("Do you need LoRA? Yes here: lora is")
    worse = need([configuration("lora", 0.6 + NOISE), MEANS])
    assert worse.text.startswith("Do you need LoRA? Not here: lora is 10.0 points below means")


def test_what_is_not_settled_says_what_would_settle_it():
    noise = np.random.default_rng(2).normal(0, 0.05, (3, 3))
    found = need([configuration("lora", 0.72 + NOISE + noise), MEANS])
    assert "Undecided" in found.text
    assert "would detect it in 80% of cases" in found.text
    single = need([configuration("lora", [[0.9]]), configuration("m", [[0.8]], MEANS.method)])
    assert "two orders and two seeds" in single.text


def test_the_choice_is_on_validation_and_the_number_from_test():
    one, two = configuration("one", 0.9 + NOISE), configuration("two", 0.8 + NOISE)
    test = [configuration("one", 0.5 + NOISE), configuration("two", 0.95 + NOISE), MEANS]
    found = need([one, two, MEANS], test)
    assert found.trained == "one"
    assert found.gain == pytest.approx(-0.2)


def test_without_either_kind_there_is_no_answer():
    assert need([MEANS]) is None
    assert need([configuration("lora", NOISE)]) is None
    joint = configuration("joint", NOISE + 1, "joint_lora", "reference")
    assert need([joint, MEANS]) is None
    assert need([]) is None
