"""Contents of a page, read as a browser reads it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from typing import Any


def data_of(page: str) -> dict[str, Any]:
    """The data of the page's script."""
    (packed,) = re.findall(r'<script type="text/plain" id="data">([^<]*)</script>', page)
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return found


class Page(HTMLParser):
    """Texts by the id of the section that they stand in, and tables by that of their figure."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._section = self._figure = ""
        self._row: list[str] | None = None
        self._cell = False
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.tags.append((tag, held))
        if tag == "section":
            self._section = held["id"] or ""
        if tag == "figure" and held.get("id"):
            self._figure = held["id"] or ""
        if tag == "tr":
            self._row = []
            self.tables.setdefault(self._figure, []).append(self._row)
        if tag in {"td", "th"} and self._row is not None:
            self._row.append("")
            self._cell = True
        self._script = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._cell = False
        if tag == "figure":
            self._figure = ""
        if tag == "section":
            self._section = ""
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            return
        if self._cell and self._row:
            self._row[-1] = (self._row[-1] + data).strip()
        text = " ".join(data.split())
        if text:
            self.sections[self._section] = f"{self.sections.get(self._section, '')} {text}".strip()
