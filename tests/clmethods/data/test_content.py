"""Content that is replaced under the same names and sizes: never trained or evaluated silently."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from clmethods.archive.document import RUN_FILE
from clmethods.checksummed_json import add_checksum, verify_checksum
from clmethods.cli import main
from clmethods.config import RunConfig, StreamConfig, resolve, run_from_dict, run_to_dict
from clmethods.config.backbone import BackboneConfig
from clmethods.data.datasets import open_images
from clmethods.data.source import DatasetError
from clmethods.user_data.folder_listing import content_of
from tests.clmethods.data.files import noise, write_idx

TINY = BackboneConfig(name="tiny_vit8", weights="random", image_size=8)
SUFFIXES = (".bmp", ".ppm", ".tif")
SPLITS = ("train", "train", "train", "test")


def write_images(root: Path, suffix: str = ".bmp", classes: int = 2) -> None:
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True, exist_ok=True)
        for index in range(4):
            image = Image.fromarray(noise(9, 9, 3, seed=10 * label + index))
            image.save(root / f"class{label}" / f"{index}{suffix}")


def replace_image(root: Path, suffix: str = ".bmp") -> None:
    """Replace one image, and keep name, size and modification time."""
    path = root / "class0" / f"0{suffix}"
    before = path.stat()
    Image.fromarray(noise(9, 9, 3, seed=99)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def folder(root: Path, **fields: Any) -> StreamConfig:
    return StreamConfig(dataset="image-folder", root=str(root), resize="stretch", **fields)


def manifest(root: Path) -> StreamConfig:
    with (root / "my.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for path in sorted(root.rglob("*.bmp")):
            relative = path.relative_to(root).as_posix()
            rows.writerow([relative, path.parent.name, SPLITS[int(path.stem)]])
    return StreamConfig(dataset="manifest", manifest=str(root / "my.csv"), resize="stretch")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_replaced_images_of_a_folder_are_refused(suffix: str, tmp_path: Path) -> None:
    write_images(tmp_path / "x", suffix)
    run = resolve(RunConfig(stream=folder(tmp_path / "x"), backbone=TINY))
    open_images(run.stream, 8)
    replace_image(tmp_path / "x", suffix)
    with pytest.raises(DatasetError, match="under the same names and sizes: its fingerprint is"):
        open_images(run.stream, 8)


def test_replaced_images_of_a_manifest_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    run = resolve(RunConfig(stream=manifest(tmp_path / "x"), backbone=TINY))
    open_images(run.stream, 8)
    replace_image(tmp_path / "x")
    with pytest.raises(DatasetError, match="under the same names and sizes"):
        open_images(run.stream, 8)


def test_replaced_images_of_idx_files_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "x", packed=False)
    run = resolve(RunConfig(stream=StreamConfig(dataset="idx", root=str(tmp_path / "x"))))
    open_images(run.stream, 8)
    path = tmp_path / "x" / "train-images-idx3-ubyte"
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="under the same names and sizes"):
        open_images(run.stream, 8)


def test_replaced_images_are_decoded_again_although_size_and_time_are_equal(
    tmp_path: Path,
) -> None:
    write_images(tmp_path / "x")
    before = np.array(open_images(folder(tmp_path / "x"), 9).images)
    replace_image(tmp_path / "x")
    after = open_images(folder(tmp_path / "x"), 9).images
    assert [i for i in range(8) if (before[i] != after[i]).any()] == [0]
    assert (after[0] == noise(9, 9, 3, seed=99)).all()


def test_the_content_is_another_version_if_the_fingerprint_covers_it(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    sizes, content = folder(tmp_path / "x"), folder(tmp_path / "x", fingerprint="content")
    before = sizes.facts.version, content.facts.version
    replace_image(tmp_path / "x")
    os.utime(tmp_path / "x" / "class0")  # the folder is listed again, as in another process
    assert sizes.facts.version == before[0]
    assert content.facts.version not in before
    assert len(open_images(resolve(RunConfig(stream=content)).stream, 8).labels) == 8


def test_fields_that_earlier_runs_lack_do_not_change_their_ids(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    run = resolve(RunConfig(stream=folder(tmp_path / "x"), backbone=TINY))
    stored = run_to_dict(run)
    del stored["stream"]["fingerprint"]
    del stored["stream"]["record"]["content"]
    del stored["stream"]["record"]["class_names"]
    earlier = run_from_dict(stored)
    assert (earlier.trial_id, earlier.config_id) == (run.trial_id, run.config_id)
    assert "content" not in json.dumps(run.stream.identity())
    assert len(open_images(earlier.stream, 8).labels) == 8


def trained(tmp_path: Path, **stream: Any) -> Result:
    document = {
        "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
        "method": {"kind": "nearest_class_mean"},
        "stream": {"dataset": "image-folder", "root": str(tmp_path / "x"), **stream},
        "train": {"epochs": 1, "batch_size": 4},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    command = ["train", str(tmp_path / "run.yaml"), "-o", str(tmp_path / "model")]
    return CliRunner().invoke(main, command)


def test_a_model_is_not_continued_or_evaluated_on_replaced_images(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    assert trained(tmp_path, validation_fraction=0.0).exit_code == 0
    replace_image(tmp_path / "x")
    os.utime(tmp_path / "x" / "class0")
    again = trained(tmp_path, validation_fraction=0.0)
    assert again.exit_code == 2
    assert "stream.record.content" in again.output
    evaluated = CliRunner().invoke(main, ["evaluate", str(tmp_path / "model")])
    assert evaluated.exit_code == 2
    assert "under the same names and sizes" in evaluated.output


def test_evaluation_reads_every_file_and_trusts_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that changes bits does not change the times of a file."""
    write_images(tmp_path / "x")
    assert trained(tmp_path, validation_fraction=0.0).exit_code == 0
    calls: list[bool] = []

    def recorded(listing: Any, *, read_all: bool = False) -> str:
        calls.append(read_all)
        return content_of(listing, read_all=read_all)

    monkeypatch.setattr("clmethods.data.datasets.content_of", recorded)
    assert CliRunner().invoke(main, ["evaluate", str(tmp_path / "model")]).exit_code == 0
    assert calls[0]


def test_a_directory_of_an_earlier_version_is_continued(tmp_path: Path) -> None:
    write_images(tmp_path / "x")
    assert trained(tmp_path, validation_fraction=0.0).exit_code == 0
    file = tmp_path / "model" / RUN_FILE
    document = verify_checksum(file.read_bytes())
    assert document is not None
    del document["run"]["stream"]["fingerprint"]
    del document["run"]["stream"]["record"]["content"]
    del document["run"]["stream"]["record"]["class_names"]
    file.write_bytes(add_checksum(document, readable=True))
    again = trained(tmp_path, validation_fraction=0.0)
    assert again.exit_code == 0, again.output
    assert "already trained" in again.output
    assert CliRunner().invoke(main, ["evaluate", str(tmp_path / "model")]).exit_code == 0
