"""A folder that is no storage: the message names the storages near it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clmethods.errors import InvalidConfigError
from sweeps.results import load as results_load
from sweeps.storage.nearby_storages import storage_hint


def storage(folder: Path) -> Path:
    sweep = folder / "sweeps" / "digits_demo"
    sweep.mkdir(parents=True)
    (sweep / "sweep.yaml").write_text("name: digits_demo\n", encoding="utf-8")
    (folder / "stages" / "ab").mkdir(parents=True)
    return folder


def message(directory: Path) -> str:
    with pytest.raises(InvalidConfigError) as error:
        results_load.locate(str(directory)).require_single(str(directory))
    return str(error.value)


def test_a_storage_below_is_named(tmp_path: Path) -> None:
    demo = storage(tmp_path / "runs" / "demo")
    assert f"There is a storage at {demo}." in message(tmp_path / "runs")
    assert f"There is a storage at {demo}." in message(tmp_path)
    assert f"There is a storage at {demo}." in message(tmp_path / "runs" / "dmeo")
    other = storage(tmp_path / "runs" / "other")
    assert f"There are storages at {demo}, {other}." in message(tmp_path / "runs")


def test_a_folder_of_a_storage_leads_to_the_storage(tmp_path: Path) -> None:
    demo = storage(tmp_path / "runs" / "demo")
    assert f"The storage is {demo}." in message(demo / "stages")
    assert f"The storage is {demo}." in message(demo / "stages" / "ab")


def test_without_storages_the_command_is_named(tmp_path: Path) -> None:
    assert "Run `sweeps run` with this storage first." in message(tmp_path)
    deep = tmp_path / "a" / "b" / "c" / "d"
    storage(deep)
    assert storage_hint(str(tmp_path)) == ""


def test_many_storages_are_counted(tmp_path: Path) -> None:
    for index in range(7):
        storage(tmp_path / f"s{index}")
    assert storage_hint(str(tmp_path)).endswith("s4 and 2 more.")
