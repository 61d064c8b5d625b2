"""Output of loggers, read from their own files and stores."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event

Scalars = dict[str, dict[int, float]]


def scalars(folder: Path) -> Scalars:
    """By tag and step, from all event files of a folder; TensorBoard reads them together, too."""
    found: Scalars = defaultdict(dict)
    for file in sorted(folder.glob("events.out.tfevents.*")):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found[value.tag][event.step] = value.simple_value
            data = data[16 + length :]
    return found


def mlflow_runs(mlflow: Any, uri: str) -> dict[str, tuple[dict[str, str], str, Scalars]]:
    """By trial id: parameters, status, and the history of every metric; each trial once."""
    client = mlflow.MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "small"]
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        history: Scalars = {
            name: {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
            for name in run.data.metrics
        }
        assert run.data.params["trial_id"] not in found
        found[run.data.params["trial_id"]] = (run.data.params, run.info.status, history)
    return found


def wandb_runs(folder: Path) -> dict[str, tuple[dict[str, Any], Scalars]]:
    """By trial id: configuration and history, from the files that `wandb sync` would send."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, tuple[dict[str, Any], Scalars]] = {}
    for file in sorted(folder.glob("offline-run-*/run-*.wandb")):
        config: dict[str, Any] = {}
        history: Scalars = defaultdict(dict)
        for record in map(Record.FromString, _leveldb_records(file.read_bytes())):
            for item in [*record.run.config.update, *record.config.update]:
                config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
            for item in record.history.item:
                name = item.key or ".".join(item.nested_key)
                history[name][record.history.step.num] = json.loads(item.value_json)
        found[config["trial_id"]] = config, history
    return found


def _leveldb_records(data: bytes) -> Iterator[bytes]:
    """Records of LevelDB's log format, after the seven bytes with which W&B's file begins."""
    place, whole, block = 7, b"", 32768
    while place < len(data):
        if block - place % block < 7:  # no space for the header of a record
            place += block - place % block
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in {1, 4}:  # full or last fragment
            yield whole
            whole = b""
