"""Garbage collector settings while a worker imports its modules."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from sweeps.execution.worker import worker_startup as startup


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Nothing that this test keeps from the collector stays so."""
    frozen = gc.get_freeze_count()
    yield
    if not frozen:
        gc.unfreeze()


def test_what_is_loaded_is_never_searched_and_what_follows_is() -> None:
    with startup._nothing_to_collect():
        assert not gc.isenabled()
        loaded: list[object] = [[]]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    later = [loaded]
    assert not any(one is loaded for one in gc.get_objects())
    assert any(one is later for one in gc.get_objects())


def test_a_fault_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(ImportError), startup._nothing_to_collect():
        raise ImportError
    assert gc.isenabled()


def test_the_hook_is_found_by_its_name() -> None:
    module, _, name = startup.HOOK.rpartition(".")
    assert (module, getattr(startup, name)) == (startup.__name__, startup.load_tune)
