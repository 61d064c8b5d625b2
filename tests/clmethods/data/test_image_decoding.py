"""Pixels are decoded once, kept as uint8, and shared; what cannot be decoded is named."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clmethods.config import InvalidConfigError, StreamConfig
from clmethods.data import image_decoding as decode
from clmethods.data.datasets import _open_listing, open_images
from clmethods.data.image_decoding import center_crop, fit, fitted, stored_side
from clmethods.data.source import DatasetError
from clmethods.data.streams import TaskStream
from tests.clmethods.data.files import noise, write_folder, write_idx, write_png


def folder(root: Path, **fields: object) -> StreamConfig:
    return StreamConfig(dataset="image-folder", root=str(root), **fields)  # type: ignore[arg-type]


def test_images_are_decoded_once_and_mapped_from_disk(tmp_path: Path, cache: Path) -> None:
    write_folder(tmp_path / "x", 2, 3)
    first = open_images(folder(tmp_path / "x"), 8)
    assert isinstance(first.images, np.memmap)
    assert first.images.dtype == np.uint8
    assert not first.images.flags.writeable
    (kept,) = cache.glob("*.npy")
    before = kept.stat().st_mtime_ns
    _open_listing.cache_clear()  # as in another process
    again = open_images(folder(tmp_path / "x"), 8)
    assert (again.images == first.images).all()
    assert [path.stat().st_mtime_ns for path in cache.glob("*.npy")] == [before]
    assert not list(cache.glob("*.tmp"))


def test_a_full_disk_is_reported_before_images_are_decoded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to a map on a full disk would end the process with SIGBUS, without a message."""
    requested: list[int] = []

    def full(_: int, offset: int, size: int) -> None:
        requested.append(offset + size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    write_folder(tmp_path / "x", 2, 3)
    with pytest.raises(DatasetError, match="No space left on device"):
        open_images(folder(tmp_path / "x"), 8)
    assert requested[0] >= 6 * 8 * 8 * 3
    assert not [*cache.glob("*.tmp"), *cache.glob("*.npy")]


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path, cache: Path) -> None:
    """Those that are not old may belong to a process of another host."""
    write_folder(tmp_path / "x", 2, 3)
    open_images(folder(tmp_path / "x"), 8)
    (decoded,) = cache.glob("*.npy")
    old, new, other = (
        cache / f"{stem}.tmp" for stem in (f"{decoded.stem}a", f"{decoded.stem}b", "other")
    )
    for file in (old, new, other):
        file.touch()
    for file in (old, other):
        os.utime(file, (0, 0))
    decoded.unlink()
    _open_listing.cache_clear()
    open_images(folder(tmp_path / "x"), 8)
    assert decoded.exists()
    assert {file for file in (old, new, other) if file.exists()} == {new, other}


def test_a_file_that_changed_is_decoded_again(tmp_path: Path, cache: Path) -> None:
    """Even where size and name are the same, and so the fingerprint of the data too."""
    write_folder(tmp_path / "x", 2, 3)
    first = np.array(open_images(folder(tmp_path / "x"), 8).images)
    write_png(tmp_path / "x" / "class00" / "00.png", noise(12, 10, 3, seed=99))
    (tmp_path / "x" / "class00" / "new.png").write_bytes(b"")
    (tmp_path / "x" / "class00" / "new.png").unlink()  # the folder's time moves too
    again = np.array(open_images(folder(tmp_path / "x"), 8).images)
    assert len(list(cache.glob("*.npy"))) == 2
    assert [i for i in range(6) if (first[i] != again[i]).any()] == [0]


READER = """
import hashlib, sys
from clmethods.config import InvalidConfigError, StreamConfig
from clmethods.data.datasets import open_images
images = open_images(StreamConfig(dataset="image-folder", root=sys.argv[1]), 8).images
print(hashlib.sha256(images.tobytes()).hexdigest())
"""


def test_workers_that_start_together_share_one_file(tmp_path: Path, cache: Path) -> None:
    write_folder(tmp_path / "x", 2, 20)
    command = [sys.executable, "-c", READER, str(tmp_path / "x")]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    found = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert len(set(found)) == 1
    assert len(list(cache.glob("*.npy"))) == 1


def test_unreadable_images_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    """Their headers are intact, so that only decoding shows that they are incomplete."""
    write_folder(tmp_path / "x", 2, 4)
    bad = tmp_path / "x" / "class01" / "02.png"
    for path in (bad, tmp_path / "x" / "class00" / "01.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError) as found:
        TaskStream(folder(tmp_path / "x", tasks=2), 8)
    message = str(found.value)
    assert message.startswith("2 of 8 images cannot be read; replace or remove them:")
    assert str(bad) in message
    assert "class00/01.png" in message


def test_sixteen_bits_are_refused_and_not_cut_to_eight(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 2, 2)
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    deep.save(tmp_path / "x" / "class00" / "00.png")
    with pytest.raises(InvalidConfigError, match="mode I;16: more than eight bits per channel"):
        folder(tmp_path / "x")


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    write_png(tmp_path / "x" / "a" / "0.png", noise(8, 8))
    write_png(tmp_path / "x" / "a" / "1.png", noise(8, 8, 4))
    images = open_images(folder(tmp_path / "x", resize="stretch"), 8).images
    assert (images[0] == noise(8, 8)[..., None]).all()
    assert (images[1] == noise(8, 8, 4)[..., :3]).all()


@pytest.mark.parametrize(("size", "side"), [(224, 256), (16, 18), (8, 9), (32, 37), (14, 16)])
def test_a_crop_keeps_a_margin_and_shows_the_centre(size: int, side: int) -> None:
    """256 and 224, as in the papers, and the same share at every size."""
    assert stored_side(size, "crop") == side
    stored = noise(2, side, side, 3)
    assert center_crop(stored, "crop").shape == (2, size, size, 3)
    start = (side - size) // 2
    assert (center_crop(stored, "crop")[:, 0, 0] == stored[:, start, start]).all()
    assert center_crop(stored, "stretch") is stored


def test_the_shorter_side_decides_and_the_centre_stays() -> None:
    """A wide picture that is black on both sides: nothing black is left, nothing is squeezed."""
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = noise(8, 8, 3)
    assert (fit(Image.fromarray(picture), 8, "crop") == noise(8, 8, 3)).all()
    stretched = fit(Image.fromarray(picture), 8, "stretch")
    assert (fitted(picture[None], 8, "stretch")[0] == stretched).all()


def test_small_originals_are_kept_as_they_are(tmp_path: Path) -> None:
    write_idx(tmp_path)
    stream = StreamConfig(
        dataset="idx", root=str(tmp_path), resize="crop", validation_fraction=0.3
    )
    assert open_images(stream, 224).images.shape[1:] == (28, 28)
    shown = TaskStream(stream, 224).data_of(stream.groups()[0], "test").images
    assert shown.shape[1:] == (24, 24)  # the middle 7/8 of it, which is then enlarged to 224


def test_a_cache_without_space_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "x", 1, 2)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(DatasetError, match="Set CLMETHODS_CACHE to a folder with enough space"):
        open_images(folder(tmp_path / "x"), 8)


def test_a_decoder_that_fails_leaves_nothing_behind(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "x", 1, 2)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decode, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            open_images(folder(tmp_path / "x"), 8)
    assert not list(cache.glob("*.npy"))
    assert not list(cache.glob("*.tmp"))
    assert len(open_images(folder(tmp_path / "x"), 8).images) == 2
