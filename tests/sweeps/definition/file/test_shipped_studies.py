"""The studies that ship: each says what it is for, loads, and is as large as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.definition import Sweep, expand, shipped_studies, sweep_from_dict
from sweeps.definition.file.extends import extended
from sweeps.definition.file.plain_data import read_yaml
from sweeps.planning.stage_tree import StageTree

STUDIES = shipped_studies()


def loaded(name: str, folder: Path) -> Sweep:
    """The study, with a stand-in for every weights file: the originals need not be here."""
    data, issues = read_yaml(STUDIES[name])
    document = extended(data, folder, issues)
    assert issues == []
    for i, sections in enumerate([document, *document.get("baselines", [])]):
        backbone: dict[str, Any] = sections.get("backbone", {})
        if backbone.get("weights") not in {None, "random"}:
            suffix = "".join(Path(backbone["weights"]).suffixes[-2:]) or ".safetensors"
            weights = folder / f"stand_in_{i}{suffix}"
            weights.write_bytes(b"weights")
            backbone["weights"] = str(weights)
    return sweep_from_dict(document)


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_a_study_opens_with_its_purpose(name: str) -> None:
    head = STUDIES[name].read_text(encoding="utf-8").split("\nname:")[0]
    words = ["# Question", "# Command", "# Cost", "# Expected"]
    assert sorted(words, key=head.index) == words
    assert f"sweeps run {name} --storage" in head


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_a_study_loads_and_is_as_large_as_it_says(name: str, tmp_path: Path) -> None:
    sweep = loaded(name, tmp_path)
    trials = expand(sweep)
    searched = [trial for trial in trials if trial.label in _labels(sweep, "search")]
    tree = StageTree.of(trials)
    head = STUDIES[name].read_text(encoding="utf-8").split("\nname:")[0]
    head = " ".join(head.replace("#", " ").split())
    assert f"{len(searched)} trials and {len(trials) - len(searched)} baseline runs" in head
    assert f"{tree.distinct} stages" in head
    assert f" {tree.total}" in head


def test_the_roles_of_the_demo(tmp_path: Path) -> None:
    trials = expand(loaded("digits_demo", tmp_path))
    labels = {trial.label: trial.role for trial in trials if trial.role != "search"}
    assert labels == {
        "lora_sequential": "baseline",
        "nearest_class_mean": "baseline",
        "joint_lora": "reference",
    }


def _labels(sweep: Sweep, role: str) -> set[str]:
    return {c.label for c in sweep.configurations if c.role == role}
