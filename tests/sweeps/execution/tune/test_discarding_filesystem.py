"""Tune's own state is kept nowhere, on the driver and on any other node."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileType
from ray.train import Checkpoint
from ray.train._internal.storage import StorageContext

from sweeps.execution.tune.discarding_filesystem import discarding_filesystem

ANOTHER_PROCESS = """
import pickle, sys
context = pickle.load(sys.stdin.buffer)
context._check_validation_file()
print(context.storage_filesystem.type_name)
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageContext:
    monkeypatch.chdir(tmp_path)
    return StorageContext("discarded", "sweep", None, discarding_filesystem(), "trial")


def test_nothing_is_written_anywhere(context: StorageContext, tmp_path: Path) -> None:
    fs = context.storage_filesystem
    with fs.open_output_stream("discarded/sweep/tuner.pkl") as stream:
        stream.write(b"state")
    fs.create_dir("discarded/sweep/trial")
    assert list(tmp_path.iterdir()) == []
    assert fs.get_file_info("discarded/sweep/tuner.pkl").type == FileType.NotFound
    with pytest.raises(FileNotFoundError):
        fs.open_input_stream("discarded/sweep/tuner.pkl")


def test_a_checkpoint_is_accepted_and_dropped(context: StorageContext, tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    (source / "data").write_bytes(b"data")
    context.current_checkpoint_index = 0
    context.persist_current_checkpoint(Checkpoint(str(source)))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_another_process_finds_the_marker_of_the_driver(context: StorageContext) -> None:
    """Each node has folders of its own: what the driver wrote cannot be what a worker sees."""
    found = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS],
        input=pickle.dumps(context),
        capture_output=True,
        check=True,
    )
    assert found.stdout.decode().strip() == context.storage_filesystem.type_name == "py::discard"


def test_tune_finds_the_snapshot_that_it_looks_for_at_the_end(context: StorageContext) -> None:
    from ray.tune.execution.experiment_state import _find_newest_experiment_checkpoint

    fs, folder = context.storage_filesystem, context.experiment_fs_path
    assert _find_newest_experiment_checkpoint(folder, fs) is not None
    assert [info.type for info in fs.get_file_info(FileSelector(folder))] == [FileType.File]
