"""Glossary of the report and its copy in the documentation."""

from __future__ import annotations

from pathlib import Path

from sweeps.report.glossary import glossary, glossary_markdown

FILE = Path(__file__).parents[3] / "docs/glossary.md"


def test_the_file_has_the_definitions_of_the_report() -> None:
    assert FILE.read_text(encoding="utf-8") == glossary_markdown(), (
        "write docs/glossary.md again: see sweeps/report/glossary.py"
    )


def test_every_term_is_defined_in_a_sentence() -> None:
    for term, text in glossary().items():
        assert text[0].isupper() or text[0].isdigit(), term
        assert text.endswith("."), term
