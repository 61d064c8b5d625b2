"""The table "Adding components" of CONTRIBUTING: components are added to a copy, and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.adding.components import ANALYSIS, COMPONENTS, DATASET, METHOD, ORDER_DESIGN, Component

ROOT = Path(__file__).parents[2]
FOLDERS = ("clmethods", "sweeps", "tests", "benchmarks", "cluster", "docs", ".github")
FILES = ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml")

pytestmark = pytest.mark.timeout(900)  # several processes, one after another

TABLE = {
    cells[0]: cells[1:]
    for line in (ROOT / ".github/CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split(" | ")]) == 4
}

RUN = """
backbone: {name: tiny_vit8, weights: random, image_size: 8}
train: {epochs: 1, batch_size: 8}
"""
SWEEP = f"""{RUN}
name: small
method: {{kind: lora_merge, rank: 2}}
stream: {{dataset: digits, tasks: 5}}
"""


def named_in(row: str) -> set[str]:
    """Return patterns of the files that a row of the table names."""
    code, registered, _ = TABLE[row]
    paths = re.findall(r"`((?:[\w.]+/)*[\w]+\.(?:py|md|yaml))`", f"{code} {registered}")
    return {re.sub(r"NAME|PACKAGE|COMMAND", "*", path) for path in paths}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with all components."""
    folder = tmp_path_factory.mktemp("copy")
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    for component in COMPONENTS:
        component.add_to(folder)
    return folder


def run(copy: Path, *arguments: str) -> str:
    """Return the output of a Python process that imports the packages of the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy), "CLMETHODS_CACHE": str(copy / "cache")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trained(copy: Path, stream: str, method: str) -> str:
    """Return the output of the training of a run and of the check of its stored weights."""
    name = re.sub(r"\W", "", stream + method)
    file = copy / f"{name}.yaml"
    file.write_text(f"{RUN}stream: {stream}\nmethod: {method}\n", encoding="utf-8")
    program = f"""
from clmethods.cli import main
main(["train", "{file}", "-o", "{name}"], standalone_mode=False)
main(["evaluate", "{name}"], standalone_mode=False)
"""
    return run(copy, "-c", program)


def run_tests(copy: Path, *files: str, chosen: str) -> None:
    """Run tests of the copy; a choice of no test is a failure."""
    paths = [f"tests/{file}" for file in files]
    run(copy, "-m", "pytest", "-p", "no:cacheprovider", *paths, "-k", chosen)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_a_row_names_exactly_the_files_that_change(component: Component) -> None:
    patterns = named_in(component.row)
    for path in component.touched:
        assert any(fnmatchcase(path, pattern) for pattern in patterns), path
    for pattern in patterns:
        assert any(fnmatchcase(path, pattern) for path in component.touched), pattern


def test_a_method_trains_and_its_stored_weights_give_the_stored_metrics(copy: Path) -> None:
    output = trained(copy, "{dataset: digits, tasks: 2, limit: 8}", f"{{kind: {METHOD.name}}}")
    assert "The stored weights reproduce the stored metrics." in output
    run_tests(
        copy,
        "clmethods/methods/test_damped_merge.py",
        "clmethods/test_contract.py",
        "clmethods/export/test_export.py",
        "clmethods/forecast/test_memory.py",
        chosen=f"{METHOD.name} or every_method_is",
    )


def test_a_dataset_serves_a_stream(copy: Path) -> None:
    output = trained(copy, f"{{dataset: {DATASET.name}}}", "{kind: nearest_class_mean}")
    assert "The stored weights reproduce the stored metrics." in output
    files = ("clmethods/data/test_stripes.py", "clmethods/data/test_datasets.py")
    run_tests(copy, *files, chosen=f"{DATASET.name} or same_datasets")


def test_an_order_design_is_planned(copy: Path) -> None:
    (copy / "sweep.yaml").write_text(f"{SWEEP}orders: {{design: {ORDER_DESIGN.name}}}\n")
    output = run(copy, "-m", "sweeps", "plan", "sweep.yaml")
    assert "orders: outside_in. Nothing: one order, from both ends to the middle." in output
    program = """
from pathlib import Path
from sweeps.definition import load_sweep
sweep = load_sweep(Path("sweep.yaml"))
print(sweep.orders_for(sweep.base))
"""
    assert run(copy, "-c", program).strip() == "((0, 4, 1, 3, 2),)"
    run_tests(copy, "sweeps/definition/orders/test_design_functions.py", chosen="every_design")


def test_an_analysis_answers(copy: Path) -> None:
    program = f"""
from pathlib import Path
import yaml
from tests.sweeps.cli.fabricated import fabricate
document = yaml.safe_load({SWEEP + "seeds: [0, 1]"!r})
fabricate(Path("storage"), document, lambda trial: 0.5 + trial.seed / 4)
"""
    run(copy, "-c", program)
    assert ": 0.500 to 0.750\n" in run(copy, "-m", "sweeps", "extremes", "storage")
    files = (
        "sweeps/analysis/trials/test_best_and_worst.py",
        "sweeps/cli/test_every_reader.py",
    )
    run_tests(copy, *files, chosen=f"best_and_worst or {ANALYSIS.name}")


def test_the_other_tests_of_the_repository_hold(copy: Path) -> None:
    """Names, documents and the benchmark know the components."""
    files = ("test_structure.py", "test_readme.py", "test_method.py", "test_benchmarks.py")
    run_tests(copy, *files, chosen="test")
