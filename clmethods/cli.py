"""The command `clmethods`: one run, without Ray and without a storage."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from clmethods import __version__
from clmethods.config import Fault, InvalidConfigError, ReadoutConfig, run_from_dict
from clmethods.metrics import METRICS

USER_FAULT = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Continual learning with LoRA on a frozen Vision Transformer."""


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def train(file: Path, as_json: bool) -> None:
    """Train the run that FILE (YAML or JSON) describes, task after task, and evaluate it.

    FILE has the sections backbone, stream, method and train, and the field seed; what is left out
    takes its default.
    """
    from clmethods.data.source import DatasetError
    from clmethods.nn.backbone import WeightsError
    from clmethods.sequence import accuracy_matrix, run_sequence
    from clmethods.stage import DivergedError

    try:
        run = run_from_dict(_read(file))
        readouts = [ReadoutConfig()]
        if "instance" in run.method.ROUTINGS:
            readouts.append(ReadoutConfig(routing="instance"))
        steps = run_sequence(run, readouts)
    except InvalidConfigError as error:
        click.echo(f"error: {file} cannot be trained", err=True)
        for fault in error.faults:
            click.echo(f"  {fault}", err=True)
        sys.exit(USER_FAULT)
    except (DatasetError, WeightsError, DivergedError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    found: dict[str, Any] = {}
    for readout in readouts:
        matrix = accuracy_matrix(run, steps, readout.readout_id)
        metrics = {name: metric.function(matrix) for name, metric in METRICS.items()}
        shown = [[None if math.isnan(a) else a for a in row] for row in matrix]
        found[readout.readout_id] = {"accuracy": shown, **metrics}
    names = [f"task {group}" for group in run.stream.order]
    learned = names if len(steps) == len(names) else ["all tasks"]
    click.echo(json.dumps(found) if as_json else _text(found, names, learned))


def _read(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        fault = Fault("FILE", str(file), "a file that can be read", f"{error.strerror}.")
        raise InvalidConfigError([fault]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidConfigError([Fault("FILE", str(file), f"YAML or JSON: {reason}")]) from error
    if not isinstance(data, dict):
        raise InvalidConfigError([Fault("FILE", data, "a mapping of sections")])
    return data


def _text(found: dict[str, Any], names: list[str], learned: list[str]) -> str:
    lines: list[str] = []
    for readout, result in found.items():
        lines.append(f"readout {readout}: test accuracy in percent, tasks in the order learned")
        lines.append("after     " + "".join(f"{name:>8}" for name in names))
        for name, row in zip(learned, result["accuracy"], strict=True):
            lines.append(f"{name:10}" + "".join(f"{_percent(a):>8}" for a in row))
        for name, metric in METRICS.items():
            lines.append(f"  {name:30}{_percent(result[name]):>6}   {metric.definition}")
        lines.append("")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
