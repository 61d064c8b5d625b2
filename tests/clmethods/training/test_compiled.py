"""`train.compile`: the same results within rounding, other stage keys, and a clear refusal."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from clmethods.config import InvalidConfigError, RunConfig, resolve, stage_chain
from clmethods.config.compiler_check import missing_compiler
from clmethods.config.from_dict import run_from_dict
from clmethods.config.run import run_to_dict
from tests.clmethods.runs import small_method, tiny_run, train

EAGER = tiny_run(
    small_method("lorac_ipc", ipc_unobserved="auto", ipc_window=6, ipc_beta1=0.05, ipc_beta2=0.05),
    epochs=10,
)


def compiled(run: RunConfig) -> RunConfig:
    return replace(run, train=replace(run.train, compile=True))


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor:UserWarning"
)  # of torch itself
def test_a_compiled_stage_has_the_same_results_up_to_rounding() -> None:
    """Steps before the last six are compiled; those are observed, and therefore not."""
    calls: list[str] = []
    compile_block = torch.compile

    def counted(function, **options):  # type: ignore[no-untyped-def]
        inner = compile_block(function, **options)

        def call(x):  # type: ignore[no-untyped-def]
            calls.append("compiled")
            return inner(x)

        return call

    with mock.patch("torch.compile", counted):
        found = train(compiled(EAGER), until=0).state(0)
    expected = train(EAGER, until=0).state(0)
    steps, blocks = 20, resolve(EAGER).backbone.facts.blocks
    assert len(calls) == (steps - 6) * blocks
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-7)


def test_compilation_is_in_the_stage_key_and_absent_by_default() -> None:
    eager, other = (stage_chain(resolve(run)) for run in (EAGER, compiled(EAGER)))
    assert all(a.key != b.key for a, b in zip(eager, other, strict=True))
    assert "compile" not in eager[0].effect["train"]
    assert other[0].effect["train"]["compile"] is True
    assert run_from_dict(run_to_dict(compiled(EAGER))) == compiled(EAGER)


def test_the_option_is_refused_without_a_compiler(tmp_path: Path) -> None:
    with (
        mock.patch.dict(os.environ, {"PATH": str(tmp_path), "CXX": ""}),
        pytest.raises(InvalidConfigError, match=r"without the C\+\+ compiler (g|clang)\+\+"),
    ):
        train(compiled(EAGER), until=0)
    with (
        mock.patch.dict(os.environ, {"CXX": "no-such-compiler"}),
        pytest.raises(InvalidConfigError, match=r"without the C\+\+ compiler no-such-compiler"),
    ):
        train(compiled(EAGER), until=0)


def test_the_compiler_may_be_a_command_with_options() -> None:
    with mock.patch.dict(os.environ, {"CXX": f"{sys.executable} -O2"}):
        assert missing_compiler(compiled(EAGER).train) is None
    with mock.patch.dict(os.environ, {"CXX": "no-such-compiler"}):
        assert missing_compiler(EAGER.train) is None
        assert missing_compiler(replace(compiled(EAGER).train, device="cuda")) is None
