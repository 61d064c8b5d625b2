"""Lookup of the facts of an architecture: in the table, in the user's cache, or in timm.

Planning must not load torch. timm is therefore queried in a subprocess
(`clmethods.nn.timm_subprocess`). Its answer is cached in the user's cache directory, with the
version of timm in the path.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from clmethods.catalog.facts import ALIASES, BACKBONES, BackboneFacts
from clmethods.errors import ClmethodsError, nearest

NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
"""Pattern of a timm name: an architecture, and after a dot the optional tag of its weights."""


class UnknownBackboneError(ClmethodsError, ValueError):
    """Exception for a name that is not a supported backbone; the message gives the reason."""


@lru_cache(maxsize=256)
def split_tag(name: str) -> tuple[str, str]:
    """Return (architecture, tag) of a timm name; the tag is empty if there is none."""
    architecture, _, tag = name.partition(".")
    return architecture, tag


def architecture_facts(architecture: str) -> BackboneFacts:
    """Return the facts of an architecture, given by its name without tag.

    Raises `UnknownBackboneError` if timm has no architecture of this name, or one that cannot be
    adapted.
    """
    known = BACKBONES.get(architecture)
    if known is not None:
        return known
    own = [*ALIASES, *(name for name, facts in BACKBONES.items() if not facts.timm)]
    suggestion = nearest(architecture, own, cutoff=0.85)
    if suggestion:  # a typing error: do not spend seconds on querying timm
        raise UnknownBackboneError(suggestion)
    if not NAME.fullmatch(architecture):
        raise UnknownBackboneError(
            "A name consists of letters, digits and _, and may end in a dot and a tag."
        )
    return _facts_from_timm(architecture)


@lru_cache(maxsize=64)
def _facts_from_timm(architecture: str) -> BackboneFacts:
    try:
        cache = cache_folder() / f"timm-{version('timm')}" / f"{architecture}.json"
    except PackageNotFoundError as error:
        raise UnknownBackboneError("timm, which may know the name, is not installed.") from error
    cached = _read_cache(cache)
    if cached is not None:
        return cached
    answer = ask_timm("facts", architecture)
    if "refused" in answer:
        raise UnknownBackboneError(str(answer["refused"]))
    facts = _facts(answer)
    _write_cache(cache, facts)
    return facts


def cache_folder() -> Path:
    """Return the folder of cached answers, following the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lorac-sweeps" / "backbones"


def ask_timm(question: str, name: str) -> dict[str, Any]:
    """Run `python -m clmethods.nn.timm_subprocess QUESTION NAME` and return its answer.

    The subprocess takes several seconds. If it fails, the answer has the single key `refused`,
    whose value is the reason.
    """
    root = str(Path(str(files("clmethods"))).parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "clmethods.nn.timm_subprocess", question, name],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"refused": f"timm cannot be queried: {last}"}
    return answer


def _facts(answer: dict[str, Any]) -> BackboneFacts:
    return BackboneFacts(**{**answer, "poolings": tuple(answer["poolings"])})


def _read_cache(cache: Path) -> BackboneFacts | None:
    try:
        return _facts(json.loads(cache.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # missing, or of another package version
        return None


def _write_cache(cache: Path, facts: BackboneFacts) -> None:
    """Write to a temporary file and rename it, because several workers may write at once.

    A folder that is not writable is ignored, because the cache only saves time.
    """
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=cache.parent, delete=False, encoding="utf-8"
        ) as file:
            json.dump(asdict(facts), file)
        Path(file.name).replace(cache)
    except OSError:
        return
