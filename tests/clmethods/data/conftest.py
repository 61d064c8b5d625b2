"""Decoded images of these tests are kept in their own folders, not in the user's cache."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
