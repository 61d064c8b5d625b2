"""`sweeps.Sweep`: the same sweep as a file."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import sweeps
from clmethods.config import InvalidConfigError
from sweeps.definition import expand, load_sweep, shipped_studies
from sweeps.definition.file.file_fields import SweepFile
from tests.sweeps.cli.conftest import DOCUMENT

WRITTEN_BY_THE_PROGRAM = {"merged_from", "data_records"}


def test_every_field_of_a_file_is_an_argument() -> None:
    assert set(inspect.signature(sweeps.Sweep).parameters) == (
        SweepFile.model_fields.keys() - WRITTEN_BY_THE_PROGRAM
    )


def test_it_is_written_as_a_file_and_read_again(tmp_path) -> None:
    sweep = sweeps.Sweep(**DOCUMENT)
    file = tmp_path / "small.yaml"
    sweep.write(file)
    assert sweeps.Sweep.read(file) == sweep
    assert sweeps.Sweep.read(str(file)) == sweep
    assert sweeps.Sweep.read(sweep.to_dict()) == sweep
    stages = [[stage.key for stage in trial.chain] for trial in expand(load_sweep(file))]
    assert stages == [[stage.key for stage in trial.chain] for trial in expand(sweep.definition)]
    assert sweeps.Sweep(**{**DOCUMENT, "seeds": [7]}) != sweep
    with pytest.raises(FileExistsError):
        sweep.write(file)
    with pytest.raises(InvalidConfigError, match=r"path: got .*a path that ends in \.yaml"):
        sweep.write(tmp_path / "small.txt")


def test_shipped_studies_are_read_by_name() -> None:
    assert (
        sweeps.Sweep.read("digits_demo").name == load_sweep(shipped_studies()["digits_demo"]).name
    )


def test_all_issues_come_at_once() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        sweeps.Sweep(**{**DOCUMENT, "seeds": [], "method": {"kind": "lorac_ip"}})
    assert {issue.path for issue in caught.value.issues} >= {"seeds", "method.kind"}


def test_a_repr_says_what_would_run() -> None:
    text = repr(sweeps.Sweep(**DOCUMENT))
    assert text.splitlines()[0] == "sweep 'small': digits, 5 tasks, tiny_vit8"
    assert "2 configurations over method.importance_threshold" in text
    assert "task orders: 2 (explicit); seeds: 0, 1" in text
    proposed = {**DOCUMENT, "algorithm": {"kind": "tpe", "trials": 8}}
    assert "8 settings by tpe" in repr(sweeps.Sweep(**proposed))


def test_names_are_listed_and_nothing_heavy_is_imported() -> None:
    script = (
        "import sweeps, sys\n"
        "heavy = {'torch', 'timm', 'ray', 'pandas', 'pyarrow', 'pydantic', 'numpy', 'duckdb'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print(set(sweeps.__all__) <= set(dir(sweeps)))\n"
        "sweeps.Sweep, sweeps.run, sweeps.load\n"
        "print(sorted({'torch', 'timm', 'ray', 'pandas'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "True", "[]"], done.stderr
