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
        Column("trial_id", _text, "Fingerprint of the whole resolved run."),
        Column("config_id", _text, "The run without its seeds and orders."),
        Column("order_id", _text, "The task order spelt out; `any` if it cannot matter."),
        Column("task_order", pa.list_(_small), "Indices of the task groups as they are learned."),
        Column(
            "class_order_seed", _large, "Which classes form a task; null: natural order.", True
        ),
        Column("split_seed", _large, "Which training images are held out for validation."),
        Column("seed", _large, "Root of initialisation and batches."),
        Column("partition_id", _text, "How the classes are grouped into tasks."),
        Column("label", _text, "Short name of the configuration, for people."),
        Column(
            "role",
            _text,
            "Part of the search, a baseline to compare with, or a reference line.",
            choices=("search", "baseline", "reference"),
        ),
        Column(
            "factors",
            _text,
            "JSON: the searched fields and their values, without those that do not act; choices "
            "by the name of their section, parts of an ablation as `part.NAME`.",
        ),
        Column("method", _text, "Kind of the method, such as `lorac_ipc`."),
        Column("readout_ids", _texts, "Readouts evaluated on the trained chain."),
        Column("attempt", _small, "Number of the attempt, counted from 1."),
        Column(
            "status",
            _text,
            "How the attempt ended; `stopped` is by early stopping or by hand.",
            choices=("finished", "failed", "stopped"),
        ),
        Column("error", _text, "What went wrong, in a sentence.", True),
        Column("error_kind", _text, "Class of the error, to count and group by.", True),
        Column("stages_done", _small, "Stages stored when the attempt ended."),
        Column("stages_total", _small, "Stages of the whole chain: T, or 1 for a joint run."),
        Column("stage_keys", _texts, "Key of each stage of the whole chain, by position."),
        Column("run", _text, "JSON: the resolved run."),
        Column("trainable_parameters", _large, "Trained in the last task, head included.", True),
        Column("stored_bytes", _large, "What the chain occupies; shared stages count.", True),
        Column("cpus", _real, "CPU cores reserved."),
        Column("gpus", _real, "GPUs reserved; a fraction shares one."),
        Column("code_version", _text, "Version or commit of this code."),
    ),
)

STAGES = TableSchema(
    "stages",
    "stage",
    ("stage_key",),
    (
        Column("stage_key", _text, "Fingerprint of all that the stage's state depends on."),
        Column("parent", _text, "Key of the stage it starts from; null at the start.", True),
        Column("position", _small, "Place in the sequence, from 0."),
        Column("task_key", _text, "Identity of the task wherever it comes."),
        Column("task", _small, "Index of the task group; null if several are trained.", True),
        Column("classes", pa.list_(_count), "Original ids of the classes trained here."),
        Column("cross_entropy", _real, "Mean over the last epoch; null if none.", True),
        Column("orthogonality", _real, "Weighted penalty, mean over the last epoch.", True),
        Column("grad_norm", _real, "Mean L2 norm before clipping, last epoch.", True),
        Column("steps", _count, "Optimiser steps."),
        Column("frozen_count", _count, "Matrices frozen while this task was trained."),
        Column("trainable_parameters", _large, "Parameters that could move, head included."),
        Column(
            "ortho_residual_max",
            _real,
            "Largest cosine between the new module and an earlier one.",
            True,
        ),
        Column("state_bytes", _large, "Size of the stored delta."),
        Column("wall_s", _real, "Seconds of training, by the wall clock."),
        Column("cpu_s", _real, "Seconds of processor time."),
        Column("peak_rss_bytes", _large, "Largest resident memory of the process."),
        Column("host", _text, "Name of the machine that trained it."),
        Column("host_kind", _text, "Kind of machine; bits are compared only within one."),
        Column("torch_version", _text, "Version of PyTorch."),
        Column("timm_version", _text, "Version of timm."),
        Column("code_version", _text, "Version or commit of this code."),
        Column("started_at", _text, "UTC time in ISO 8601."),
    ),
)

EVALS = TableSchema(
    "evals",
    "stage x readout x split x task x evaluated class",
    ("stage_key", "partition_id", "readout_id", "split", "task", "class_id"),
    (
        Column("stage_key", _text, "The stage after which it was evaluated."),
        Column("partition_id", _text, "How the classes are grouped into tasks."),
        Column("readout_id", _text, "How predictions were read."),
        Column("split", _text, "Which held-out images.", choices=("validation", "test")),
        Column("task", _small, "Index of the task group that the class belongs to."),
        Column("class_id", _count, "Original id of the class."),
        Column("seen", _flag, "Whether the class was learned by then."),
        Column("n", _count, "Images of the class."),
        Column("correct", _count, "Right among all seen classes; null if not seen.", True),
        Column("correct_task_given", _count, "Right among the classes of its own task."),
        Column("task_id_correct", _count, "Routed to its own task; null without routing.", True),
    ),
    repeated=("stage_key", "partition_id", "readout_id", "split"),
)

MATRICES = TableSchema(
    "matrices",
    "stage x block x site",
    ("stage_key", "block", "site"),
    (
        Column("stage_key", _text, "The stage."),
        Column("block", _small, "Block of the backbone, from 0."),
        Column("site", _text, "Matrix in the block: q, k, v, o, f1 or f2."),
        Column("importance", _real, "Score at the end of the task, if one was kept.", True),
        Column("frozen", _flag, "Whether it was frozen while this task was trained."),
        Column("omega", _reals, "Module weights at the end of the task; its own module has 1."),
        Column("delta_norm", _real, "Frobenius norm of the composed update."),
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
