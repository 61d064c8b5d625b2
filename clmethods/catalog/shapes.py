"""Facts of any architecture: from the table, from a cache of the user, or asked of timm once.

Planning must not load torch, so timm is asked in a process of its own
(`clmethods.nn.timm_subprocess`) and its answer is kept in the user's cache directory, by the
version of timm that gave it.
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
from clmethods.errors import nearest

NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
"""An architecture, and after a dot the tag of its weights."""


class UnknownBackboneError(ValueError):
    """A name that stands for no backbone of ours; the message says why."""


@lru_cache(maxsize=256)
def split_tag(name: str) -> tuple[str, str]:
    """Architecture and tag of a timm name; the tag is empty if there is none."""
    architecture, _, tag = name.partition(".")
    return architecture, tag


def architecture_facts(architecture: str) -> BackboneFacts:
    """Shape of an architecture, without tag.

    Raises `UnknownBackboneError` if timm has none of this name, or one that cannot be adapted.
    """
    known = BACKBONES.get(architecture)
    if known is not None:
        return known
    own = [*ALIASES, *(name for name, facts in BACKBONES.items() if not facts.timm)]
    slip = nearest(architecture, own, cutoff=0.85)
    if slip:  # spares the seconds that asking takes
        raise UnknownBackboneError(slip)
    if not NAME.fullmatch(architecture):
        raise UnknownBackboneError("A name has letters, digits, _ and one dot before a tag.")
    return _asked(architecture)


@lru_cache(maxsize=64)
def _asked(architecture: str) -> BackboneFacts:
    try:
        cache = cache_folder() / f"timm-{version('timm')}" / f"{architecture}.json"
    except PackageNotFoundError as error:
        raise UnknownBackboneError("timm, which may know the name, is not installed.") from error
    kept = _kept(cache)
    if kept is not None:
        return kept
    answer = ask_timm("facts", architecture)
    if "refused" in answer:
        raise UnknownBackboneError(str(answer["refused"]))
    facts = _facts(answer)
    _keep(cache, facts)
    return facts


def cache_folder() -> Path:
    """Where answers are kept, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lorac-sweeps" / "backbones"


def ask_timm(question: str, name: str) -> dict[str, Any]:
    """The answer of `python -m clmethods.nn.timm_subprocess QUESTION NAME`, some seconds later."""
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
        return {"refused": f"timm could not be asked: {last}"}
    return answer


def _facts(answer: dict[str, Any]) -> BackboneFacts:
    return BackboneFacts(**{**answer, "poolings": tuple(answer["poolings"])})


def _kept(cache: Path) -> BackboneFacts | None:
    try:
        return _facts(json.loads(cache.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # not there, or of another version of ours
        return None


def _keep(cache: Path, facts: BackboneFacts) -> None:
    """Write aside and rename, as several workers may ask at once; a read-only home is no fault."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=cache.parent, delete=False, encoding="utf-8"
        ) as file:
            json.dump(asdict(facts), file)
        Path(file.name).replace(cache)
    except OSError:
        return
