"""Manifests as programs write them: read with the right classes, or refused by row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError, StreamConfig
from clmethods.user_data.folder_listing import Listing
from clmethods.user_data.manifest import list_manifest

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
        (tmp_path / path).write_bytes(path.encode() * 3000)
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
    "text", ["nan", "NaN", "NAN", "NA", "N/A", "#N/A", "#REF!", "NULL", "null", "None", "<NA>", ""]
)
@pytest.mark.parametrize("column", ["label", "task"])
def test_a_missing_name_is_refused_with_its_row(folder: Path, column: str, text: str) -> None:
    header = "path,split,label,task\n"
    lines = [[path, split, label, "one"] for path, label, split in ROWS]
    lines[2][2 if column == "label" else 3] = text
    (found,) = issues(folder, header + "".join(",".join(line) + "\n" for line in lines))
    assert found.startswith(f"manifest row 4, {column}: got {text!r}, allowed: the name of a")


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


def test_only_data_that_was_read_otherwise_gets_another_version(folder: Path) -> None:
    """The fingerprint of a manifest that earlier versions read alike stays."""
    import hashlib

    from clmethods.user_data.folder_listing import fingerprint_of

    sizes = [(path, (folder / path).stat().st_size) for path, _, _ in ROWS]
    for text, kept in ((TEXT, True), (TEXT.replace("cat", "1.0").replace("dog", "2"), False)):
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


def test_copies_are_split_by_chance_only_as_one_group(folder: Path) -> None:
    (folder / "a1.png").write_bytes((folder / "a0.png").read_bytes())
    (folder / "c.png").write_bytes(b"c")
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
    (path.parent / "a0.png").write_bytes(b"0")
    (path.parent / "a1.png").write_bytes(b"1")
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    path.write_bytes(data)
    os.utime(path, ns=(0, hash(data) % 10**15))  # listings are cached by this time
    found: list[str] = []
    try:
        list_manifest(str(path), None)
    except InvalidConfigError as error:
        found = [str(issue) for issue in error.issues]
    assert all(issue.replace("\n", "").isprintable() for issue in found)
