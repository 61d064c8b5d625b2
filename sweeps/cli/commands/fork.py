"""`sweeps fork`: new sweep file that continues a stored chain from one of its stages."""

from __future__ import annotations

import re
from pathlib import Path

import click

from clmethods.errors import refuse, require
from sweeps.cli.errors import exit_on_user_error, report_left_out
from sweeps.cli.locate import new_sweep_file_faults, open_stored_sweep
from sweeps.cli.shared_options import new_sweep_file_option


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--trial", "which", required=True, metavar="ID", help="The id of a trial, or its beginning."
)
@click.option(
    "--stage", required=True, type=click.IntRange(min=1), help="Number of stages to share."
)
@new_sweep_file_option
@exit_on_user_error
def fork(directory: str, which: str, stage: int, output: Path) -> None:
    """Write a sweep file that continues a trial from its stage K.

    Its comments list the fields that can change without losing the shared stages. Run the new file
    on the same storage.
    """
    from sweeps.definition.derive.fork import fork_text
    from sweeps.definition.trial_patterns import chosen_trials
    from sweeps.results.export import write_complete
    from sweeps.search.stored_observations import read_step
    from sweeps.stages.stage_store import StageStore

    stored = open_stored_sweep(directory)
    step, left_out = read_step(stored.sweep, stored.objects)
    report_left_out(left_out)
    trials = step.trials
    chosen = chosen_trials(trials, [which], "--trial")
    found = [trial for trial in trials if trial.trial_id in chosen]
    trial, length = found[0], len(found[0].chain)
    store = StageStore(stored.objects, click.echo)
    missing = [s.position + 1 for s in trial.chain[:stage] if not store.has(s.key)]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", output.stem).strip("-_") or "fork"
    refuse(
        [
            require(len(found) == 1, "--trial", which, f"one trial, not {len(found)}"),
            require(stage <= length, "--stage", stage, f"1 to {length}, the stages of the trial"),
            require(
                not missing,
                "--stage",
                stage,
                f"a stage that is stored, with all before it; stages {missing} are not",
                "Run the sweep first.",
            ),
            *new_sweep_file_faults(output),
        ]
    )
    text = fork_text(stored.sweep, trial, stage, name).encode()
    write_complete(output, lambda place: place.write_bytes(text))
    storage = directory.rstrip("/").split("/sweeps/")[0]
    click.echo(f"{output}  a sweep named {name}, from stage {stage} of {trial.name}")
    click.echo(f"next       change what acts later, then sweeps run {output} --storage {storage}")
