"""docs/method.md agrees with the code: citations, invariants, files, defaults, metrics."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import fields
from itertools import chain
from pathlib import Path

import pytest

from clmethods.config import METHOD_CONFIGS, LoracIpcConfig, ReadoutConfig, TrainConfig
from clmethods.metrics import COUNT_METRICS, METRICS

ROOT = Path(__file__).resolve().parent.parent
METHOD = ROOT / "docs" / "method.md"
TEXT = METHOD.read_text(encoding="utf-8")
HEADINGS = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\b", TEXT, flags=re.MULTILINE))

CITATION = re.compile(r"docs/method\.md,? (?:sections? )?(\d+(?:\.\d+)?(?: (?:and|to) \d+\.\d+)*)")
DEFECT = re.compile(r"\bD\d{1,2}\b")
INVARIANT = re.compile(r"(?<!\")\bI([1-9]\d?)\b(?: to I(\d{1,2})\b)?")


def sources(*folders: str) -> dict[str, str]:
    """Python files by their path from the root, with line breaks in the text as spaces."""
    found = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders)
    return {
        str(path.relative_to(ROOT)): re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
        for path in found
        if path != Path(__file__).resolve()
    }


def section(number: str) -> str:
    """Text below the heading of a section, up to the next heading of its rank or above."""
    depth = number.count(".") + 2
    (start,) = re.finditer(rf"^{'#' * depth} {re.escape(number)}[. ].*\n", TEXT, re.MULTILINE)
    end = re.search(rf"^#{{2,{depth}}} ", TEXT[start.end() :], re.MULTILINE)
    return TEXT[start.end() : start.end() + end.start() if end else len(TEXT)]


def rows(text: str) -> list[list[str]]:
    """Cells of the table rows in a text, headers included."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_cited_section_is_a_heading() -> None:
    cited: dict[str, set[str]] = defaultdict(set)
    for name, text in sources("clmethods", "sweeps", "tests").items():
        for found in CITATION.findall(text):
            for number in re.findall(r"\d+(?:\.\d+)?", found):
                cited[number].add(name)
        if name.startswith(("clmethods/", "tests/clmethods/")):  # elsewhere: sections of papers
            for number in re.findall(r"\bsections? (\d+\.\d+)", text):
                cited[number].add(name)
    assert len(cited) > 25
    assert {number: cited[number] for number in cited.keys() - HEADINGS} == {}


def test_the_document_is_cited_by_its_path_with_a_section_or_a_deviation() -> None:
    for name, text in sources("clmethods", "sweeps", "tests").items():
        for match in re.finditer(r"[\w/]*method\.md", text):
            around = text[max(0, match.start() - 12) : match.end() + 12]
            assert match.group() == "docs/method.md", (name, around)
            located = CITATION.match(text, match.start()) or DEFECT.search(around)
            assert located or "as in PEFT and in" in text[: match.start()], (name, around)


def test_every_cited_deviation_has_a_row() -> None:
    listed: set[str] = set()
    for first, *_ in rows(section("12")) + rows(section("4.4")):
        ends = [
            int(number)
            for number in re.findall(r"^[D](\d+)(?: to D(\d+))?$", first)
            for number in number
            if number
        ]
        listed |= {f"D{n}" for n in range(ends[0], ends[-1] + 1)} if ends else set()
    cited = {
        found
        for text in sources("clmethods", "tests/clmethods").values()
        for found in DEFECT.findall(text)
    }
    assert {"D12", "D16"} <= cited <= listed
    assert set(DEFECT.findall(TEXT)) - {"D22"} == listed


def invariant_rows() -> dict[int, list[str]]:
    """Statement of each invariant and the files of its tests, by its number."""
    found = [row for row in rows(section("11")) if re.fullmatch(r"I\d+", row[0])]
    assert len({row[0] for row in found}) == len(found)
    return {int(row[0][1:]): row[1:] for row in found}


