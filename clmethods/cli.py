"""The command `clmethods`: one run, without Ray and without a storage."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from clmethods import __version__
from clmethods.config import Fault, InvalidConfigError, ReadoutConfig, run_from_dict
from clmethods.config.methods import METHOD_CONFIGS
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
    from clmethods.sequence import accuracy_matrix, run_sequence

    try:
        run = run_from_dict(_read(file))
        readouts = [ReadoutConfig()]
        if "instance" in METHOD_CONFIGS[run.method.kind].ROUTINGS:
            readouts.append(ReadoutConfig(routing="instance"))
        steps = run_sequence(run, readouts)
    except InvalidConfigError as error:
        click.echo(f"error: {file} cannot be trained", err=True)
        for fault in error.faults:
            click.echo(f"  {fault}", err=True)
        sys.exit(USER_FAULT)
    found: dict[str, Any] = {}
    for readout in readouts:
        matrix = accuracy_matrix(run, steps, readout.readout_id)
        metrics = {name: metric.function(matrix) for name, metric in METRICS.items()}
        found[readout.readout_id] = {"accuracy": matrix, **metrics}
    click.echo(json.dumps(found) if as_json else _text(found, run.stream.order))


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


def _text(found: dict[str, Any], order: tuple[int, ...]) -> str:
    lines: list[str] = []
    for readout, result in found.items():
        lines.append(f"readout {readout}: test accuracy in percent, tasks in the order learned")
        lines.append("after    " + "".join(f"  task {group}" for group in order))
        for position, row in enumerate(result["accuracy"]):
            cells = "".join("       –" if a != a else f"{100 * a:8.1f}" for a in row)  # noqa: RUF001
            lines.append(f"task {order[position] if len(found) else ''}   {cells}")
        for name, metric in METRICS.items():
            value = result[name]
            shown = "–" if value is None else f"{100 * value:.1f}"  # noqa: RUF001
            lines.append(f"  {name:30} {shown:>6}   {metric.definition}")
        lines.append("")
    return "\n".join(lines)
