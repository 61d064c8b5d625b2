"""Metrics of counts, class- and task-incremental, and of several runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clmethods.metrics import (
    COUNT_METRICS,
    DIRECTIONS,
    METRICS,
    OF_COUNTS,
    REFERENCES,
    Counts,
    aopd,
    bwt_all_pairs,
    bwt_plus,
    disparity,
    every_metric,
    feature_drift,
    forgetting,
    forgetting_avalanche,
    forgetting_continuum,
    forgetting_mammoth,
    forward_transfer,
    forward_transfer_all_pairs,
    intransigence,
    learning_accuracy,
    metrics_of_many,
    model_size_efficiency,
    mopd,
    remembering,
    some_metrics,
    stability,
    stability_plasticity,
)
from tests.clmethods.accuracy_matrices import WORKED, matrices


def counts_of(class_incremental, task_incremental=None, n=100, **fields):
    """Counts with these accuracies; `n` images a task, or one number per task."""
    a = np.nan_to_num(np.asarray(class_incremental, dtype=float))
    given = a if task_incremental is None else np.asarray(task_incremental, dtype=float)
    sizes = np.broadcast_to(np.asarray(n), a.shape)
    correct, task_given = (np.rint(rate * sizes).astype(int) for rate in (a, given))
    return Counts(n=sizes, correct=correct, correct_task_given=task_given, **fields)


TIL = [[0.9, 0.5, 0.4], [0.8, 0.9, 0.6], [0.7, 0.9, 1.0]]


def test_the_relatives_of_a_worked_matrix():
    assert forgetting_mammoth(WORKED) == pytest.approx((0.3 + 0.0) / 2)
    assert bwt_plus(WORKED) == 0.0
    assert remembering(WORKED) == pytest.approx(0.9)
    assert bwt_all_pairs(WORKED) == pytest.approx((-0.2 - 0.3 + 0.1) / 3)
    kept, learned = stability(WORKED), learning_accuracy(WORKED)
    assert stability_plasticity(WORKED) == pytest.approx(2 * kept * learned / (kept + learned))
    better = [[0.5, np.nan], [0.7, 0.5]]
    assert bwt_plus(better) == pytest.approx(0.2)
    assert remembering(better) == 1.0
    assert stability_plasticity([[0.5, np.nan], [0.0, 0.5]]) == 0.0


def test_each_library_forgets_by_its_own_definition():
    """Task 1 was learned at 0.5, peaked at 0.8 after task 2 and ended at 0.4; task 2 was learned
    at 0.6, was 0.9 after task 3 and ended at 0.7; task 3 began at 0.5 and ended at 0.6."""
    a = [
        [0.5, np.nan, np.nan, np.nan],
        [0.8, 0.6, np.nan, np.nan],
        [0.7, 0.9, 0.5, np.nan],
        [0.4, 0.7, 0.6, 0.9],
    ]
    assert forgetting(a) == pytest.approx((0.4 + 0.2 - 0.1) / 3)
    assert forgetting_mammoth(a) == pytest.approx((0.4 + 0.2 + 0.0) / 3)
    assert forgetting_avalanche(a) == pytest.approx((0.1 - 0.1 - 0.1) / 3)
    # tasks 1 and 2 only, at their peaks after tasks 1 and 2, over three
    assert forgetting_continuum(a) == pytest.approx((0.4 - 0.1) / 3)
    assert forgetting_continuum([[0.9, np.nan], [0.1, 0.8]]) == 0.0


@given(matrices())
def test_no_definition_of_forgetting_is_above_mammoths(a):
    most = forgetting_mammoth(a) + 1e-12
    assert forgetting_avalanche(a) <= forgetting(a) + 1e-12
    assert forgetting(a) <= most
    assert forgetting_continuum(a) <= most


def test_forward_transfer_reads_the_next_task_before_it_is_learned():
    untrained = [0.1, 0.2, 0.3]
    assert forward_transfer(TIL, untrained) == pytest.approx((0.5 - 0.2 + 0.6 - 0.3) / 2)
    assert forward_transfer_all_pairs(TIL) == pytest.approx((0.5 + 0.4 + 0.6) / 3)
    assert forward_transfer(WORKED, untrained) is None
    assert forward_transfer_all_pairs(WORKED) is None


def test_intransigence_compares_with_a_reference_at_the_time_of_learning():
    assert intransigence(WORKED, [0.9, 0.8, 0.7]) == pytest.approx((0.0 + 0.2 - 0.1) / 3)


@pytest.mark.parametrize("reference", [[0.5], [0.5, 0.5, 1.1], [0.5, 0.5, np.nan]])
def test_a_reference_that_is_no_accuracy_per_task_is_refused(reference):
    for function in (intransigence, forward_transfer):
        with pytest.raises(ValueError, match="3 fractions"):
            function(TIL, reference)


def test_model_size_efficiency_falls_as_the_model_grows():
    assert model_size_efficiency([4, 4, 4]) == 1.0
    assert model_size_efficiency([1, 2, 4]) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert model_size_efficiency([4, 2]) == 1.0
    assert model_size_efficiency([0, 2]) is None
    for bad in ([], [1, -1], [1, np.nan]):
        with pytest.raises(ValueError, match="size per task"):
            model_size_efficiency(bad)


def test_feature_drift_is_how_far_directions_have_turned():
    then = [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]
    now = [[2.0, 0.0], [3.0, 0.0], [-1.0, -1.0]]
    assert feature_drift(then, now) == pytest.approx((0 + 1 + 2) / 3)
    with pytest.raises(ValueError, match="same images"):
        feature_drift(then, now[:2])


def test_task_id_accuracy_weighs_tasks_alike_at_the_end():
    task_id = np.array([[10, 0], [5, 30]])
    counts = counts_of(np.tril(np.ones((2, 2))), n=[10, 40], task_id_correct=task_id)
    assert every_metric(counts)["task_id_accuracy"] == pytest.approx((0.5 + 0.75) / 2)


def test_pooled_figures_weigh_by_images_and_the_others_do_not():
    values = every_metric(counts_of([[1.0, 0.0], [0.5, 1.0]], n=[10, 90]))
    assert values["average_accuracy"] == pytest.approx(0.75)
    assert values["pooled_accuracy"] == pytest.approx(0.95)
    assert values["average_incremental_accuracy"] == pytest.approx((1 + 0.75) / 2)
    assert values["pooled_incremental_accuracy"] == pytest.approx((1 + 0.95) / 2)


@settings(deadline=None)
@given(matrices(min_tasks=1))
def test_i36_equal_sizes_make_pooled_and_uniform_figures_one(a):
    values = every_metric(counts_of(a, n=1000))
    for pooled, uniform in (
        ("pooled_accuracy", "average_accuracy"),
        ("pooled_incremental_accuracy", "average_incremental_accuracy"),
    ):
        assert values[pooled] == pytest.approx(values[uniform])


def test_class_and_task_incremental_metrics_read_their_own_counts():
    values = every_metric(counts_of(WORKED, TIL))
    for name, metric in METRICS.items():
        assert values[name] == pytest.approx(metric.function(WORKED)), name
        assert values[f"til_{name}"] == pytest.approx(metric.function(TIL)), name
        assert DIRECTIONS[name] == DIRECTIONS[f"til_{name}"] == metric.direction
    assert values["fwt_til_all_pairs"] == pytest.approx(0.5)


def test_what_needs_a_reference_run_names_it_and_is_none_without():
    alone = every_metric(counts_of(WORKED, TIL))
    references = {
        "untrained": [0.1, 0.2, 0.3],
        "joint_until": [0.9, 0.8, 0.7],
        "single": [1.0, 1.0, 1.0],
        "joint_final": [0.8, 0.8, 0.8],
    }
    assert references.keys() == REFERENCES.keys()
    needy = {name for name, metric in COUNT_METRICS.items() if metric.needs in REFERENCES}
    assert {COUNT_METRICS[name].needs for name in needy} == REFERENCES.keys()
    assert {alone[name] for name in needy} == {None}
    assert alone["model_size_efficiency"] is None
    assert set(OF_COUNTS) == alone.keys() - needy - {"model_size_efficiency"}
    for name in needy:
        only = {COUNT_METRICS[name].needs: references[COUNT_METRICS[name].needs]}
        found = every_metric(counts_of(WORKED, TIL, references=only))
        assert {other for other in needy if found[other] is not None} == {name}
    whole = every_metric(counts_of(WORKED, TIL, references=references, memory=np.array([1, 2, 4])))
    assert whole["fwt_til"] == forward_transfer(TIL, references["untrained"])
    assert whole["intransigence"] == pytest.approx(0.1 / 3)
    assert whole["intransigence_single"] == pytest.approx(1 - learning_accuracy(WORKED))
    assert whole["intransigence_joint_final"] == pytest.approx(0.8 - learning_accuracy(WORKED))
    assert whole["model_size_efficiency"] == model_size_efficiency([1, 2, 4])


def test_some_metrics_are_those_of_all_and_names_of_none_are_left_out() -> None:
    counts = counts_of(WORKED, TIL)
    desired = ["forgetting", "task_id_accuracy", "trainable_parameters", "average_accuracy"]
    found = some_metrics(counts, desired)
    assert list(found) == ["forgetting", "task_id_accuracy", "average_accuracy"]
    assert found == {name: every_metric(counts)[name] for name in found}


def test_one_task_leaves_everything_about_the_past_and_the_next_undefined():
    references = {name: [0.5] for name in REFERENCES}
    values = every_metric(counts_of([[0.7]], references=references))
    defined = {name for name, value in values.items() if value is not None}
    accuracies = ("average_accuracy", "average_incremental_accuracy", "learning_accuracy")
    assert defined == {
        *accuracies,
        *(f"til_{name}" for name in accuracies),
        "pooled_accuracy",
        "pooled_incremental_accuracy",
        "intransigence",
        "intransigence_single",
        "intransigence_joint_final",
    }


def test_a_joint_run_has_no_history_in_any_metric():
    references = {name: [0.5] * 3 for name in REFERENCES}
    values = every_metric(counts_of([[0.5, 0.7, 0.9]], references=references))
    defined = {name for name, value in values.items() if value is not None}
    assert defined == {"average_accuracy", "til_average_accuracy", "pooled_accuracy"}


@settings(deadline=None)
@given(matrices(), st.data())
def test_i37_every_metric_of_counts_is_in_its_range(a, data):
    given_task = data.draw(arrays(np.float64, a.shape, elements=st.floats(0, 1)))
    for name, value in every_metric(counts_of(a, given_task)).items():
        signed = ("forgetting", "bwt", "fwt_til")
        low = -1 if name.removeprefix("til_").startswith(signed) else 0
        assert value is None or low <= value
        assert value is None or value <= 1 or "stability" in name


@settings(deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(0, 1)),
    st.randoms(use_true_random=False),
)
def test_i36_disparity_between_orders(final, random):
    assert 0 <= aopd(final) <= mopd(final) * (1 + 1e-15)  # a mean of equal numbers is rounded
    assert mopd(final[:1]) == aopd(final[:1]) == 0
    shuffled = final[random.sample(range(len(final)), len(final))]
    assert disparity(shuffled).tolist() == disparity(final).tolist()


def test_disparity_of_two_orders_by_hand():
    final = [[0.9, 0.5, 0.7], [0.6, 0.5, 0.8]]
    assert disparity(final).tolist() == pytest.approx([0.3, 0.0, 0.1])
    assert (aopd(final), mopd(final)) == (pytest.approx(0.4 / 3), pytest.approx(0.3))


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (9, 9), (12, 12)])
def test_many_runs_at_once_give_the_bits_of_each(shape, routed):
    """With tasks that were never known, which stability leaves out run by run; and 9 or more
    tasks, from where on numpy adds in another order than from left to right."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, 51, (20, *shape)) * (rng.random((20, 1, shape[1])) > 0.1)  # (N, S, T)
    seen = np.tril(np.ones(shape, dtype=np.int64)) if shape[0] == shape[1] else 1
    stacked = {
        "n": np.full_like(right, 50),
        "correct": right * seen,
        "correct_task_given": right,
        "task_id_correct": right if routed else None,
    }
    many = metrics_of_many(Counts(**stacked))
    assert list(many) == list(OF_COUNTS)
    for k in range(len(right)):
        one = Counts(**{key: v if v is None else v[k] for key, v in stacked.items()})
        values = every_metric(one)
        for name, column in many.items():
            expected = np.nan if values[name] is None else values[name]
            assert np.array_equal(column[k], expected, equal_nan=True), name
