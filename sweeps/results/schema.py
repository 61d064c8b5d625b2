"""Schema of the four result tables: names, types and descriptions of their columns.

The tables are in long format. They hold counts and not rates: accuracies are computed when the
tables are read, so that a definition can change without a new run. Column names contain SI units.
The Arrow schema of a table is built from its columns; `describe()` prints them as Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

SCHEMA_VERSION = 2
"""Increased when a column is added, removed, or changes its type or meaning."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False
    choices: tuple[str, ...] = ()
    """Allowed texts; empty allows any."""


@dataclass(frozen=True)
class TableSchema:
    """Schema of one table: the meaning of a row, its primary key, and the columns."""

    name: str
    row: str
    """Object that one row describes, such as `stage`."""
    key: tuple[str, ...]
    """Columns whose values identify a row."""
    columns: tuple[Column, ...]
    repeated: tuple[str, ...] = ()
    """Text columns with few distinct values, which `encoded` stores as dictionaries."""

    @cached_property
    def encoded(self) -> pa.Schema:
        """Return `arrow` with repeated texts as dictionaries: a quarter of the memory."""
        coded = pa.dictionary(pa.int32(), pa.string())
        fields = [f.with_type(coded) if f.name in self.repeated else f for f in self.arrow]
        return pa.schema(fields, metadata=self.arrow.metadata)

    @cached_property
    def arrow(self) -> pa.Schema:
        """Return the Arrow schema, with version and column descriptions in its metadata."""
        return pa.schema(
            [
                pa.field(c.name, c.type, nullable=c.nullable, metadata={b"doc": c.doc.encode()})
                for c in self.columns
            ],
            metadata={b"table": self.name.encode(), b"schema_version": b"%d" % SCHEMA_VERSION},
        )


_text, _flag, _real = pa.string(), pa.bool_(), pa.float64()
_texts, _reals = pa.list_(pa.string()), pa.list_(pa.float64())
_small, _count, _large = pa.int16(), pa.int32(), pa.int64()

TRIALS = TableSchema(
    "trials",
    "ended attempt of a trial",
    ("trial_id", "attempt"),
    (
        Column("trial_id", _text, "Hash of the resolved run."),
        Column(
            "config_id",
            _text,
            "Id of the configuration: hash of the run without seeds and task order.",
        ),
        Column(
            "order_id", _text, "Task order as text; `any` for methods that see all tasks at once."
        ),
        Column(
            "task_order", pa.list_(_small), "Indices of the task groups in the order of learning."
        ),
        Column(
            "class_order_seed",
            _large,
            "Seed that assigns classes to tasks; null: original order.",
            True,
        ),
        Column("split_seed", _large, "Seed that selects the validation images."),
        Column("seed", _large, "Seed of initialization and batches."),
        Column("partition_id", _text, "Id of the grouping of classes into tasks."),
        Column("label", _text, "Readable name of the configuration."),
        Column(
            "role",
            _text,
            "Searched configuration, baseline, or reference.",
            choices=("search", "baseline", "reference"),
        ),
        Column(
            "factors",
            _text,
            "JSON: searched fields and their values, without fields that have no effect; named "
            "options by their name, parts of an ablation as `part.NAME`.",
        ),
        Column("method", _text, "Kind of the method, such as `lorac_ipc`."),
        Column("readout_ids", _texts, "Readouts that are evaluated on the trained stages."),
        Column("attempt", _small, "Number of the attempt, counted from 1."),
        Column(
            "status",
            _text,
            "Result of the attempt; `stopped` by early stopping or by the user.",
            choices=("finished", "failed", "stopped"),
        ),
        Column("error", _text, "Error message.", True),
        Column("error_kind", _text, "Class of the error.", True),
        Column("stages_done", _small, "Number of stages that were stored when the attempt ended."),
        Column("stages_total", _small, "Number of stages of the run: T, or 1 for a joint run."),
        Column("stage_keys", _texts, "Key of each stage of the run, by position."),
        Column("run", _text, "JSON: resolved run."),
        Column(
            "trainable_parameters",
            _large,
            "Parameters trained in the last task, with the head.",
            True,
        ),
        Column(
            "stored_bytes", _large, "Size of all stages of the run, including shared ones.", True
        ),
        Column("cpus", _real, "Number of reserved CPU cores."),
        Column("gpus", _real, "Number of reserved GPUs; a fraction is a share of one GPU."),
        Column("code_version", _text, "Version or commit of the code."),
    ),
)

