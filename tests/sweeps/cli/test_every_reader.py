"""Damaged and sparse results: every command that reads them prints a message, no traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from sweeps.definition import Sweep, TrialSpec, sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.results import SCHEMA_VERSION, merge_results
from sweeps.storage import open_storage
from tests.sweeps.cli.conftest import DOCUMENT
from tests.sweeps.cli.fabricated import fabricate

Command = Callable[..., Result]

SMALL = DOCUMENT | {
    "stream": {"dataset": "digits", "tasks": 2, "limit": 6},
    "orders": {"design": "explicit", "list": [[0, 1], [1, 0]]},
    "readouts": [{"routing": "last"}],
    "baselines": [{"method": {"kind": "nearest_class_mean"}}],
}
LABELS = ("lorac_ipc importance_threshold=0", "lorac_ipc importance_threshold=0.2")

READERS: dict[str, Callable[[Path], Sequence[object]]] = {
    "status": lambda at: ("status", at, "--trials"),
    "pareto": lambda at: ("pareto", at, "--attained"),
    "orders": lambda at: ("orders", at),
    "effects": lambda at: ("effects", at),
    "path": lambda at: ("path", at, *LABELS),
    "matrices": lambda at: ("matrices", at),
    "compare": lambda at: ("compare", at, at),
    "select": lambda at: ("select", at),
    "query": lambda at: ("query", at, "SELECT count(*) AS n FROM summary"),
    "export": lambda at: ("export", at, "--to", at.parent / f"{at.name}-export"),
}
ANALYSE = [name for name in READERS if name not in {"status", "query", "export"}]
every_reader = pytest.mark.parametrize("reader", READERS)
every_analysis = pytest.mark.parametrize("reader", ANALYSE)


def accuracy(trial: TrialSpec) -> float:
    return 0.5 + 0.1 * bool(trial.factors.get("method.importance_threshold")) + 0.01 * trial.seed


def read(
    run: Command, reader: str, storage: Path, codes: Collection[int] = frozenset({0, 1})
) -> str:
    """Return the output of the command.

    The exit code 1 is that of `select` if no configuration can be chosen.
    """
    result = run(*READERS[reader](storage))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in codes, result.output
    assert "Traceback" not in result.output
    assert "nan" not in result.output.lower().replace("finance", "")
    return result.output


def trial_parts(storage: Path, **desired: object) -> list[Path]:
    """Files of the trials whose row has these values."""
    return [
        part
        for part in sorted(storage.glob("sweeps/small/results/trials/*.parquet"))
        for row in pq.read_table(part).to_pylist()
        if all(row[name] == value for name, value in desired.items())
    ]


@pytest.fixture(scope="module")
def fabricated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fabricated")
    fabricate(folder, SMALL, accuracy)
    return folder


@pytest.fixture
def whole(fabricated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fabricated, tmp_path, dirs_exist_ok=True))


@every_reader
def test_an_empty_sweep_has_no_answer(
    sweeps_command: Command, tmp_path: Path, reader: str
) -> None:
    keep_sweep_file(sweep_from_dict(SMALL), open_storage(str(tmp_path)))
    said = read(sweeps_command, reader, tmp_path)
    words = {
        "status": "12 in 3 configurations: 12 waiting, 0 failed",
        "select": "no configuration has a finished run",
        "query": "1 row",
        "export": "summary.parquet  0 rows",
    }
    assert words.get(reader, "no finished trial") in said


@every_analysis
def test_one_replicate_has_no_interval_and_that_is_said(
    sweeps_command: Command, tmp_path: Path, reader: str
) -> None:
    one = SMALL | {"orders": {"design": "explicit", "list": [[0, 1]]}, "seeds": [0]}
    fabricate(tmp_path, one, accuracy)
    said = read(sweeps_command, reader, tmp_path)
    words = {
        "pareto": "one run each: intervals and shares are unavailable",
        "orders": "not known",
        "matrices": "no finished trial yet that reports its matrices",
        "select": "warning   ",
    }
    assert words.get(reader, "no interval") in said


@every_analysis
def test_missing_replicates_are_named_with_the_reason(
    sweeps_command: Command, whole: Path, reader: str
) -> None:
    gone, *_ = trial_parts(whole, label=LABELS[0], seed=1)
    row = pq.read_table(gone).to_pylist()[0]
    gone.unlink()
    said = read(sweeps_command, reader, whole)
    assert "1 of 12 trials are missing" in said
    assert f"{LABELS[0]}, order {row['order_id']}, seed 1 (has not ended)" in said


@every_analysis
def test_a_constant_objective_is_no_fault(
    sweeps_command: Command, tmp_path: Path, reader: str
) -> None:
    fabricate(tmp_path, SMALL, lambda trial: 0.5)
    said = read(sweeps_command, reader, tmp_path)
    words = {
        "pareto": "50.0 ± 0.0",
        "effects": "+0.0 to +0.0",
        "path": "+0.0 to +0.0",
        "compare": "+0.0 to +0.0",
        "select": "choose    ",
    }
    assert words.get(reader, "") in said


@every_analysis
def test_runs_without_metrics_are_left_out_and_counted(
    sweeps_command: Command, whole: Path, reader: str
) -> None:
    """The evaluations of one run are gone: its metrics do not exist, those of the others do."""
    part, *_ = trial_parts(whole, label=LABELS[1], seed=1)
    last = pq.read_table(part)["stage_keys"][0].as_py()[-1]
    for path in whole.glob(f"sweeps/small/results/evals/{last}-*.parquet"):
        path.unlink()
    said = read(sweeps_command, reader, whole)
    words = {
        "pareto": f"{LABELS[1]}: 1 of its runs have no metrics",
        "orders": f"incomplete: {LABELS[1]} (3 of 4 runs)",
        "select": "3 runs",
    }
    assert words.get(reader, "") in said


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("orders", "--metric"), "forgeting"),
        (("effects", "--metric"), "forgeting"),
        (("path", *LABELS, "--metric"), "forgeting"),
        (("compare", "--metric"), "forgeting"),
        (("select", "--prefer"), "forgeting"),
        (("select", "--max"), "forgeting=0.1"),
    ],
)
def test_an_unknown_objective_is_refused_with_the_nearest(
    sweeps_command: Command, whole: Path, arguments: tuple[str, ...], name: str
) -> None:
    command, *rest = arguments
    at = [whole, whole] if command == "compare" else [whole]
    result = sweeps_command(command, *at, *rest, name)
    assert result.exit_code == 2, result.output
    assert "Did you mean 'forgetting'?" in result.output


def truncated(part: Path) -> str:
    part.write_bytes(part.read_bytes()[:200])
    return "not a readable Parquet file"


def of_a_later_version(part: Path) -> str:
    table = pq.read_table(part)
    later = str(SCHEMA_VERSION + 1).encode()
    metadata = table.schema.metadata | {b"schema_version": later}
    pq.write_table(table.replace_schema_metadata(metadata), part)
    return f"schema version {SCHEMA_VERSION + 1}, this code reads"


def of_another_schema(part: Path) -> str:
    pq.write_table(pa.table({"a": [1]}), part)
    return "not a part of the table trials"


def with_other_columns(part: Path) -> str:
    """The metadata are those of the table."""
    metadata = pq.read_table(part).schema.metadata
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(metadata), part)
    return "its columns are not those of the schema"


def with_a_value(column: str, value: object) -> Callable[[Path], str]:
    def spoil(part: Path) -> str:
        table = pq.read_table(part)
        place = table.schema.get_field_index(column)
        field = table.schema.field(place)
        field = field.with_nullable(field.nullable or value is None)
        pq.write_table(
            table.set_column(place, field, pa.array([value] * len(table), field.type)), part
        )
        return ""

    return spoil


SPOILED = {
    "truncated": truncated,
    "of a later version": of_a_later_version,
    "of another schema": of_another_schema,
    "with other columns": with_other_columns,
    "null": with_a_value("trial_id", None),
    "role": with_a_value("role", "else"),
    "no JSON": with_a_value("factors", "{"),
    "a list": with_a_value("run", "[]"),
    "deep JSON": with_a_value("factors", "[" * 100_000),
    "NaN": with_a_value("factors", '{"method.rank": NaN}'),
    "a null in a list": with_a_value("stage_keys", ["a", None]),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=list(SPOILED))
@pytest.mark.parametrize("reader", [name for name in READERS if name != "status"])
def test_a_part_that_cannot_be_read_is_named_and_the_rest_is_used(
    sweeps_command: Command, whole: Path, reader: str, spoil: Callable[[Path], str]
) -> None:
    part, *_ = trial_parts(whole, label=LABELS[0], seed=1)
    reason = spoil(part)
    said = read(sweeps_command, reader, whole, {4})
    assert f"results/trials/{part.name} is left out: {reason}" in said
    assert "`sweeps run` writes it again" in said
    assert "exit code 4: 1 file left out, see above" in said
    words = {
        "pareto": LABELS[0],
        "effects": "method.importance_threshold",
        "path": "method.importance_threshold: 0 -> 0.2",
        "compare": LABELS[0],
        "select": "choose    ",
        "query": "22",  # 11 of 12 runs, two splits
        "export": "summary.parquet  22 rows",
    }
    assert words.get(reader, "") in said


COUNTS = {
    "more than there are": {"correct": 1001},
    "fewer than none": {"correct_task_given": -1},
    "of a class that was not seen": {"seen": False},
    "no count of a class that was seen": {"correct": None},
    "of the wrong tasks": {"task_id_correct": 2000},
}


@pytest.mark.parametrize("values", COUNTS.values(), ids=list(COUNTS))
@pytest.mark.parametrize("reader", ["pareto", "query", "export", "select"])
def test_impossible_counts_are_named_with_their_file(
    sweeps_command: Command, whole: Path, reader: str, values: dict[str, int | bool | None]
) -> None:
    part = min(whole.glob("sweeps/small/results/evals/*.parquet"))
    ((name, value),) = values.items()
    with_a_value(name, value)(part)
    said = read(sweeps_command, reader, whole, {1, 4})
    assert f"results/evals/{part.name} is left out: impossible rows: " in said
    column = "correct" if name == "seen" else name
    assert column in said.split("impossible rows: ")[1].splitlines()[0]


COUNTED = """
SELECT (SELECT count(*) FROM trials), (SELECT count(*) FROM evals), (SELECT count(*) FROM stages),
    (SELECT count(*) FROM summary), (SELECT sum(correct) FROM evals)
