"""Files that services read: workflows, hooks before a commit, forms, the citation, the package."""

from __future__ import annotations

import re
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

import clmethods
from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
FORMS = sorted(p for p in (ROOT / ".github/ISSUE_TEMPLATE").iterdir() if p.stem != "config")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

WORKFLOW_FIELDS = {"name", "on", "permissions", "concurrency", "jobs"}
JOB_FIELDS = {"name", "runs-on", "timeout-minutes", "strategy", "container", "steps"}
STEP_FIELDS = {"uses", "with", "run"}
"""The fields of GitHub's workflow syntax that are used here; GitHub refuses fields it lacks."""

FORM_FIELDS = {"name", "description", "labels", "body"}
ELEMENT_TYPES = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
"""Fields and elements of GitHub's issue forms."""

CITATION_FIELDS = {
    *("cff-version", "message", "type", "title", "authors", "version", "license", "abstract"),
    *("keywords", "references"),
}
REFERENCE_FIELDS = {"type", "title", "authors", "identifiers", "url"}
AUTHOR_FIELDS = ({"family-names"}, {"family-names", "given-names"}, {"name"})
"""Fields of version 1.2.0 of the Citation File Format that are used here."""


def document(path: Path) -> dict[str, Any]:
    """Return a YAML file; `on` stays a string, as GitHub reads it."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return {"on" if key is True else key: value for key, value in loaded.items()}


def make_recipes() -> dict[str, list[str]]:
    """Return the commands of every target of the Makefile."""
    recipes: dict[str, list[str]] = {}
    target = ""
    for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([a-z0-9-]+):(?!=)", line):
            target = match.group(1)
            recipes[target] = []
        elif line.startswith("\t") and target:
            recipes[target].append(line.strip().removeprefix("@"))
        else:
            target = ""
    return recipes


def commands(job: dict[str, Any]) -> list[str]:
    """Return the commands of a job for all combinations of its matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    found = []
    for values in product(*matrix.values()):
        for step in job["steps"]:
            command = step.get("run", "")
            for name, value in zip(matrix, values, strict=True):
                command = command.replace(f"${{{{ matrix.{name} }}}}", value)
            found.append(command)
    return [command for command in found if command]


def faults_of(workflow: dict[str, Any]) -> list[str]:
    """Return what GitHub or the Makefile would refuse."""
    faults = [f"unknown field {name}" for name in workflow.keys() - WORKFLOW_FIELDS]
    for name, job in workflow["jobs"].items():
        faults += [f"{name}: unknown field {field}" for field in job.keys() - JOB_FIELDS]
        faults += [f"{name}: lacks {field}" for field in {"runs-on", "steps"} - job.keys()]
        for step in job["steps"]:
            faults += [f"{name}: unknown field {field}" for field in step.keys() - STEP_FIELDS]
            if ("run" in step) == ("uses" in step):
                faults.append(f"{name}: a step either runs or uses something")
        for command in commands(job):
            target = re.fullmatch(r"make ([a-z0-9-]+)", command)
            if target is None or target.group(1) not in make_recipes():
                faults.append(f"{name}: {command!r} is not a target of the Makefile")
    return faults


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_only_call_targets_of_the_makefile(path: Path) -> None:
    assert faults_of(document(path)) == []


def test_faults_of_a_workflow_are_found() -> None:
    job = {"runs-on": "x", "step": [], "steps": [{"run": "pytest"}, {"run": "make nothing"}, {}]}
    assert len(faults_of({"jobs": {"a": job}, "onn": "push"})) == 5


def test_ci_runs_what_a_contributor_runs() -> None:
    jobs = document(ROOT / ".github/workflows/ci.yml")["jobs"]
    called = {command for job in jobs.values() for command in commands(job)}
    assert called == {"make env", "make test", "make test-cluster"}
    nightly = document(ROOT / ".github/workflows/nightly.yml")
    assert [*nightly["on"]["schedule"][0]] == ["cron"]
    assert "make test-slow" in commands(nightly["jobs"]["slow"])


@pytest.mark.parametrize("path", [".github/CONTRIBUTING.md", ".ci/run"])
def test_the_targets_for_contributors_exist(path: str) -> None:
    named = set(re.findall(r"^(?:`)?make ([a-z-]+)", (ROOT / path).read_text(), re.MULTILINE))
    assert named
    assert named <= make_recipes().keys()


def test_the_fast_tests_start_no_ray() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    fast, ray = (
        re.findall(rf"^{name} := (.*)", makefile, re.MULTILINE) for name in ("FAST", "ON_RAY")
    )
    assert "recovery" in ray[0]
    assert not any(path.rpartition("/")[2] in fast[0].split() for path in ray[0].split())


def test_the_files_that_are_run_first_exist() -> None:
    assert [file for file in LONGEST if not (ROOT / file).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_the_tested_python_versions_are_those_of_the_package() -> None:
    matrix = document(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    prefix = "Programming Language :: Python :: 3."
    declared = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert matrix["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint() -> None:
    (repository,) = document(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"  # another repository would bring its own versions
    recipes = make_recipes()
    linting = [*recipes["style"], *recipes["types"]]
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert entries == [command.replace("$(BIN)", ".venv/bin") for command in linting]
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_are_complete(path: Path) -> None:
    form = document(path)
    assert form.keys() == FORM_FIELDS
    for element in form["body"]:
        assert element["type"] in ELEMENT_TYPES
        assert ("value" if element["type"] == "markdown" else "label") in element["attributes"]
    identifiers = [e["id"] for e in form["body"] if e["type"] != "markdown"]
    assert len(identifiers) == len(set(identifiers))


def test_the_citation_is_valid() -> None:
    citation = document(ROOT / "CITATION.cff")
    assert citation.keys() == CITATION_FIELDS
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == clmethods.__version__
    assert citation["license"] == PROJECT["license"]
    assert [a["name"] for a in citation["authors"]] == [a["name"] for a in PROJECT["authors"]]
    for reference in citation["references"]:
        assert reference.keys() == REFERENCE_FIELDS
        assert reference["authors"]
        assert all(author.keys() in AUTHOR_FIELDS for author in reference["authors"])
        (identifier,) = reference["identifiers"]
        assert identifier["type"] == "other"
        assert identifier["value"] == "arXiv:" + reference["url"].rpartition("/")[2]


def test_the_papers_of_all_methods_are_cited() -> None:
    text = (ROOT / "docs" / "method").with_suffix(".md").read_text(encoding="utf-8")
    section = text.split("\n## 9. ")[1].split("\n## ")[0]
    papers = set(re.findall(r"arxiv\.org/abs/([\d.]+)", section))
    cited = {
        reference["url"].rpartition("/")[2]
        for reference in document(ROOT / "CITATION.cff")["references"]
    }
    assert papers
    assert papers <= cited
    assert all(f"arxiv.org/abs/{paper}" in text for paper in cited)
