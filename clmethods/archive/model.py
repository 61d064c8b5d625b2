"""Model directory: a run stored by `clmethods train -o`, which can be continued.

    run.json                                  the resolved run, its stage keys, the code version
    stages/KK/KEY/state-SHA.safetensors       the tensors that the stage changed
                  result-SHA.json             its figures: losses, norms, matrices
                  cost.json                   seconds, host, versions
                  stage.json                  written last: the stage is complete
                  evals/EVAL_ID.json          counts of one readout
    damaged/KEY/N/...                         damaged stages that were moved
    metrics.json                              accuracy matrices and metrics of the finished run
    history.json                              who trained what when; see `history`
    statistics-SHA.safetensors                statistics of the learned classes for its readouts

The layout of the stages equals that of a sweep's storage, so each can use the files of the other.
Payloads are named by their content; every file is written atomically.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict, final

from clmethods.archive.document import RUN_FILE, check_keys, read_run, refuse_another, write_run
from clmethods.archive.metrics import StoredMetrics
from clmethods.archive.stage_files import (
    ArchiveError,
    read_checksummed,
    stage_files,
    write,
)
from clmethods.canonical import JsonValue, plain
from clmethods.checkpoint import DamagedStateError, state_from_bytes, state_to_bytes
from clmethods.checksummed_json import (
    add_checksum,
    add_owner,
    evaluation_name,
    sha256,
    stored_cost,
    verify_owner,
)
from clmethods.config import (
    RunConfig,
    StageMarker,
    StageSpec,
    describes_stage,
    readout_from_dict,
    resolve,
    stage_chain,
)
from clmethods.config.task_contents import stage_title
from clmethods.evaluate import EvalCount
from clmethods.methods import State
from clmethods.metrics import EvalRow, stage_contradiction
from clmethods.training.stage import StageOutcome

METRICS_FILE = "metrics.json"
HISTORY_FILE = "history.json"
CARRIED = "chain"
"""Folder of an export that contains a copy of its model directory."""


class StoredReport(TypedDict):
    """Figures of a stage, `result-SHA.json`: fields of a `TrainingReport` and a `MethodReport`."""

    training: dict[str, JsonValue]
    method: dict[str, JsonValue]


@final
class ModelArchive:
    """Stages of one run. Training recomputes damaged stages; reading raises an error for them."""

    def __init__(
        self, folder: Path, run: RunConfig, report: Callable[[str], None] = lambda message: None
    ) -> None:
        self.folder, self.run, self.report = folder, run, report
        self.chain = stage_chain(run)

    @classmethod
    def create(
        cls, folder: Path, run: RunConfig, report: Callable[[str], None] = lambda message: None
    ) -> ModelArchive:
        """Create the archive of `run` in `folder`, or open it to continue the run.

        Raises `ArchiveError` if the folder contains another run, or other files.
        """
        run = resolve(run)
        if (folder / RUN_FILE).exists():
            refuse_another(folder, run)
            check_keys(folder, run)
        elif folder.is_dir() and any(folder.iterdir()):
            raise ArchiveError(
                f"{folder} contains files but no {RUN_FILE}, so it is not a model. Specify a new "
                "or an empty directory."
            )
        else:
            write_run(folder, run)
        return cls(folder, run, report)

    @classmethod
    def open(cls, folder: Path, weights: str | None = None) -> ModelArchive:
        """Open the archive in `folder`, or the one in an export.

        Raises the errors of `read_run`.
        """
        chain = folder / CARRIED
        if not (folder / RUN_FILE).exists() and (folder / "export.json").exists():
            if not (chain / RUN_FILE).exists():
                raise ArchiveError(
                    f"{folder} is an export without its chain (--no-chain), so it cannot be "
                    "continued. Use its model directory, or export that directory again."
                )
            folder = chain
        return cls(folder, read_run(folder, weights))

    def load_delta(self, key: str) -> State | None:
        """Return the tensors of a finished stage.

        Returns None if the stage is missing, or was damaged and has been moved to `damaged/`.
        """
        try:
            return self._delta(key)
        except ArchiveError as error:
            self._set_aside(key, str(error))
            return None

    def save(self, stage: StageSpec, outcome: StageOutcome, cost: dict[str, object]) -> None:
        """Store a finished stage: payloads first, the marker last."""
        files, where = stage_files(stage, outcome), self._stage(stage.key)
        write(where / files.marker["state"], files.state)
        write(where / files.marker["result"], files.result)
        write(where / "cost.json", add_owner(cost, stage.key, "cost.json"))
        write(where / "stage.json", add_checksum(files.marker))

    def evaluation(self, key: str, eval_id: str) -> list[EvalRow] | None:
        """Return the counts of one readout of a stage; None if they are missing or damaged.

        Counts that belong to another stage or readout count as damaged.
        """
        name = evaluation_name(eval_id)
        path = self._stage(key) / name
        if not path.exists():
            return None
        found = verify_owner(path.read_bytes(), key, name)
        if found.problem or not (found.names_owner or self._fits(key, found.value)):
            return None
        rows: list[EvalRow] = found.value
        return rows

    def save_evaluation(self, key: str, eval_id: str, counts: Iterable[EvalCount]) -> None:
        """Store the counts of one readout of a stage."""
        rows, name = [count.row() for count in counts], evaluation_name(eval_id)
        write(self._stage(key) / name, add_owner(rows, key, name))

    def finished(self) -> int:
        """Return the number of finished stages before the first unfinished one."""
        present = [(self._stage(stage.key) / "stage.json").exists() for stage in self.chain]
        return [*present, False].index(False)

    def deltas(self) -> list[State]:
        """Return the tensors that each stage changed, in order.

        Raises `ArchiveError` if a stage is missing or damaged.
        """
        return [self._required_delta(stage) for stage in self.chain]

    def costs(self) -> list[dict[str, JsonValue]]:
        """Return time in seconds and provenance of every stage; empty if they are missing."""
        costs: list[dict[str, JsonValue]] = []
        for stage in self.chain:
            try:
                data = (self._stage(stage.key) / "cost.json").read_bytes()
            except OSError:
                data = b""
            costs.append(stored_cost(data, stage.key, "cost.json"))
        return costs

    def reports(self) -> list[StoredReport]:
        """Return training and method figures of every stage. Raises the errors of `deltas`."""
        reports: list[StoredReport] = []
        for stage in self.chain:
            marker = self._marker(stage.key)
            if marker is None:
                raise self._unfinished(stage)
            reports.append(json.loads(self._payload(stage.key, marker["result"])))
        return reports

    def metrics(self) -> StoredMetrics:
        """Return the stored metrics.

        Raises `ArchiveError` if they are missing, damaged, or of another run.
        """
        path = self.folder / METRICS_FILE
        if not path.exists():
            missing = self.chain[self.finished() :]
            if missing:
                raise self._unfinished(missing[0])
            raise ArchiveError(
                f"{path} is missing. `clmethods train RUN.yaml -o {self.folder}` writes it."
            )
        stored = read_checksummed(path)
        last = self.chain[-1].key
        if stored.get("stage", last) != last:  # earlier versions did not write it
            raise ArchiveError(f"{path} belongs to another run: its last stage has another key.")
        readouts = [readout_from_dict(readout) for readout in stored["readouts"]]
        return StoredMetrics(readouts, stored["splits"])

    def save_metrics(self, metrics: StoredMetrics) -> None:
        """Store accuracy matrices and metrics of the finished run."""
        document = {"stage": self.chain[-1].key, **plain(metrics)}
        write(self.folder / METRICS_FILE, add_checksum(document, readable=True))

    def statistics(self) -> State:
        """Return the stored readout statistics; empty if there are none or if they are damaged."""
        for path in self.folder.glob("statistics-*.safetensors"):
            data = path.read_bytes()
            if sha256(data) == path.stem.split("-", 1)[1]:
                return state_from_bytes(data)
            self.report(f"{path} is damaged: the statistics are recomputed if needed.")
        return {}

    def save_statistics(self, statistics: State) -> None:
        """Store readout statistics of the learned classes, whose images may then be removed."""
        data = state_to_bytes(statistics)
        target = self.folder / f"statistics-{sha256(data)}.safetensors"
        write(target, data)
        for path in self.folder.glob("statistics-*.safetensors"):
            if path != target:
                path.unlink()

    def copy_to(self, folder: Path) -> None:
        """Copy everything that is needed to read or continue the finished run elsewhere."""
        names = [RUN_FILE, METRICS_FILE]
        names += [path.name for path in self.folder.glob("statistics-*.safetensors")]
        names += [HISTORY_FILE] if (self.folder / HISTORY_FILE).exists() else []
        for name in names:
            write(folder / name, (self.folder / name).read_bytes())
        ModelArchive(folder, self.run).copy_stages(self)

    def copy_stages(self, source: ModelArchive) -> None:
        """Copy the finished stages of another archive, including evaluations."""
        for stage in source.chain:
            origin = source._stage(stage.key)
            names = sorted(origin.rglob("*"), key=lambda path: path.name == "stage.json")
            for path in names:
                if path.is_file():
                    write(self._stage(stage.key) / path.relative_to(origin), path.read_bytes())

    def _required_delta(self, stage: StageSpec) -> State:
        delta = self._delta(stage.key)
        if delta is None:
            raise self._unfinished(stage)
        return delta

    def _unfinished(self, stage: StageSpec) -> ArchiveError:
        return ArchiveError(
            f"{self.folder} is not finished: stage {stage.position + 1} of {len(self.chain)}, "
            f"{stage_title(stage.groups)}, is not trained. Repeat the command that started it: "
            "it continues where it stopped."
        )

    def _delta(self, key: str) -> State | None:
        marker = self._marker(key)
        if marker is None:
            return None
        try:
            return state_from_bytes(self._payload(key, marker["state"]))
        except DamagedStateError as error:
            raise ArchiveError(f"{self._stage(key)} is damaged: {error}") from error

    def _marker(self, key: str) -> StageMarker | None:
        path = self._stage(key) / "stage.json"
        if not path.exists():
            return None
        marker: StageMarker = read_checksummed(path)
        if not describes_stage(marker, key):
            raise ArchiveError(f"{path} is damaged: it is the marker of another stage.")
        return marker

    def _fits(self, key: str, rows: object) -> bool:
        """Return True if counts of an earlier version do not contradict the marker."""
        try:
            marker = self._marker(key)
        except ArchiveError:
            return False
        return marker is not None and not stage_contradiction(
            rows, marker["classes"], marker["position"] + len(marker["groups"])
        )

    def _payload(self, key: str, name: str) -> bytes:
        path = self._stage(key) / name
        if not path.exists():
            raise ArchiveError(f"{path} is missing: it is part of a finished stage.")
        data = path.read_bytes()
        if sha256(data) != name.split("-", 1)[1].split(".", 1)[0]:
            raise ArchiveError(
                f"{path} is damaged: its checksum differs from the one in its name."
            )
        return data

    def _set_aside(self, key: str, reason: str) -> None:
        """Move the files of a damaged stage to `damaged/`, the marker first.

        No file is deleted.
        """
        folder = self.folder / "damaged" / key
        target = folder / str(len(list(folder.iterdir())) + 1 if folder.is_dir() else 1)
        target.mkdir(parents=True)
        files = [path for path in self._stage(key).iterdir() if path.is_file()]
        for path in sorted(files, key=lambda path: path.name != "stage.json"):
            path.replace(target / path.name)
        self.report(f"{reason} It was moved to {target} and will be trained again.")

    def _stage(self, key: str) -> Path:
        return self.folder / "stages" / key[:2] / key
