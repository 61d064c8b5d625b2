"""File system for Tune's own state that discards all data.

Tune writes markers, pickled snapshots and checkpoints to the storage of its `RunConfig`, and its
workers expect to find the files of the driver there. The stage store is the system of record of a
sweep, and no file of Tune is ever read back. With this file system Tune needs no folder that two
nodes share, and no folder on the driver that remains after the run.
"""

from __future__ import annotations

import io
from typing import Any, final

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSystemHandler, FileType, PyFileSystem
from ray.train._internal.storage import _VALIDATE_STORAGE_MARKER_FILENAME as MARKER
from ray.tune.execution.tune_controller import TuneController


def discarding_filesystem() -> PyFileSystem:
    """Return a picklable file system that accepts and discards every write."""
    return PyFileSystem(DiscardingHandler())


@final
class DiscardingHandler(FileSystemHandler):  # type: ignore[misc]  # pyarrow is untyped
    """Accepts writes and discards them. Only the files that Tune requires appear to exist."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DiscardingHandler)

    def __hash__(self) -> int:
        return hash(DiscardingHandler)

    def get_type_name(self) -> str:
        return "discard"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [
            FileInfo(path, FileType.File if path.endswith(MARKER) else FileType.NotFound)
            for path in paths
        ]

    def get_file_info_selector(self, selector: Any) -> list[FileInfo]:
        """Return one snapshot: Tune requires one when an experiment ends, but does not open it."""
        name = TuneController.CKPT_FILE_TMPL.format("discarded")
        return [FileInfo(f"{selector.base_dir}/{name}", FileType.File)]

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return pa.PythonFile(io.BytesIO(), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return pa.PythonFile(io.BytesIO(), mode="w")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        raise FileNotFoundError(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        raise FileNotFoundError(path)

    def create_dir(self, path: str, recursive: bool) -> None:
        """Do nothing."""

    def delete_dir(self, path: str) -> None:
        """Do nothing."""

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Do nothing."""

    def delete_root_dir_contents(self) -> None:
        """Do nothing."""

    def delete_file(self, path: str) -> None:
        """Do nothing."""

    def move(self, src: str, dest: str) -> None:
        """Do nothing."""

    def copy_file(self, src: str, dest: str) -> None:
        """Do nothing."""
