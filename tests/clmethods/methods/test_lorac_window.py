"""Importance is sampled in the last steps of a task only; the trace is that of all steps."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch

from clmethods.config import LoracIpcConfig, RunConfig, resolve, stage_chain
from clmethods.config.methods.lorac_effect import FORM_TABLE, TraceSettings
from clmethods.config.methods.lorac_ipc import DEFAULT_TRACE
from clmethods.nn.importance import ImportanceTrace
from clmethods.nn.lora import ComposedLinear
from clmethods.nn.products.product_forms import FASTEST, RANKS
from tests.clmethods.runs import differences, small_method, tiny_run, train

QUICK = {"ipc_beta1": 0.05, "ipc_beta2": 0.05}  # negligible after five samples
MATRICES, LAYERS = 12, 8


def run_of(epochs: int = 3, **changes: Any) -> RunConfig:
    """Tasks of 16 images (8 for the last), two steps an epoch."""
    return tiny_run(small_method("lorac_ipc", **QUICK | changes), epochs=epochs)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("window", [5, 7])
def test_the_trace_is_the_end_of_that_of_all_steps(every: int, window: int) -> None:
    complete = train(run_of(10, ipc_every=every, ipc_window=300))
    short = train(run_of(10, ipc_every=every, ipc_window=window))
    for task in range(3):
        state, other = complete.deltas[task], dict(short.deltas[task])
        trace = other.pop(f"trace.{task}")
        assert torch.equal(trace, state[f"trace.{task}"][-window:])
        assert differences(other, {n: t for n, t in state.items() if n in other}) == []


@pytest.mark.parametrize(
    ("changes", "sampled", "observed"),
    [
        ({"ipc_window": 300}, 20, 20),
        ({"ipc_window": 6}, 6, 20),
        ({"ipc_window": 6, "ipc_unobserved": "thin"}, 6, 6),
        ({"ipc_window": 6, "ipc_every": 2, "ipc_unobserved": "thin"}, 6, 6),
        ({"ipc_window": 6, "ipc_unobserved": "auto"}, 6, 6),
        ({"ipc_window": 6, "ipc_every": 2}, 6, 10),
        ({"ipc_target": "factors"}, 20, 20),
        ({"ipc_target": "factors", "ipc_unobserved": "thin"}, 20, 20),
        ({"ipc_target": "factors", "ipc_stat": "epoch_mean"}, 2, 20),
        ({"ipc_target": "factors", "ipc_stat": "epoch_mean", "ipc_unobserved": "thin"}, 2, 2),
    ],
)
def test_steps_that_are_sampled_and_steps_with_a_dense_gradient(
    changes: dict[str, Any], sampled: int, observed: int
) -> None:
    run = run_of(10, **changes)
    with (
        mock.patch.object(
            ImportanceTrace, "_measure", autospec=True, side_effect=ImportanceTrace._measure
        ) as measure,
        mock.patch.object(
            ComposedLinear, "_observed", autospec=True, side_effect=ComposedLinear._observed
        ) as dense,
    ):
        train(run, until=0)
    assert measure.call_count == sampled * MATRICES
    assert dense.call_count == observed * LAYERS


@pytest.mark.parametrize("unobserved", ["thin", "auto"])
def test_other_products_agree_up_to_rounding(unobserved: str) -> None:
    dense, thin = (
        train(run_of(10, ipc_unobserved=value, ipc_window=6), until=0).state(0)
        for value in ("dense", unobserved)
    )
    changed = differences(dense, thin)
    assert any(name.startswith("lora.") for name in changed)
    for name in changed:
        torch.testing.assert_close(thin[name], dense[name], rtol=1e-5, atol=1e-7)


def test_runs_that_never_freeze_use_thin_products_too() -> None:
    config = small_method("lorac_ipc", importance_threshold=0.0, ipc_unobserved="thin")
    assert isinstance(config, LoracIpcConfig)
    context = tiny_run(config).context
    assert config.trace_settings(context) == replace(DEFAULT_TRACE, unobserved="thin")


def test_short_tasks_are_the_same_with_other_products() -> None:
    dense, thin, auto = (
        train(run_of(2, ipc_unobserved=u)).state(2) for u in ("dense", "thin", "auto")
    )
    assert differences(dense, thin) == []
    assert differences(dense, auto) == []


@pytest.mark.parametrize(("every", "acts"), [(1, False), (2, True)])
def test_auto_acts_only_in_steps_without_a_sample(every: int, acts: bool) -> None:
    """The scores of all samples of factors are used; with every step sampled, none is left."""
    config = small_method("lorac_ipc", ipc_target="factors", ipc_every=every)
    assert isinstance(config, LoracIpcConfig)
    run = tiny_run(config, epochs=2)
    auto = tiny_run(replace(config, ipc_unobserved="auto"), epochs=2)
    keys = [stage_chain(resolve(r))[0].key for r in (run, auto)]
    assert (keys[0] != keys[1]) is acts
    assert (differences(train(run, until=0).state(0), train(auto, until=0).state(0)) != []) is acts


def test_the_table_of_forms_cannot_change_without_its_version() -> None:
    """The version is in stage keys: raise it, then change the digest here."""
    digest = hashlib.sha256(repr((FASTEST, RANKS)).encode()).hexdigest()[:12]
    assert (FORM_TABLE, digest) == (1, "e52bfd39a25a")


def test_missing_samples_are_an_error() -> None:
    """Samples are left out by the announced number of steps: another number would lose some."""
    settings = TraceSettings("effective", "mean", 1, 3, "product", 0.5, 0.5)
    trace = ImportanceTrace(2, settings, torch.float64, "cpu")
    trace.expect(10)
    for _ in range(9):
        trace.end_step()
    with pytest.raises(RuntimeError, match="2 importance samples, expected 3"):
        trace.tensor()
    trace.end_step()
    assert trace.tensor().shape == (3, 2)