"""


def parts_by_table(storage: Path) -> dict[str, list[Path]]:
    return {
        table: sorted(storage.glob(f"sweeps/small/results/{table}/*.parquet"))
        for table in ("trials", "evals")
    }


@pytest.mark.parametrize("name", ["copy", "{}-copy", "0{}", "{}.1", "merged/{}"])
def test_a_copy_of_a_part_counts_once_and_is_named(
    sweeps_command: Command, whole: Path, name: str
) -> None:
    before = sweeps_command("query", whole, COUNTED, "--format", "csv").output
    fronts = sweeps_command("pareto", whole).output
    copies = []
    for table, parts in parts_by_table(whole).items():
        copy = parts[0].parent / f"{name.format(parts[0].stem)}.parquet"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(parts[0], copy)
        copies.append(copy.relative_to(whole / "sweeps" / "small" / "results" / table))
    result = sweeps_command("query", whole, COUNTED, "--format", "csv")
    assert result.stdout == before
    for copy in copies:
        assert f"{copy} is" in result.stderr
    if name.startswith("merged"):  # no merged file has such a name
        assert result.exit_code == 4
        assert result.stderr.count("its bytes are not those that were written") == 2
    else:
        assert result.exit_code == 0
        assert result.stderr.count("and is ignored: remove it") == 2
        assert fronts.splitlines()[2:] == sweeps_command("pareto", whole).output.splitlines()[4:]


def test_a_part_that_contradicts_another_one_is_left_out_and_named(
    sweeps_command: Command, whole: Path
) -> None:
    before = sweeps_command("query", whole, COUNTED, "--format", "csv").output
    part = parts_by_table(whole)["evals"][0]
    copy = part.with_name("copy.parquet")
    shutil.copy(part, copy)
    with_a_value("correct_task_given", 7)(copy)
    result = sweeps_command("query", whole, COUNTED, "--format", "csv")
    assert result.exit_code == 4, result.output
    assert result.stdout == before
    assert "evals/copy.parquet is left out: its rows contradict those of" in result.stderr


def test_a_part_that_was_renamed_is_used(sweeps_command: Command, whole: Path) -> None:
    before = sweeps_command("query", whole, COUNTED, "--format", "csv").output
    for parts in parts_by_table(whole).values():
        parts[0].rename(parts[0].with_name("renamed.parquet"))
    result = sweeps_command("query", whole, COUNTED, "--format", "csv")
    assert (result.exit_code, result.output) == (0, before)


def test_rows_that_are_twice_in_one_part_are_left_out(
    sweeps_command: Command, whole: Path
) -> None:
    part = parts_by_table(whole)["evals"][0]
    table = pq.read_table(part)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), part)
    result = sweeps_command("query", whole, COUNTED)
    assert result.exit_code == 4, result.output
    assert f"{part.name} is left out: impossible rows: it holds a row twice" in result.output


def test_merging_leaves_a_copy_in_its_place(sweeps_command: Command, whole: Path) -> None:
    before = sweeps_command("query", whole, COUNTED, "--format", "csv").output
    part = parts_by_table(whole)["evals"][0]
    copy = part.with_name("zz.parquet")
    shutil.copy(part, copy)
    merge_results(open_storage(str(whole)), "small", least=2)
    assert not part.exists()
    assert copy.exists()
    result = sweeps_command("query", whole, COUNTED, "--format", "csv")
    assert (result.exit_code, result.stdout) == (0, before)
    assert "evals/zz.parquet is a copy of" in result.stderr


def test_the_small_sweep_is_what_the_tests_count_on() -> None:
    sweep: Sweep = sweep_from_dict(SMALL)
    assert [c.label for c in sweep.configurations][:2] == list(LABELS)
