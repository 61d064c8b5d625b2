"""User data: listed from names and headers; all invalid rows are reported together, by row."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from clmethods.config import InvalidConfigError, RunConfig, StreamConfig, resolve, stage_chain
from clmethods.config.backbone import BackboneConfig
from clmethods.config.from_dict import run_from_dict
from clmethods.config.run import run_to_dict
from tests.clmethods.data.files import noise, write_png
from tests.clmethods.user_data.folders import picture

TINY = BackboneConfig(name="tiny_vit8", weights="random", image_size=8)

SOUND = """path,label,task,split,group
a0.png,cat,indoors,train,
a1.png,cat,indoors,test,
b0.png,dog,indoors,train,
b1.png,dog,indoors,test,
c0.png,owl,outdoors,train,
c1.png,owl,outdoors,test,
"""


def written(folder: Path, text: str, *, files: bool = True) -> StreamConfig:
    """A manifest with an image of its own in each row."""
    path = folder / "my.csv"
    path.write_text(text)
    for line in text.splitlines()[1:]:
        name = line.split(",")[0]
        if files and name:
            (folder / name).write_bytes(picture(name))
    return StreamConfig(dataset="manifest", manifest=str(path))


def issues(folder: Path, text: str, *, files: bool = True) -> list[str]:
    with pytest.raises(InvalidConfigError) as found:
        written(folder, text, files=files)
    return [str(issue) for issue in found.value.issues]


def test_tasks_have_names_and_classes_are_sorted(tmp_path: Path) -> None:
    stream = written(tmp_path, SOUND)
    assert [(g.name, g.classes, g.domain) for g in stream.groups()] == [
        ("indoors", (0, 1), ""),
        ("outdoors", (2,), ""),
    ]
    assert stream.tasks == 2
    assert not stream.facts.seeded_split


def test_usual_spellings_of_splits_are_read(tmp_path: Path) -> None:
    sides = ("Train", "training", "VAL", "valid", "dev", "Test", "eval", "validation")
    rows = "".join(f"{i}{c}.png,{c},{side}\n" for c in "ab" for i, side in enumerate(sides))
    listing = written(tmp_path, "path,label,split\n" + rows).listing()
    assert listing is not None
    assert listing.splits[:8] == (0, 0, 1, 1, 1, 2, 2, 1)


def test_a_class_may_come_back_and_is_then_distinguished_by_its_task(tmp_path: Path) -> None:
    stream = written(tmp_path, SOUND.replace("owl", "cat"))
    assert stream.facts.recurring
    assert [(g.name, g.classes, g.domain) for g in stream.groups()] == [
        ("indoors", (0, 1), "indoors"),
        ("outdoors", (0,), "outdoors"),
    ]


def test_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    rows = "".join(f"{n}{s}.png,{n},{s}\n" for n in (10, 9, 100) for s in ("train", "test"))
    listing = written(tmp_path, "path,label,split\n" + rows).listing()
    assert listing is not None
    assert listing.classes == ("9", "10", "100")


def test_without_tasks_it_is_cut_like_any_dataset(tmp_path: Path) -> None:
    rows = "".join(f"{n}{i}.png,{n}\n" for n in range(4) for i in range(3))
    stream = written(tmp_path, "path,label\n" + rows)
    assert stream.tasks == 2
    assert stream.facts.seeded_split
    assert replace(stream, tasks=None, classes_per_task=3).tasks == 2


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    stream = written(tmp_path, SOUND)
    table = pyarrow.csv.read_csv(tmp_path / "my.csv")
    pq.write_table(table, tmp_path / "my.parquet")
    other = StreamConfig(dataset="manifest", manifest=str(tmp_path / "my.parquet"))
    assert other.groups() == stream.groups()
    left, right = stream.listing(), other.listing()
    assert left is not None
    assert right is not None
    assert (left.paths, left.labels, left.splits) == (right.paths, right.labels, right.splits)


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InvalidConfigError, match=r"my\.parquet is not a readable Parquet file"):
        StreamConfig(dataset="manifest", manifest=str(tmp_path / "my.parquet"))


def test_importing_configurations_loads_no_pyarrow() -> None:
    script = (
        "import sys, clmethods.config, clmethods.data.datasets; print('pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_all_issues_of_all_rows_are_reported_at_once(tmp_path: Path) -> None:
    text = SOUND + "a0.png,cat,indoors,test,\nd.png,,indoors,trian,\n"
    (tmp_path / "gone").mkdir()
    found = issues(tmp_path, text)
    assert len(found) == 3
    assert found[0].startswith("manifest row 8, path: got 'a0.png'")
    assert "Row 2 has the same image in train." in found[0]
    assert found[1].startswith("manifest row 9, label: got ''")
    assert found[2].startswith("manifest row 9, split: got 'trian'")
    assert "Did you mean 'train'?" in found[2]


def test_missing_files_are_named_with_their_row(tmp_path: Path) -> None:
    found = issues(tmp_path, SOUND, files=False)
    assert len(found) == 6
    assert found[2].startswith("manifest row 4, path: got 'b0.png', allowed: an existing file")
    assert str(tmp_path) in found[2]


def test_missing_columns_are_named_with_what_may_be_meant(tmp_path: Path) -> None:
    found = issues(tmp_path, "paths,labels\na.png,cat\n")
    assert len(found) == 2
    assert "Column 'path' is missing. Did you mean 'paths'?" in found[0]
    assert "Column 'label' is missing. Did you mean 'labels'?" in found[1]


def test_a_class_without_training_images_is_named(tmp_path: Path) -> None:
    (found,) = issues(
        tmp_path, SOUND.replace("c0.png,owl,outdoors,train", "c0.png,owl,outdoors,test")
    )
    assert "training images for every class. Class 'owl' has none." in found


def test_a_class_that_recurs_needs_images_in_every_task(tmp_path: Path) -> None:
    text = SOUND.replace("c0.png,owl,outdoors,train", "c0.png,cat,outdoors,test")
    (found,) = issues(tmp_path, text.replace("owl", "cat"))
    assert "Class 'cat of task outdoors' has none." in found


def test_many_faults_are_counted_and_not_all_listed(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,cat,nowhere\n" for i in range(30))
    found = issues(tmp_path, "path,label,split\n" + rows)
    assert len(found) == 21
    assert found[-1].endswith("The file has 10 more issues.")


def test_the_same_image_twice_cannot_be_split_by_chance(tmp_path: Path) -> None:
    (found,) = issues(tmp_path, "path,label\na.png,cat\na.png,cat\nb.png,cat\n")
    assert found.startswith("manifest row 3, path")


def test_keys_follow_the_content_and_not_the_place(tmp_path: Path) -> None:
    def keys(folder: str, text: str = SOUND) -> list[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        run = resolve(RunConfig(stream=written(tmp_path / folder, text), backbone=TINY))
        return [stage.key for stage in stage_chain(run)]

    assert keys("one") == keys("two")
    assert not set(keys("one")) & set(keys("three", SOUND.replace("owl", "auk")))
    (tmp_path / "two" / "b0.png").write_bytes(picture("another picture"))
    (tmp_path / "two" / "my.csv").touch()
    manifest = str(tmp_path / "two" / "my.csv")
    changed = RunConfig(backbone=TINY, stream=StreamConfig(dataset="manifest", manifest=manifest))
    assert not set(keys("one")) & {stage.key for stage in stage_chain(resolve(changed))}


def test_a_resolved_run_can_be_read_where_the_data_is_not(tmp_path: Path) -> None:
    """Its tasks and its keys are those of the day on which it was planned."""
    run = resolve(RunConfig(stream=written(tmp_path, SOUND), backbone=TINY))
    before = [stage.key for stage in stage_chain(run)]
    for path in tmp_path.iterdir():
        path.unlink()
    again = run_from_dict(run_to_dict(run))
    assert [stage.key for stage in stage_chain(resolve(again))] == before
    assert [group.name for group in again.stream.groups()] == ["indoors", "outdoors"]
    assert again.trial_id == run.trial_id


def folder_of(root: Path, sides: tuple[str, ...] = ("",)) -> StreamConfig:
    for number, side in enumerate(sides):
        for name in ("ant", "bee", "cow"):
            for index in range(3):
                path = root / side / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_png(path, noise(4, 4, 3, seed=10 * number + index))
    return StreamConfig(dataset="image-folder", root=str(root))


def test_a_folder_is_listed_by_the_names_of_its_folders(tmp_path: Path) -> None:
    stream = folder_of(tmp_path)
    listing = stream.listing()
    assert listing is not None
    assert listing.classes == ("ant", "bee", "cow")
    assert listing.paths[:2] == ("ant/0.png", "ant/1.png")
    assert stream.facts.seeded_split
    given = folder_of(tmp_path / "given", ("train", "val"))
    assert not given.facts.seeded_split
    assert given.facts.classes == 3


def test_a_folder_that_changed_is_listed_again(tmp_path: Path) -> None:
    stream = folder_of(tmp_path)
    before = stream.facts.version
    assert stream.listing() is stream.listing()
    write_png(tmp_path / "bee" / "9.png", noise(4, 4, 3))
    assert stream.facts.version != before


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: None, "an existing folder with one folder of images per class"),
        (lambda root: (root / "a").mkdir(parents=True), "Images end in .apng,"),
    ],
)
def test_what_is_no_folder_of_classes_is_refused(
    break_it: object, message: str, tmp_path: Path
) -> None:
    break_it(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises(InvalidConfigError, match="root: got") as found:
        StreamConfig(dataset="image-folder", root=str(tmp_path / "x"))
    assert message in str(found.value)


def test_a_folder_with_one_image_of_a_class_cannot_be_split(tmp_path: Path) -> None:
    folder_of(tmp_path)
    write_png(tmp_path / "dog" / "0.png", noise(4, 4, 3))
    with pytest.raises(InvalidConfigError, match="Class 'dog' has none"):
        StreamConfig(dataset="image-folder", root=str(tmp_path))
