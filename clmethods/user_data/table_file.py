"""Tables of the user as columns of text: CSV as spreadsheets write it, and Parquet.

A table is refused where its text is ambiguous: a value that stands for a missing one, more fields
than the header has names, a name that occurs twice, an encoding that must be guessed.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clmethods.errors import ConfigIssue, refuse
from clmethods.user_data.folder_listing import refused
from clmethods.user_data.parquet_columns import ParquetError, parquet_names, read_parquet

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
MISSING = frozenset(
    [
        *("NA", "N/A", "n/a", "<NA>", "NULL", "null", "None", "NaT", "#N/A N/A"),
        *("#N/A", "#NA", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"),
        *("1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
    ]
)
"""Texts that pandas, R, SQL, C and spreadsheets write for a missing or invalid value. Also `nan`
and `-nan`, in any case. `none` in lower case may be a class."""
MAX_REPORTED_ISSUES = 20
"""Largest number of issues that are reported individually; of the others, only the number is."""
_WHOLE = re.compile(r"-?[0-9]+(\.0*)?")
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Categories of Unicode: control and format characters, and separators other than the space."""
_JOINERS = "\u200c\u200d"
_FILLERS = "\u034f\u115f\u1160\u2800\u3164\uffa0"
"""Characters of other categories that are drawn as nothing or as a blank."""
_UTF8 = "In a spreadsheet program, save it as `CSV UTF-8`."
_OTHER_FILES = {
    b"PK\x03\x04": "It is a spreadsheet or another zip file: export the sheet as `CSV UTF-8`.",
    b"\xd0\xcf\x11\xe0": "It is a spreadsheet: export the sheet as `CSV UTF-8`.",
    b"\x1f\x8b": "It is compressed: decompress it.",
}
_EXISTING = "an existing .csv or .parquet file"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of a table."""

    columns: dict[str, list[str]]
    """Texts by column; a missing value is an empty text."""
    header: list[str]
    """Names of all columns of the file."""
    rows: Sequence[int]
    """Number of each row, as in a spreadsheet: the header is row 1."""
    reinterpreted: bool
    """True if versions that took each value as Python prints it read other texts."""


def is_missing(text: str) -> bool:
    """Return True for a text that a program wrote for a missing value."""
    return text in MISSING or text.lower() in {"nan", "-nan"}


def invisible_in(text: str) -> list[str]:
    """Return the names of the characters that are not seen, so that two names look alike.

    Joiners between letters that are not ASCII are allowed: some scripts and emoji require them.
    """
    return list(
        dict.fromkeys(
            f"U+{ord(char):04X} {unicodedata.name(char, 'control character')}"
            for index, char in enumerate(text)
            if _is_invisible(char)
            and not (char in _JOINERS and _not_ascii(text[index - 1 : index], text[index + 1 :]))
        )
    )


def _is_invisible(char: str) -> bool:
    return char in _FILLERS or (char != " " and unicodedata.category(char) in _INVISIBLE)


def _not_ascii(before: str, after: str) -> bool:
    return bool(before and after) and not before.isascii() and not after[0].isascii()


def read_table(file: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    """Return the required and optional columns that the file has.

    Whole numbers with a fraction of 0 (`3.0`) are written without it, if all values of the column
    are whole numbers, and text is normalized to NFC.

    Raises `InvalidConfigError`.
    """
    if not file.is_file():
        raise refused("manifest", str(file), _EXISTING)
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise refused("manifest", str(file), "a readable file", f"{error.strerror}.") from error
    for magic, hint in _OTHER_FILES.items():
        if start.startswith(magic):
            raise refused("manifest", str(file), "a .csv or .parquet file", hint)
    names = (*required, *optional)
    values: dict[str, list[Any]]
    if start == b"PAR1" or file.suffix.lower() == ".parquet":
        header, values = _parquet(file, names)
        rows: Sequence[int] = range(2, 2 + max(map(len, values.values()), default=0))
        unquoted = False
    else:
        header, values, rows, unquoted = _csv(file, required, names)
    texts, issues = {}, list[ConfigIssue]()
    for name, column in values.items():
        texts[name] = [
            _text(value, name, row, issues) for value, row in zip(column, rows, strict=True)
        ]
        if name != "path" and all(_WHOLE.fullmatch(text) for text in texts[name] if text):
            texts[name] = [_whole(text) for text in texts[name]]
    refuse(shortened(file, issues))
    reinterpreted = unquoted or any(
        text != ("" if value is None else str(value).strip())
        for name, column in values.items()
        for text, value in zip(texts[name], column, strict=True)
    )
    return Table(texts, header, rows, reinterpreted)


def _whole(text: str) -> str:
    """Return a whole number without a fraction, and zero without a sign."""
    number = text.partition(".")[0]
    return "0" if number == "-0" else number


def _text(value: object, name: str, row: int, issues: list[ConfigIssue]) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            constraint = f"text or a whole number as {name}"
            issues.append(ConfigIssue(f"manifest row {row}, {name}", value, constraint))
            return ""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | dict | tuple):
        constraint = f"text or a whole number as {name}"
        issues.append(ConfigIssue(f"manifest row {row}, {name}", value, constraint))
        return ""
    text = str(value).strip()
    return text if name == "path" else unicodedata.normalize("NFC", text)


def _parquet(file: Path, names: tuple[str, ...]) -> tuple[list[str], dict[str, list[Any]]]:
    try:
        return parquet_names(file), read_parquet(file, names)
    except ParquetError as error:
        raise refused("manifest", str(file), "a readable file", f"{error}.") from error


def _csv(
    file: Path, required: Sequence[str], names: Sequence[str]
) -> tuple[list[str], dict[str, list[Any]], list[int], bool]:
    """Return header, columns and the numbers of the rows of a CSV file that are not empty.

    The last value is True if a quote follows a blank: earlier versions kept such quotes.
    """
    text = _decoded(file)
    # A line that Excel reads and does not show.
    declared = re.match(r"sep=(.)(\r\n|\r|\n)", text, re.IGNORECASE)
    if declared:
        text = text[declared.end() :]
    separator = declared[1] if declared else _separator(text, required)
    cells = _cells(file, text, separator)
    blank = next((row for row, line in enumerate(cells) if any(line)), len(cells))
    header, *lines = cells[blank:] or [[]]
    _check_header(file, header, required)
    first = blank + 2
    rows = [row for row, line in enumerate(lines, start=first) if any(line)]
    issues = [
        ConfigIssue(
            f"manifest row {row}",
            separator.join(lines[row - first]),
            f"at most {len(header)} fields, as many as the header has",
            "Put a text that contains the separator in quotes.",
        )
        for row in rows
        if any(lines[row - first][len(header) :])
    ]
    refuse(shortened(file, issues))
    used = {name: header.index(name) for name in names if name in header}
    columns: dict[str, list[Any]] = {
        name: [line[at] if at < len(line) else "" for line in (lines[row - first] for row in rows)]
        for name, at in used.items()
    }
    unquoted = re.search(rf'(^|{re.escape(separator)}) +"', text, re.MULTILINE) is not None
    return header, columns, rows, unquoted


def _cells(file: Path, text: str, separator: str) -> list[list[str]]:
    """Return the lines of a CSV file. Spaces around a value, also before a quote, are removed."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    try:
        return [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        hint = f"Line {reader.line_num}: {error}."
        raise refused("manifest", str(file), "a readable file", hint) from error


def _decoded(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise refused("manifest", str(file), "a readable file", f"{error.strerror}.") from error
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        hint = f"Row {row} has the byte 0x{data[error.start]:02x}. {_UTF8}"
        raise refused("manifest", str(file), "a readable file in UTF-8", hint) from error
    if "\0" in text:
        raise refused("manifest", str(file), "a readable file in UTF-8", f"It has NULs. {_UTF8}")
    return text


def _separator(text: str, required: Sequence[str]) -> str:
    """Return the separator with which the header has the required columns; else a comma."""
    blank = " ".join(["", *SEPARATORS])
    line = [line for line in text.splitlines() if line.strip(blank)][:1]
    for separator in SEPARATORS:
        try:
            header = next(csv.reader(line, delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            continue
        if set(required) <= {name.strip() for name in header}:
            return separator
    return ","


def _check_header(file: Path, header: list[str], required: Sequence[str]) -> None:
    counts = Counter(name for name in header if name)
    refuse(
        ConfigIssue(
            "manifest",
            str(file),
            "each column once",
            f"The header has the column {name!r} {count} times.",
        )
        for name, count in counts.items()
        if count > 1
    )
    if len(header) <= 1 and not set(required) <= set(header):
        known = ", ".join(SEPARATORS.values())
        hint = f"The header is {''.join(header)[:60]!r}. Separators are: {known}."
        raise refused("manifest", str(file), f"the columns {list(required)}", hint)


def shortened(file: Path, issues: list[ConfigIssue]) -> list[ConfigIssue]:
    """Return the first issues, and an issue with the number of the others."""
    if len(issues) <= MAX_REPORTED_ISSUES:
        return issues
    rest = len(issues) - MAX_REPORTED_ISSUES
    return [
        *issues[:MAX_REPORTED_ISSUES],
        ConfigIssue("manifest", str(file), "valid rows", f"The file has {rest} more issues."),
    ]