STAGES = TableSchema(
    "stages",
    "stage",
    ("stage_key",),
    (
        Column("stage_key", _text, "Hash of everything that the state of the stage depends on."),
        Column("parent", _text, "Key of the previous stage; null for the first stage.", True),
        Column("position", _small, "Position in the sequence, counted from 0."),
        Column("task_key", _text, "Id of the task, independent of its position."),
        Column("task", _small, "Index of the task group; null if the stage trains several.", True),
        Column("classes", pa.list_(_count), "Original ids of the classes that the stage trains."),
        Column(
            "cross_entropy",
            _real,
            "Mean cross-entropy over the last epoch; null without training.",
            True,
        ),
        Column(
            "orthogonality",
            _real,
            "Mean weighted orthogonality penalty over the last epoch.",
            True,
        ),
        Column(
            "grad_norm", _real, "Mean L2 norm of the gradient before clipping, last epoch.", True
        ),
        Column("steps", _count, "Number of optimizer steps."),
        Column("frozen_count", _count, "Number of matrices that were frozen during the training."),
        Column("trainable_parameters", _large, "Number of trainable parameters, with the head."),
        Column(
            "ortho_residual_max",
            _real,
            "Largest cosine between the spans of the new module and of an earlier one.",
            True,
        ),
        Column("state_bytes", _large, "Size of the stored state of the stage."),
        Column("wall_s", _real, "Wall time of the training in seconds."),
        Column("cpu_s", _real, "Processor time of the training in seconds."),
        Column("peak_rss_bytes", _large, "Maximum resident memory of the process."),
        Column("host", _text, "Name of the host that trained the stage."),
        Column(
            "host_kind", _text, "Kind of host; results are bit-for-bit equal only within one kind."
        ),
        Column("torch_version", _text, "Version of PyTorch."),
        Column("timm_version", _text, "Version of timm."),
        Column("code_version", _text, "Version or commit of the code."),
        Column("started_at", _text, "Start of the training: UTC time in ISO 8601."),
    ),
)

EVALS = TableSchema(
    "evals",
    "stage x readout x split x task x evaluated class",
    ("stage_key", "partition_id", "readout_id", "split", "task", "class_id"),
    (
        Column("stage_key", _text, "Stage after which the class was evaluated."),
        Column("partition_id", _text, "Id of the grouping of classes into tasks."),
        Column("readout_id", _text, "Readout that made the predictions."),
        Column("split", _text, "Held-out images.", choices=("validation", "test")),
        Column("task", _small, "Index of the task group that the class belongs to."),
        Column("class_id", _count, "Original id of the class."),
        Column("seen", _flag, "True if the class was learned in this stage or earlier."),
        Column("n", _count, "Number of images of the class."),
        Column(
            "correct",
            _count,
            "Number of correct predictions among all learned classes; null if the class is not "
            "among them.",
            True,
        ),
        Column(
            "correct_task_given",
            _count,
            "Number of correct predictions among the classes of its task.",
        ),
        Column(
            "task_id_correct",
            _count,
            "Number of images assigned to their task; null without task inference.",
            True,
        ),
    ),
    repeated=("stage_key", "partition_id", "readout_id", "split"),
)

MATRICES = TableSchema(
    "matrices",
    "stage x block x site",
    ("stage_key", "block", "site"),
    (
        Column("stage_key", _text, "Stage after which the matrix was measured."),
        Column("block", _small, "Block of the backbone, counted from 0."),
        Column("site", _text, "Matrix in the block: q, k, v, o, f1 or f2."),
        Column(
            "importance",
            _real,
            "Importance score at the end of the task; null if none was computed.",
            True,
        ),
        Column("frozen", _flag, "True if the matrix was frozen during the training of the task."),
        Column(
            "omega", _reals, "Weights of the modules at the end of the task; 1 for the new module."
        ),
        Column("delta_norm", _real, "Frobenius norm of the sum of all updates."),
        Column(
            "change_since",
            _reals,
            "Entry j: ||E_t - E_j|| / ||E_j|| of the effective weight since the end of task j.",
        ),
    ),
    repeated=("stage_key", "site"),
)

TABLES: dict[str, TableSchema] = {t.name: t for t in (TRIALS, STAGES, EVALS, MATRICES)}
"""Schemas of the result tables, by name."""


def describe() -> str:
    """Return all tables and columns as Markdown, for the documentation."""
    parts = []
    for table in TABLES.values():
        parts.append(f"### {table.name}\n\nOne row per {table.row}.\n")
        parts.append("| column | type | may be null | meaning |\n|---|---|---|---|")
        parts.extend(
            f"| `{c.name}` | {_type_name(c)} | {'yes' if c.nullable else ''} | {_meaning(c)} |"
            for c in table.columns
        )
        parts.append("")
    return "\n".join(parts)


def _type_name(column: Column) -> str:
    kind = column.type
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def _meaning(column: Column) -> str:
    choices = f" One of {', '.join(column.choices)}." if column.choices else ""
    return (column.doc + choices).replace("|", "\\|")
