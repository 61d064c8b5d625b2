"""Manifests as programs write them: read with the right classes, or refused by row."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clmethods.config import InvalidConfigError, StreamConfig
from clmethods.user_data.folder_listing import Listing
from clmethods.user_data.manifest import list_manifest
from clmethods.user_data.repeated_images import ListedImage, repetitions
from tests.clmethods.user_data.folders import picture

ROWS = [
    ("a0.png", "cat", "train"),
    ("a1.png", "cat", "test"),
    ("b0.png", "dog", "train"),
    ("b1.png", "dog", "test"),
]
TEXT = "path,label,split\n" + "".join(",".join(row) + "\n" for row in ROWS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, _, _ in ROWS:
        (tmp_path / path).write_bytes(picture(path))
    return tmp_path


def read(folder: Path, content: str | bytes | dict[str, Any]) -> Listing:
    """The listing of a manifest: text, bytes, or columns of a Parquet file."""
    path = folder / ("my.parquet" if isinstance(content, dict) else "my.csv")
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    stream = StreamConfig(dataset="manifest", manifest=str(path))
    listing = stream.listing()
    assert listing is not None
    return listing


def issues(folder: Path, content: str | bytes | dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidConfigError) as found:
        read(folder, content)
    return [str(issue) for issue in found.value.issues]


WRITTEN: dict[str, str | bytes] = {
    "semicolons": TEXT.replace(",", ";"),
    "tabs": TEXT.replace(",", "\t"),
    "bars": TEXT.replace(",", "|"),
    "a declared separator": "sep=;\r\n" + TEXT.replace(",", ";"),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16 with tabs": TEXT.replace(",", "\t").encode("utf-16"),
    "UTF-16, big-endian": "\ufeff".encode("utf-16-be") + TEXT.encode("utf-16-be"),
    "line ends of Windows": TEXT.replace("\n", "\r\n"),
    "quotes": TEXT.replace("cat", '"cat"').replace("path,", '"path",'),
    "spaces": TEXT.replace(",", " , "),
    "quotes after a space": TEXT.replace(",cat", ', "cat"').replace(",dog", ',  "dog"'),
    "a quoted header after a space": TEXT.replace(",label", ', "label"'),
    "a declared separator in capitals": "SEP=;\r\n" + TEXT.replace(",", ";"),
    "a blank line first": "\n" + TEXT,
    "blank lines and semicolons": "\r\n ;;\r\n" + TEXT.replace(",", ";"),
    "empty rows": TEXT.replace("\nb0", "\n\n,,\nb0") + "\n,,\n",
    "empty columns": TEXT.replace("\n", ",,\n"),
    "unused columns": TEXT.replace("split\n", "split,note\n").replace("train\n", "train,x\n"),
    "other column order": "split,label,path\n" + "".join(f"{s},{c},{p}\n" for p, c, s in ROWS),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_of_a_spreadsheet_is_read(folder: Path, name: str) -> None:
    listing = read(folder, WRITTEN[name])
    assert listing.classes == ("cat", "dog")
    assert listing.labels == (0, 0, 1, 1)
    assert listing.splits == (0, 2, 0, 2)
    assert listing.paths == tuple(path for path, _, _ in ROWS)


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "cp1252": (
        TEXT.replace("cat", "caf\xe9").encode("cp1252"),
        "a readable file in UTF-8. Row 2 has the byte 0xe9. In a spreadsheet program, save it as "
        "`CSV UTF-8`.",
    ),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "It has NULs."),
    "a spreadsheet": (b"PK\x03\x04 and more", "export the sheet as `CSV UTF-8`"),
    "an old spreadsheet": (b"\xd0\xcf\x11\xe0 and more", "export the sheet as `CSV UTF-8`"),
    "gzip": (b"\x1f\x8b\x08 and more", "decompress it"),
    "a column twice": (
        TEXT.replace("path,label,split", "path,label,label"),
        "each column once. The header has the column 'label' 2 times.",
    ),
    "an unused column twice": (
        TEXT.replace("split\n", "split,x,x\n"),
        "The header has the column 'x' 2 times.",
    ),
    "more fields": (
        TEXT.replace("b0.png,dog", "b0.png,dog,brown"),
        "manifest row 4: got 'b0.png,dog,brown,train', allowed: at most 3 fields",
    ),
    "an unknown separator": (
        TEXT.replace(",", "^"),
        "The header is 'path^label^split'. Separators are: comma, semicolon, tab, vertical bar.",
    ),
    "an open quote": (TEXT.replace("b0.png", '"b0.png'), "unexpected end of data"),
    "empty": ("", "allowed: the columns ['path', 'label']"),
    "a header alone": ("path,label\n", "one or more rows below the header"),
    "a header of capitals": ("Path,label\na0.png,cat\n", "Did you mean 'Path'?"),
    "paths of Windows": (TEXT.replace("b0.png", "x\\b0.png"), "Separate folders with / instead"),
    "a path that is a folder": (TEXT.replace("b0.png", "."), "row 4, path: got '.', allowed: an"),
    "no path": (TEXT.replace("b0.png", ""), "row 4, path: got '', allowed: an existing file"),
    "no split": (TEXT.replace("dog,train", "dog,"), "row 4, split: got ''"),
    "a row that is too short": (TEXT.replace("dog,train", "dog"), "row 4, split: got ''"),
    "a terminal escape": (TEXT.replace("b0.png", "b\x1b[31m.png"), "row 4, path: got 'b\\x1b[31m"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_with_two_readings_is_refused(folder: Path, name: str) -> None:
    content, message = REFUSED[name]
    (found,) = issues(folder, content)
    assert message in found
    assert found.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        *("nan", "NaN", "NAN", "NA", "N/A", "#N/A", "#REF!", "NULL", "null", "None", "<NA>", ""),
        *("#N/A N/A", "-NaN", "-nan", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
    ],
)
@pytest.mark.parametrize("column", ["label", "task"])
def test_a_missing_name_is_refused_with_its_row(folder: Path, column: str, text: str) -> None:
    header = "path,split,label,task\n"
    lines = [[path, split, label, "one"] for path, label, split in ROWS]
    lines[2][2 if column == "label" else 3] = text
    (found,) = issues(folder, header + "".join(",".join(line) + "\n" for line in lines))
    assert found.startswith(f"manifest row 4, {column}: got {text!r}, allowed: the name of a")


def test_none_in_lower_case_is_a_class(folder: Path) -> None:
    assert read(folder, TEXT.replace("cat", "none")).classes == ("dog", "none")


def test_rows_below_a_blank_line_have_the_numbers_of_a_spreadsheet(folder: Path) -> None:
    (found,) = issues(folder, "\n\n" + TEXT.replace("b0.png", "gone.png"))
    assert found.startswith("manifest row 6, path: got 'gone.png'")


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("cat\u200b", "U+200B ZERO WIDTH SPACE"),
        ("\ufeffcat", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("big\u00a0cat", "U+00A0 NO-BREAK SPACE"),
        ("big\u3000cat", "U+3000 IDEOGRAPHIC SPACE"),
        ("ca\u00adt", "U+00AD SOFT HYPHEN"),
        ("ca\u200dt", "U+200D ZERO WIDTH JOINER"),
        ("caf\xe9\u200d", "U+200D ZERO WIDTH JOINER"),
        ("cat\u3164", "U+3164 HANGUL FILLER"),
        ('"ca\nt"', "U+000A control character"),
    ],
)
@pytest.mark.parametrize("column", ["label", "task", "group"])
def test_a_name_with_invisible_characters_is_refused(
    folder: Path, column: str, name: str, character: str
) -> None:
    header = "path,split,label,task,group\n"
    lines = [[path, split, label, "one", ""] for path, label, split in ROWS]
    lines[2][["label", "task", "group"].index(column) + 2] = name
    found = issues(folder, header + "".join(",".join(line) + "\n" for line in lines))
    assert found[0].startswith(f"manifest row 4, {column}: got ")
    assert f"It contains {character}: remove it, or replace it by a space." in found[0]
    assert found[0].isprintable()


def test_visible_names_of_all_scripts_are_read(folder: Path) -> None:
    persian, family = "\u0645\u06cc\u200c\u062e", "\U0001f468\u200d\U0001f467"
    listing = read(folder, TEXT.replace("cat", f"\u00a0{persian}\u00a0").replace("dog", family))
    assert listing.classes == (persian, family)


def test_a_missing_group_is_an_empty_cell(folder: Path) -> None:
    text = "path,label,group\n" + "".join(f"{path},{label},{{}}\n" for path, label, _ in ROWS)
    (found,) = issues(folder, text.format("g", "h", "nan", ""))
    assert found.startswith("manifest row 4, group: got 'nan'")
    assert "Leave it empty for an image without a group." in found
    assert read(folder, text.format("g", "h", "", "")).groups == ("g", "h", "", "")


def columns(**changed: Any) -> dict[str, Any]:
    paths, labels, splits = zip(*ROWS, strict=True)
    return {"path": paths, "label": labels, "split": splits} | changed


NAN = float("nan")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["cat", "cat", "dog", "dog"], ("cat", "dog")),
        ([b"cat", b"cat", b"dog", b"dog"], ("cat", "dog")),
        ([10, 10, 9, 9], ("9", "10")),
        ([10.0, 10.0, 9.0, 9.0], ("9", "10")),
        ([True, True, False, False], ("False", "True")),
        ([0.5, 0.5, 1.0, 1.0], ("0.5", "1.0")),
        (pa.array(["x", "x", "y", "y"]).dictionary_encode(), ("x", "y")),
        (["caf\xe9", "cafe\u0301", "b", "b"], ("b", "caf\xe9")),
    ],
)
def test_labels_of_any_type_become_names(
    folder: Path, labels: Any, classes: tuple[str, ...]
) -> None:
    assert read(folder, columns(label=labels)).classes == classes


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": [1.0, NAN, 2.0, 2.0]}, "manifest row 3, label: got ''"),
        ({"label": ["cat", None, "dog", "dog"]}, "manifest row 3, label: got ''"),
        ({"label": [b"cat", b"\xff", b"dog", b"dog"]}, "manifest row 3, label: got b'\\xff'"),
        ({"label": [["cat"], ["cat"], ["d"], ["d"]]}, "manifest row 2, label: got ['cat']"),
        ({"task": ["x", "x", None, "x"]}, "manifest row 4, task: got ''"),
        ({"task": [1.0, 1.0, NAN, 1.0]}, "manifest row 4, task: got ''"),
    ],
)
def test_a_value_of_parquet_without_a_name_is_refused(
    folder: Path, changed: dict[str, Any], message: str
) -> None:
    assert message in issues(folder, columns(**changed))[0]


def test_a_nan_group_of_parquet_is_no_group(folder: Path) -> None:
    table = columns(group=[1.0, 2.0, NAN, NAN])
    del table["split"]
    assert read(folder, table).groups == ("1", "2", "", "")


def test_numbers_written_with_a_fraction_are_one_class_with_those_without(folder: Path) -> None:
    text = TEXT.replace("cat,train", "10.0,train").replace("cat", "10").replace("dog", "9.0")
    listing = read(folder, text)
    assert listing.classes == ("9", "10")
    assert listing.labels == (1, 1, 0, 0)
    assert read(folder, TEXT.replace("cat", "1.5").replace("dog", "10")).classes == ("1.5", "10")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("-1", "-1.0", "1", "1.0"), ("-1", "1")),
        (("-0.0", "0", "1", "1.0"), ("0", "1")),
        (("-1", "-1", "1.5", "1.5"), ("-1", "1.5")),
    ],
)
def test_negative_whole_numbers_are_whole_numbers(
    folder: Path, labels: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    rows = zip(ROWS, labels, strict=True)
    text = "".join(f"{path},{label},{split}\n" for (path, _, split), label in rows)
    listing = read(folder, "path,label,split\n" + text)
    assert listing.classes == classes
    assert listing.labels == (0, 0, 1, 1)


def test_only_data_that_was_read_otherwise_gets_another_version(folder: Path) -> None:
    """The fingerprint of a manifest that earlier versions read alike stays."""
    import hashlib

    from clmethods.user_data.folder_listing import fingerprint_of

    sizes = [(path, (folder / path).stat().st_size) for path, _, _ in ROWS]
    otherwise = TEXT.replace("cat", "1.0").replace("dog", "2")
    for text, kept in (
        (TEXT, True),
        (otherwise, False),
        (TEXT.replace(",cat", ', "cat"'), False),
    ):
        before = fingerprint_of(sizes, hashlib.sha256(text.encode()).digest())
        assert (read(folder, text).version == before) is kept
        (folder / "my.csv").unlink()


def test_a_parquet_file_is_recognized_by_its_content(folder: Path) -> None:
    pq.write_table(pa.table(columns()), folder / "my.csv")
    assert list_manifest(str(folder / "my.csv"), None).classes == ("cat", "dog")
    names = pa.table(
        [*columns().values(), columns()["label"]], ["path", "label", "split", "label"]
    )
    pq.write_table(names, folder / "twice.parquet")
    with pytest.raises(InvalidConfigError, match="has the column 'label' twice"):
        list_manifest(str(folder / "twice.parquet"), None)


SPELLINGS = ["a0.png", "./a0.png", "x/../a0.png", "{folder}/a0.png", "soft.png", "hard.png"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_training_image_is_no_test_image_under_another_name(folder: Path, spelling: str) -> None:
    (folder / "x").mkdir()
    (folder / "soft.png").symlink_to("a0.png")
    os.link(folder / "a0.png", folder / "hard.png")
    spelling = spelling.format(folder=folder)
    (found,) = issues(folder, TEXT.replace("a1.png", spelling))
    assert found.startswith("manifest row 3, path: got ")
    assert "allowed: an image in one split only. Row 2 has the same image" in found
    assert found.endswith("in train.")
    assert ("as 'a0.png'" in found) is (spelling != "a0.png")


def test_a_copy_of_a_training_image_is_no_test_image(folder: Path) -> None:
    (folder / "b1.png").write_bytes((folder / "a0.png").read_bytes())
    (found,) = issues(folder, TEXT)
    assert found.startswith("manifest row 5, path: got 'b1.png'")
    assert found.endswith("Row 2 has an image with the same content as 'a0.png' in train.")


def test_images_that_differ_in_the_middle_are_different(folder: Path) -> None:
    data = bytearray((folder / "a0.png").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "b1.png").write_bytes(data)
    assert len(read(folder, TEXT).paths) == 4


def test_copies_in_one_split_are_allowed(folder: Path) -> None:
    (folder / "b0.png").write_bytes((folder / "a0.png").read_bytes())
    assert len(read(folder, TEXT).paths) == 4


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_file_has_one_label_in_a_task_and_split(folder: Path, spelling: str) -> None:
    (folder / "x").mkdir()
    (folder / "soft.png").symlink_to("a0.png")
    os.link(folder / "a0.png", folder / "hard.png")
    spelling = spelling.format(folder=folder)
    (found,) = issues(folder, TEXT + f"{spelling},dog,train\n")
    assert found.startswith("manifest row 6, label: got 'dog', allowed: one label for each image.")
    assert "Row 2 has the same image" in found
    assert "with the label 'cat': remove one of the rows." in found
    assert ("as 'a0.png'" in found) is (spelling != "a0.png")
    assert len(read(folder, TEXT + f"{spelling},cat,train\n").paths) == 5


def test_one_file_has_one_label_in_a_group(folder: Path) -> None:
    text = "path,label,group\n" + "".join(f"{path},{label},\n" for path, label, _ in ROWS)
    text = text.replace("a0.png,cat,", "a0.png,cat,g") + "a0.png,dog,g\n"
    (found,) = issues(folder, text)
    assert found.startswith("manifest row 6, label: got 'dog'")
    assert "Row 2 has the same image with the label 'cat'" in found


def test_one_file_may_have_another_label_in_another_task(folder: Path) -> None:
    lines = [f"{path},{label},{split},one" for path, label, split in ROWS]
    lines += ["a0.png,light,train,two", "a1.png,light,test,two"]
    listing = read(folder, "path,label,split,task\n" + "\n".join(lines))
    assert listing.classes == ("cat", "dog", "light")


def sixteen_bits() -> bytes:
    buffer = io.BytesIO()
    Image.new("I;16", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def test_all_images_that_cannot_be_read_are_named(folder: Path) -> None:
    files = {
        "a.jpg": (b"<!DOCTYPE html><html>not found</html>", "not an image of a known format"),
        "b.png": (sixteen_bits(), "Mode I;16: more than eight bits per channel"),
        "c.heic": (b"\0\0\0\x18ftypheic", ".heic files are not read"),
        "d.png": (b"", "The file is empty"),
        "e.csv": (b"path,label", "The content is not an image of a known format"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    found = issues(folder, TEXT + "".join(f"{name},cat,train\n" for name in files))
    assert len(found) == len(files)
    for row, (issue, (name, (_, reason))) in enumerate(
        zip(found, files.items(), strict=True), start=6
    ):
        start = f"manifest row {row}, path: got {name!r}, allowed: an image that can be read."
        assert issue.startswith(start)
        assert reason in issue
    assert "convert it to PNG or JPEG with 8 bits per channel, or remove the row." in found[0]


def test_of_many_images_that_cannot_be_read_the_first_are_named(folder: Path) -> None:
    names = [f"{i}.jpg" for i in range(30)]
    for name in names:
        (folder / name).write_bytes(name.encode())
    found = issues(folder, TEXT + "".join(f"{name},cat,train\n" for name in names))
    assert len(found) == 21
    assert found[-1].endswith("The file has 10 more issues.")


def test_images_of_one_size_are_compared_in_little_memory(tmp_path: Path) -> None:
    """Only digests are kept, not the 8 kB of each file that are compared."""
    images = []
    for index in range(400):
        file = tmp_path / f"{index}.png"
        file.write_bytes(index.to_bytes(2, "big") * 5000)
        images.append(ListedImage(index, file, index, 10_000, index, "", "cat"))
    tracemalloc.start()
    try:
        assert repetitions(images) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400 * 2000


def test_copies_are_split_by_chance_only_as_one_group(folder: Path) -> None:
    (folder / "a1.png").write_bytes((folder / "a0.png").read_bytes())
    (folder / "c.png").write_bytes(picture("c"))
    text = "path,label,group\na0.png,cat,{}\na1.png,cat,{}\nc.png,cat,\nb0.png,dog,\nb1.png,dog,\n"
    for groups in (("", ""), ("g", "h")):
        (found,) = issues(folder, text.format(*groups))
        assert found.startswith("manifest row 3, path: got 'a1.png'")
        assert found.endswith("Remove one of the rows, or give both the same group.")
    assert read(folder, text.format("g", "g")).groups[:2] == ("g", "g")


def test_all_rows_with_issues_are_reported_in_order(folder: Path) -> None:
    text = TEXT.replace("cat,test", "nan,test") + "./a0.png,cat,test\ngone.png,,train\n"
    places = [line.split(": got")[0] for line in issues(folder, text)]
    assert places == [
        "manifest row 3, label",
        "manifest row 6, path",
        "manifest row 7, label",
        "manifest row 7, path",
    ]


PARTS = ["path", "label", "split", "group", "task", "a0.png", "a1.png", "cat", "train", "test"]
PARTS += [
    ",",
    ";",
    "\t",
    "\n",
    "\r\n",
    '"',
    "\0",
    "\x1b",
    "nan",
    "\ufeff",
    "\xe9",
    "1.0",
    "../",
    "sep=",
]


@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join) | st.text() | st.binary())
@settings(deadline=None, max_examples=200)
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    (path.parent / "a0.png").write_bytes(picture("0"))
    (path.parent / "a1.png").write_bytes(picture("1"))
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    path.write_bytes(data)
    os.utime(path, ns=(0, hash(data) % 10**15))  # listings are cached by this time
    found: list[str] = []
    try:
        list_manifest(str(path), None)
    except InvalidConfigError as error:
        found = [str(issue) for issue in error.issues]
    assert all(issue.replace("\n", "").isprintable() for issue in found)
