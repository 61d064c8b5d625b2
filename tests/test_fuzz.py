"""Files of the user in any state: read, or refused with an error of the product and its place.

`make fuzz` runs the long form. Conditions, YAML and manifests have further tests of this kind next
to their other tests.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clmethods.cli.input_files import read_mapping
from clmethods.config import InvalidConfigError, run_from_dict
from clmethods.user_data.manifest import list_manifest
from sweeps.definition import load_sweep, shipped_studies

SHORT, LONG = 60, 4000
HANG_S = 10.0
"""Longest time of the process for one input."""

RUN: dict[str, Any] = {
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "limit": 4, "tasks": 5},
    "method": {"kind": "lorac_ipc", "rank": 2, "sites": ["q", "v"]},
    "train": {"epochs": 1, "lr": 0.005, "batch_size": 16},
}
SWEEP: dict[str, Any] = RUN | {
    "name": "fuzzed",
    "search": {"train.lr": [0.1, 0.2], "method.rank": [1, 2]},
    "where": ["method.rank <= 2", "train.lr < 1"],
    "orders": {"design": "random", "count": 2},
    "seeds": [0, 1],
    "readouts": [{"routing": "last"}],
    "objectives": {"average_accuracy": "max"},
    "baselines": [{"label": "ncm", "method": {"kind": "nearest_class_mean"}}],
}
STUDY = shipped_studies()["digits_demo"].read_text(encoding="utf-8")
TABLE = "path,label,task,split,group\n" + "".join(
    f"{c}{i}.png,{c},t{c},{s},g{i}\n" for c in "ab" for i, s in enumerate(("train", "test"))
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63, -(10**30), 10**5, 0.0, -1.5, 1e308, 5e-324]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["method.rank > 1e999", "1 + " * 200 + "1", "kind", "\x1b[31m", "010"]),
    st.lists(st.integers(-1, 3) | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 2) | st.none(), max_size=2),
    st.sampled_from([{"uniform": [0, 1]}, {"log": [0, 1]}, {"integer": [1, 10**9]}, [[]], [{}]]),
).map(copy.deepcopy)  # a drawn value may be changed further
PIECES = st.sampled_from(
    [
        *("\t", "\n", "  ", ": ", "- ", "[", "]", "{", "}", "'", '"', "&a ", "*a", "<<: *a", "#"),
        *("!!int ", ",", ";", "\0", "\x1b", "nan", "\ufeff", "1" * 5000, "\ud800", "010", "1:30"),
        *("\xe9", "%", "...", "---"),
    ]
)


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """A document in which some values, keys or items are replaced, added or removed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        place: Any = document
        while True:
            keys = [*place] if isinstance(place, dict) else [*range(len(place))]
            key = draw(st.sampled_from(keys)) if keys else None
            inside = key is not None and isinstance(place[key], dict | list)
            if not inside or draw(st.booleans()):
                break
            place = place[key]
        if isinstance(place, list):
            place.append(draw(ODD)) if key is None or draw(st.booleans()) else place.pop(key)
        elif key is not None and draw(st.booleans()):
            place[key] = draw(ODD)
        else:
            place[draw(st.text(max_size=6) | st.sampled_from([*SWEEP, "kind"]))] = draw(ODD)
    return document


@st.composite
def edited(draw: st.DrawFn, text: str) -> bytes:
    """A text in which pieces are inserted, removed or repeated; sometimes cut, sometimes bytes."""
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 20))
        text = text[:at] + draw(PIECES | st.just(text[at : at + length] * 2)) + text[at + length :]
    data = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-16"])), "surrogatepass")
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def written(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")


def outcome(read: Callable[[Path], object], path: Path) -> None:
    """Read a file; fail on any other error, on issues without a place, and on a hang."""
    start = time.process_time()
    issues = []
    try:
        read(path)
    except InvalidConfigError as error:
        issues = list(error.issues)
        assert issues
    assert time.process_time() - start < HANG_S
    for issue in issues:
        assert issue.path
        assert str(issue).replace("\n", "").isprintable()
        assert len(str(issue)) < 3000


RUNS = edited(yaml.safe_dump(RUN)) | changed(RUN).map(written)
SWEEPS = edited(yaml.safe_dump(SWEEP)) | edited(STUDY) | changed(SWEEP).map(written)


def check_run_file(folder: Path, data: bytes) -> None:
    path = folder / "run.yaml"
    path.write_bytes(data)
    outcome(lambda file: run_from_dict(read_mapping(file, str(file))), path)


def check_sweep_file(folder: Path, data: bytes) -> None:
    path = folder / "sweep.yaml"
    path.write_bytes(data)
    outcome(load_sweep, path)


def check_manifest(folder: Path, data: bytes, count: list[int]) -> None:
    count[0] += 1  # listings are cached by name and time
    for name in ("a0", "a1", "b0", "b1"):
        (folder / f"{name}.png").write_bytes(name.encode())
    path = folder / f"{count[0]}.csv"
    path.write_bytes(data)
    outcome(lambda file: list_manifest(str(file), None), path)
    path.unlink()


def check_all(folder: Path, examples: int) -> dict[str, int]:
    """Run every kind of file; return the number of inputs that were tried."""
    tried = {"run files": 0, "sweep files": 0, "manifests": 0}
    limits = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    @limits
    @given(RUNS)
    def runs(data: bytes) -> None:
        tried["run files"] += 1
        check_run_file(folder, data)

    @limits
    @given(SWEEPS)
    def sweeps(data: bytes) -> None:
        tried["sweep files"] += 1
        check_sweep_file(folder, data)

    @limits
    @given(edited(TABLE))
    def manifests(data: bytes) -> None:
        tried["manifests"] += 1
        check_manifest(folder, data, [tried["manifests"]])

    runs()
    sweeps()
    manifests()
    return tried


def test_files_of_the_user_are_read_or_refused(tmp_path: Path) -> None:
    assert min(check_all(tmp_path, SHORT).values()) >= SHORT // 2


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_many_files_of_the_user_are_read_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = check_all(tmp_path, LONG)
    with capsys.disabled():
        print("\n" + ", ".join(f"{count} {kind}" for kind, count in tried.items()))  # noqa: T201
    assert min(tried.values()) >= LONG // 2
