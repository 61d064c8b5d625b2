"""Checks between the loading of a sweep and its run."""

from __future__ import annotations

import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition.readiness import ready_sweep
from tests.sweeps.stages.small import small_sweep


def test_a_missing_compiler_is_one_issue_for_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    train = {"epochs": 1, "batch_size": 8, "compile": True}
    sweep = small_sweep(search={"method.rank": [1, 2]}, train=train)
    with pytest.raises(InvalidConfigError) as refused:
        ready_sweep(sweep, on_cluster=False)
    (issue,) = refused.value.issues
    assert (issue.path, issue.value) == ("train.compile", True)
    assert ready_sweep(sweep, on_cluster=True) == sweep  # its machines have their own compilers
    assert ready_sweep(small_sweep(), on_cluster=False) == small_sweep()