def files_by_invariant() -> dict[int, set[str]]:
    """Files with a test function whose name carries the number of an invariant."""
    found: dict[int, set[str]] = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                prefix = re.match(r"test_((?:i\d\d_)*)", node.name)
                for number in re.findall(r"\d\d", prefix.group(1) if prefix else ""):
                    found[int(number)].add(str(path.relative_to(ROOT)))
    return found


def test_every_invariant_names_the_files_that_check_it() -> None:
    listed = {
        number: set(re.findall(r"`(.+?)`", row[-1])) for number, row in invariant_rows().items()
    }
    assert listed == files_by_invariant()
    assert sorted(listed) == list(range(1, len(listed) + 1))


def test_every_invariant_that_is_cited_is_listed() -> None:
    listed = invariant_rows().keys()
    cited: set[int] = set()
    for text in (*sources("clmethods", "tests").values(), TEXT):
        for first, last in INVARIANT.findall(text):
            cited |= set(range(int(first), int(last or first) + 1))
    assert cited
    assert cited <= listed


def test_every_file_that_the_document_names_exists() -> None:
    named = set(re.findall(r"`((?:clmethods|sweeps|tests|docs|tools|benchmarks)/[^`*]*)`", TEXT))
    assert len(named) > 40
    assert [name for name in named if not (ROOT / name).exists()] == []
    targets = re.findall(r"\]\((?!https://)([^)#]+)(?:#([^)]+))?\)", TEXT)
    assert targets
    for target, anchor in targets:
        path = (METHOD.parent / target).resolve()
        assert path.is_file(), target
        titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
        assert not anchor or anchor in anchors


def test_section_references_inside_the_document_exist() -> None:
    for found in re.findall(r"\bsections? (\d+(?:\.\d+)?)", TEXT):
        assert found in HEADINGS
    for table in ("7.1", "7.2", "7.3"):
        for row in rows(section(table))[1:]:
            assert row[-1] in HEADINGS


@pytest.mark.parametrize(
    ("number", "config", "absent"),
    [
        ("7.1", LoracIpcConfig, {"kind"}),
        ("7.2", TrainConfig, {"precision", "tf32", "compile", "device", "threads"}),
        ("7.3", ReadoutConfig, set()),
    ],
)
def test_the_tables_of_hyperparameters_have_every_field_and_its_default(
    number: str, config: type, absent: set[str]
) -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in rows(section(number))[1:]}
    defaults = {field.name: repr(field.default) for field in fields(config)}
    assert shown == {name: text for name, text in defaults.items() if name not in absent}


def test_the_tables_of_metrics_have_every_metric_and_its_direction() -> None:
    shown = {row[0].strip("`"): row[2] for row in rows(section("6.2")) if row[0].startswith("`")}
    directions = {name: metric.direction for name, metric in METRICS.items()}
    directions |= {
        name: metric.direction
        for name, metric in COUNT_METRICS.items()
        if not name.startswith("til_")
    }
    assert shown.keys() == directions.keys()
    for name, better in directions.items():
        assert ("high" if better == "max" else "low") in shown[name], name


def test_every_method_is_in_the_section_of_the_baselines() -> None:
    named = set(re.findall(r"`(\w+)`", section("9")))
    assert METHOD_CONFIGS.keys() - {"lorac_ipc"} - named == set()


def test_inline_math_has_nothing_that_markdown_would_change() -> None:
    """GitHub reads Markdown before math: escapes of punctuation and `a<b` do not survive that."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", TEXT, flags=re.DOTALL)
    assert prose.count("$") > 500
    for line in prose.splitlines():
        assert line.count("$") % 2 == 0, line
        for formula in re.findall(r"\$(.*?)\$", line):
            assert not re.search(r"[<>*]|\\[^a-zA-Z]", formula), formula


@pytest.mark.parametrize("reader", ["README.md", "clmethods/README.md"])
def test_the_readmes_link_it(reader: str) -> None:
    text = (ROOT / reader).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]*method\.md)\)", text)
    assert targets
    assert all(((ROOT / reader).parent / target).resolve() == METHOD for target in targets)
