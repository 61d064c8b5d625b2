"""The pages of cluster/ name files, links, commands and options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from ray.scripts.scripts import cli as ray

from sweeps.cli import main as sweeps
from tests.launchers.files import CLUSTER, REPOSITORY, cluster_file

PAGES = sorted([*CLUSTER.glob("*.md"), *CLUSTER.glob("my/*.md")])


def blocks(page: Path) -> str:
    """Return the shell commands of a page, continued lines joined."""
    text = "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL))
    return re.sub(r"\\\n\s*", "", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_their_sections(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, section = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        titles = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
        assert not section or section in {t.lower().replace(" ", "-") for t in titles}, link


def test_every_guide_is_linked_and_every_file_is_named() -> None:
    text = (CLUSTER / "README.md").read_text()
    files = {path.name for path in CLUSTER.iterdir() if path.is_file()}
    unnamed = {name for name in files if name not in text}
    assert unnamed <= {"README.md", "Dockerfile.dockerignore"}


def test_every_test_named_in_the_table_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", (CLUSTER / "README.md").read_text()))
    assert named
    assert all((REPOSITORY / name).exists() for name in named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_ray_and_sweeps_exist(page: Path) -> None:
    for command, name in re.findall(r"(?<![\w-])(ray|sweeps) ([a-z][\w-]*)", blocks(page)):
        group = ray if command == "ray" else sweeps
        assert isinstance(group, click.Group)
        assert name in group.list_commands(click.Context(group)), f"{command} {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_cluster_files_named_in_commands_exist(page: Path) -> None:
    for name in re.findall(r"\bray \w[\w-]* (?:-\S+ )*([\w-]+\.yaml)", blocks(page)):
        assert (CLUSTER / name).is_file(), name


def test_names_made_for_a_cloud_are_those_of_its_file() -> None:
    gcp, page = (CLUSTER / "gcp.yaml").read_text(), (CLUSTER / "gcp.md").read_text()
    for role in ("head", "worker"):
        assert f"lorac-sweeps-{role}@my-project.iam.gserviceaccount.com" in gcp
    assert "service-accounts create lorac-sweeps-$role" in page
    assert "images create lorac-sweeps-1 --family=lorac-sweeps" in page
    assert "images/family/lorac-sweeps " in gcp
    assert "--target-tags=lorac-sweeps" in page
    for name in ("aws", "gcp"):
        cluster = cluster_file(f"{name}.yaml")["cluster_name"]
        text = (CLUSTER / f"{name}.md").read_text()
        assert f"ray-cluster-name,Values={cluster}" in text or f"name={cluster}'" in text
