"""Faults of a run, deaths of a worker, and what is nobody's fault: genuine errors, told apart."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from obstore.exceptions import BaseError
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from sweeps.storage import is_full, is_storage_fault, open_storage
from sweeps.tune.causes import OUT_OF_MEMORY, death_by, error_kind, error_text
from tests.sweeps.tune.disks import small_disk


def test_memory_that_torch_and_python_do_not_get() -> None:
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(MemoryError) as pythons:
        bytearray(1 << 62)
    for error in (torchs.value, pythons.value, torch.OutOfMemoryError("CUDA out of memory.")):
        assert error_kind(error) == OUT_OF_MEMORY
        assert "Lower train.micro_batch" in error_text(error)


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("shapes"), OSError("gone")])
def test_other_errors_keep_their_name(error: Exception) -> None:
    assert error_kind(error) == type(error).__name__
    assert error_text(error) == str(error)


def test_a_storage_that_refuses(tmp_path: Path) -> None:
    objects = open_storage(str(tmp_path))
    (tmp_path / "a").write_text("a file where a folder must be")
    with pytest.raises(Exception, match="a/b") as raised:
        objects.put("a/b", b"")
    assert is_storage_fault(raised.value)
    assert not is_full(raised.value)
    assert not is_storage_fault(FileNotFoundError("an image"))


def test_a_full_disk_is_seen_through_what_was_raised_from_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "100k") as disk:
        with pytest.raises(BaseError) as raised:
            open_storage(str(disk)).put("a", bytes(1 << 20))
        assert list(open_storage(str(disk)).list()) == []
    wrapped = RuntimeError("what Tune makes of it")
    wrapped.__cause__ = raised.value
    assert is_full(wrapped)
    assert is_full(raised.value)
    assert is_full(OSError(errno.EDQUOT, "quota"))
    assert not is_full(OSError(errno.ENOENT, "no file"))


def test_deaths() -> None:
    killed = ActorDiedError()
    assert (death_by(killed).kind, death_by(killed).counts) == ("WorkerDied", True)
    killed.error_msg = "Worker exits with an exit code 1. The process receives a SIGTERM."
    assert not death_by(killed).counts
    killed.error_msg = "The actor died because its node has died."
    assert not death_by(killed).counts
    preempted = ActorDiedError()
    preempted._preempted = True
    assert not death_by(preempted).counts
    short = death_by(OutOfMemoryError("Task was killed due to the node running low on memory."))
    assert (short.kind, short.counts) == (OUT_OF_MEMORY, True)
    unreached = RayTaskError("step", "a traceback", BaseError("503 from the bucket\nmore"))
    assert (
        death_by(unreached).sentence == "a worker could not use the storage: 503 from the bucket"
    )
    assert "reaches the storage" in death_by(unreached).mend
    assert "resources.max_concurrent" in death_by(ActorDiedError()).mend
