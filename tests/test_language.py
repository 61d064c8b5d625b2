"""The vocabulary of documentation: docstrings, comments and documents."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("clmethods", "sweeps", "tests", "benchmarks", "tools")
DOCUMENTS = (
    *("README.md", "sweeps/README.md", "clmethods/README.md", ".github/CONTRIBUTING.md"),
    *(".github/SECURITY.md", ".github/CODE_OF_CONDUCT.md", ".github/PULL_REQUEST_TEMPLATE.md"),
)

RETIRED = re.compile(
    r"\b(mend(s|ed|ing)?|for want of|stands? beside|ended well|hardly|twins?|in vain|wishes|held "
    r"against|went on|given up|luck|laws?|told|(?<!`)wanted|rooms?)\b",
    re.IGNORECASE,
)
"""Idioms and private terms; docs/glossary.md has the terms of the field.

The column `wanted` keeps its name.
"""

QUESTION = re.compile(r"(What|Whether|How|Which|Who|Where|Why)\b")
"""Docstrings begin with a verb or a noun phrase."""


def modules() -> list[Path]:
    return sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))


def docstrings(tree: ast.Module) -> list[str]:
    """Return the docstrings of a module, its classes, its functions and its attributes."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    attributes = [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return [text for text in (*found, *attributes) if text]


def prose(source: str) -> list[str]:
    """Return the comments and the strings of several lines or sentences of a module."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and token.string.startswith('"""'))
    ]


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    questions = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in modules()
        for text in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if QUESTION.match(text)
    ]
    assert not questions, "\n".join(questions)


def test_code_is_documented_without_retired_words() -> None:
    uses = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in modules()
        for text in prose(path.read_text(encoding="utf-8"))
        for match in RETIRED.finditer(text)
    ]
    assert not uses, "\n".join(uses)


RETIRED_IN_NAMES = {"mend", "mended", "told", "wanted", "luck", "law", "laws", "hardly", "room"}


def test_names_do_without_retired_words() -> None:
    uses = [
        f"{path.relative_to(ROOT)}: {token.string}"
        for path in modules()
        for token in tokenize.generate_tokens(
            io.StringIO(path.read_text(encoding="utf-8")).readline
        )
        if token.type == tokenize.NAME
        and RETIRED_IN_NAMES & set(token.string.lower().split("_"))
        and token.string != "RETIRED_IN_NAMES"
    ]
    assert not uses, "\n".join(uses)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_do_without_retired_words(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    uses = [f"{n}: {line}" for n, line in enumerate(lines, 1) if RETIRED.search(line)]
    assert not uses, "\n".join(uses)


def test_retired_words_are_found() -> None:
    assert RETIRED.search("how to mend it")
    assert not RETIRED.search("recommended amendment")
    assert RETIRED.search("the wanted stages")
    assert not RETIRED.search("the column `wanted`")
    assert QUESTION.match("What a node found")
    assert not QUESTION.match("Whatever")
