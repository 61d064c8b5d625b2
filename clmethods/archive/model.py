"""A run in a directory: what `clmethods train -o` leaves behind, and goes on from.

    run.json                                  the resolved run, its stage keys, who began it
    stages/KK/KEY/state-SHA.safetensors       the tensors that the stage changed
                  result-SHA.json             its figures: losses, norms, matrices
                  cost.json                   seconds, host, versions
                  stage.json                  written last: the stage exists
                  evals/EVAL_ID.json          counts of one readout
    damaged/KEY/N/...                         what was moved aside because its bits had changed
    metrics.json                              accuracy matrices and metrics of the finished run
    statistics-SHA.safetensors                what its readouts keep of the classes learned

The stages are laid out as a sweep's store lays them out, so the files of either can be used in the
other. Payloads are named by their content; every file is written aside and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from clmethods.archive.document import RUN_FILE, check_keys, read_run, refuse_another, write_run
from clmethods.archive.files import ArchiveError, stage_files, write
from clmethods.archive.metrics import StoredMetrics
from clmethods.checkpoint import DamagedStateError, state_from_bytes, state_to_bytes
from clmethods.checksummed_json import sealed, sha256, unsealed
from clmethods.config import (
    RunConfig,
    StageSpec,
    canonical_json,
    readout_from_dict,
    resolve,
    stage_chain,
)
from clmethods.evaluate import EvalCount
from clmethods.methods import State
from clmethods.training.stage import StageOutcome

METRICS_FILE = "metrics.json"
CARRIED = "chain"
"""Where an export carries the model directory that it was made from."""


@final
class ModelArchive:
    """One run's stages. Training passes over damage and computes again; reading refuses it."""

    def __init__(
        self, folder: Path, run: RunConfig, report: Callable[[str], None] = lambda message: None
    ) -> None:
        self.folder, self.run, self.report = folder, run, report
        self.chain = stage_chain(run)

    @classmethod
    def create(
        cls, folder: Path, run: RunConfig, report: Callable[[str], None] = lambda message: None
    ) -> ModelArchive:
        """The archive of `run` in `folder`, begun or gone on with.

        Raises `ArchiveError` if the folder holds another run, or other files.
        """
        run = resolve(run)
        if (folder / RUN_FILE).exists():
            refuse_another(folder, run)
            check_keys(folder, run)
        elif folder.is_dir() and any(folder.iterdir()):
            raise ArchiveError(
                f"{folder} holds files that are not a model ({RUN_FILE} is missing). Name a new "
                "or an empty directory."
            )
        else:
            write_run(folder, run)
        return cls(folder, run, report)

    @classmethod
    def open(cls, folder: Path, weights: str | None = None) -> ModelArchive:
        """The archive in `folder`, or the one that an export in it carries.

        Raises as `read_run` does.
        """
        carried = folder / CARRIED
        if not (folder / RUN_FILE).exists() and (folder / "export.json").exists():
            if not (carried / RUN_FILE).exists():
                raise ArchiveError(
                    f"{folder} is an export without its chain (--no-chain), so nothing can go on "
                    "from it. Use the model directory that it was made from, or export it again."
                )
            folder = carried
        return cls(folder, read_run(folder, weights))

    def load_delta(self, key: str) -> State | None:
        """The tensors of a finished stage; None if it is absent or was damaged and set aside."""
        try:
            return self._delta(key)
        except ArchiveError as error:
            self._set_aside(key, str(error))
            return None

    def save(self, stage: StageSpec, outcome: StageOutcome, cost: dict[str, object]) -> None:
        """Keep a finished stage: payloads first, the marker last."""
        files, where = stage_files(stage, outcome), self._stage(stage.key)
        write(where / files.marker["state"], files.state)
        write(where / files.marker["result"], files.result)
        write(where / "cost.json", canonical_json(cost).encode())
        write(where / "stage.json", sealed(files.marker))

    def evaluation(self, key: str, eval_id: str) -> list[dict[str, Any]] | None:
        """Counts of one readout of a stage; None if they are absent or were damaged."""
        path = self._stage(key) / "evals" / f"{eval_id}.json"
        rows: list[dict[str, Any]] | None = unsealed(path.read_bytes()) if path.exists() else None
        return rows

    def save_evaluation(self, key: str, eval_id: str, counts: Iterable[EvalCount]) -> None:
        """Keep the counts of one readout of a stage."""
        rows = [asdict(count) for count in counts]
        write(self._stage(key) / "evals" / f"{eval_id}.json", sealed(rows))

    def finished(self) -> int:
        """Number of stages, from the first on, that are there."""
        present = [(self._stage(stage.key) / "stage.json").exists() for stage in self.chain]
        return [*present, False].index(False)

    def deltas(self) -> list[State]:
        """What each stage changed, in order.

        Raises `ArchiveError` if a stage is missing or damaged.
        """
        return [self._whole(stage) for stage in self.chain]

    def costs(self) -> list[dict[str, Any]]:
        """Seconds and provenance of every stage; empty where they were lost."""
        found: list[dict[str, Any]] = []
        for stage in self.chain:
            try:
                cost = json.loads((self._stage(stage.key) / "cost.json").read_bytes())
            except (OSError, ValueError):
                cost = {}
            found.append(cost if isinstance(cost, dict) else {})
        return found

    def reports(self) -> list[dict[str, Any]]:
        """Training and method figures of every stage. Raises `ArchiveError` as `deltas` does."""
        found: list[dict[str, Any]] = []
        for stage in self.chain:
            marker = self._marker(stage.key)
            if marker is None:
                raise self._unfinished(stage)
            found.append(json.loads(self._payload(stage.key, marker["result"])))
        return found

    def metrics(self) -> StoredMetrics:
        """What `save_metrics` wrote. Raises `ArchiveError` if it is missing or damaged."""
        path = self.folder / METRICS_FILE
        if not path.exists():
            missing = self.chain[self.finished() :]
            if missing:
                raise self._unfinished(missing[0])
            raise ArchiveError(
                f"{path} is missing. `clmethods train RUN.yaml -o {self.folder}` writes it again."
            )
        found = unsealed(path.read_bytes())
        if found is None:
            raise ArchiveError(f"{path} is damaged: its checksum does not fit its content.")
        readouts = [readout_from_dict(readout) for readout in found["readouts"]]
        return StoredMetrics(readouts, found["splits"])

    def save_metrics(self, metrics: StoredMetrics) -> None:
        """Accuracy matrices and metrics of the finished run."""
        write(self.folder / METRICS_FILE, sealed(metrics, readable=True))

    def statistics(self) -> State:
        """What `save_statistics` kept; nothing if it kept nothing, or what it kept was damaged."""
        for path in self.folder.glob("statistics-*.safetensors"):
            data = path.read_bytes()
            if sha256(data) == path.stem.split("-", 1)[1]:
                return state_from_bytes(data)
            self.report(f"{path} is damaged: the statistics are computed again where needed.")
        return {}

    def save_statistics(self, statistics: State) -> None:
        """Keep what readouts need of the classes learned, whose images may go."""
        data = state_to_bytes(statistics)
        kept = self.folder / f"statistics-{sha256(data)}.safetensors"
        write(kept, data)
        for path in self.folder.glob("statistics-*.safetensors"):
            if path != kept:
                path.unlink()

    def copy_to(self, folder: Path) -> None:
        """All that another place needs to read the finished run or to go on from it."""
        names = [RUN_FILE, METRICS_FILE]
        names += [path.name for path in self.folder.glob("statistics-*.safetensors")]
        for name in names:
            write(folder / name, (self.folder / name).read_bytes())
        ModelArchive(folder, self.run).copy_stages(self)

    def copy_stages(self, source: ModelArchive) -> None:
        """Take over the finished stages of another archive, evaluations included."""
        for stage in source.chain:
            origin = source._stage(stage.key)
            names = sorted(origin.rglob("*"), key=lambda path: path.name == "stage.json")
            for path in names:
                if path.is_file():
                    write(self._stage(stage.key) / path.relative_to(origin), path.read_bytes())

    def _whole(self, stage: StageSpec) -> State:
        delta = self._delta(stage.key)
        if delta is None:
            raise self._unfinished(stage)
        return delta

    def _unfinished(self, stage: StageSpec) -> ArchiveError:
        return ArchiveError(
            f"{self.folder} is not finished: task {stage.position + 1} of {len(self.chain)} is "
            f"not trained. Give the command that began it again: it goes on where it stopped."
        )

    def _delta(self, key: str) -> State | None:
        marker = self._marker(key)
        if marker is None:
            return None
        try:
            return state_from_bytes(self._payload(key, marker["state"]))
        except DamagedStateError as error:
            raise ArchiveError(f"{self._stage(key)} is damaged: {error}") from error

    def _marker(self, key: str) -> dict[str, Any] | None:
        path = self._stage(key) / "stage.json"
        if not path.exists():
            return None
        marker: dict[str, Any] | None = unsealed(path.read_bytes())
        if marker is None or marker.get("key") != key:
            raise ArchiveError(f"{path} is damaged: its checksum does not fit its content.")
        return marker

    def _payload(self, key: str, name: str) -> bytes:
        path = self._stage(key) / name
        if not path.exists():
            raise ArchiveError(f"{path} is missing: the stage was written with it.")
        data = path.read_bytes()
        if sha256(data) != name.split("-", 1)[1].split(".", 1)[0]:
            raise ArchiveError(f"{path} is damaged: it does not have the checksum in its name.")
        return data

    def _set_aside(self, key: str, reason: str) -> None:
        """Move a damaged stage out of the way, the marker first; nothing is deleted."""
        kept = self.folder / "damaged" / key
        target = kept / str(len(list(kept.iterdir())) + 1 if kept.is_dir() else 1)
        target.mkdir(parents=True)
        files = [path for path in self._stage(key).iterdir() if path.is_file()]
        for path in sorted(files, key=lambda path: path.name != "stage.json"):
            path.replace(target / path.name)
        self.report(f"{reason} It was moved to {target} and is trained again.")

    def _stage(self, key: str) -> Path:
        return self.folder / "stages" / key[:2] / key
