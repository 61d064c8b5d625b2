"""`docs/data.md` lists the names and suffixes that the code knows."""

from __future__ import annotations

import re
from pathlib import Path

from clmethods.user_data.folder_listing import SPLIT_SPELLINGS
from clmethods.user_data.ignored_files import (
    IGNORED_NAMES,
    IGNORED_SUFFIXES,
    WITHOUT_LABELS,
    is_ignored,
)
from clmethods.user_data.image_headers import EIGHT_BIT

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def row(title: str, name: str) -> set[str]:
    """Return the code spans in the row `name` of the table in a section."""
    (line,) = [line for line in section(title).splitlines() if line.startswith(f"| {name}")]
    return set(re.findall(r"`([^`]+)`", line))


def test_skipped_names_are_those_of_the_code() -> None:
    for name in row("What is skipped", "systems") | row("What is skipped", "hidden"):
        assert is_ignored(name, folder=True), name
    systems = {name.lower() for name in row("What is skipped", "systems")}
    known = IGNORED_NAMES - {"icon\r", "ehthumbs_vista.db", "@recently-snapshot"}
    assert systems == known
    backups = row("What is skipped", "backups")
    assert {name for name in IGNORED_SUFFIXES if not name.startswith("@")} | {"~$"} == backups
    assert row("What is skipped", "outside") >= WITHOUT_LABELS


def test_spellings_of_splits_are_those_of_the_code() -> None:
    for name, spellings in zip(
        ("training", "validation", "test"), SPLIT_SPELLINGS.values(), strict=True
    ):
        assert row("Image folders", name) == set(spellings)


def test_modes_are_those_of_the_code() -> None:
    (line,) = [line for line in section("File types").splitlines() if line.startswith("| modes")]
    listed = line.split("channel: ")[1].split(";")[0].split(", ")
    assert set(listed) == EIGHT_BIT
