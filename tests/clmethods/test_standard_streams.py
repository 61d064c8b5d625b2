"""Closed and broken standard streams, with real processes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click
import pytest

from clmethods.standard_streams import output_that_may_end

OPENED = """
import os, sys
from clmethods.standard_streams import open_missing_streams
open_missing_streams()
probe = os.open("/dev/null", os.O_RDONLY)
assert probe > 2, probe
print("to stdout"); sys.stdout.flush()
print("to stderr", file=sys.stderr)
assert sys.stdin.read() == "" or 0 not in {closed}
assert os.system("cat 0<&0 >&1 </dev/null 2>&2") == 0
os._exit(7)
"""


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
def test_missing_descriptors_are_opened(closed: list[int]) -> None:
    redirections = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in closed)
    program = OPENED.replace("{closed}", repr(closed))
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout == ("" if 1 in closed else "to stdout\n")
    assert done.stderr == ("" if 2 in closed else "to stderr\n")


@pytest.mark.parametrize("command", ["clmethods.cli", "sweeps.cli"])
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_both_commands_open_them(command: str, closed: str) -> None:
    """The group opens them before its command runs: a wrong command is refused as ever."""
    program = f"""
import os
import click
from {command} import main
@main.command()
def probe():
    click.echo("out"); click.echo("err", err=True)
    os._exit(7 if os.open("/dev/null", os.O_RDONLY) > 2 else 8)
main(["probe"])
"""
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 7, done.stderr


BROKEN = """
import sys, time
import click
from clmethods.standard_streams import output_that_may_end

@click.command()
@output_that_may_end()
def main():
    click.echo("first")
    sys.stdin.readline()
    for i in range(5000):
        click.echo(f"line {i}")
        click.echo(f"line {i}", err=True)
    print("end"); sys.stdout.write("more")
    with open(sys.argv.pop(), "w") as file:
        file.write("done")
    sys.exit(3)
main(args=[])
"""


@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_goes_away_does_not_end_the_command(tmp_path: Path, both: bool) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", BROKEN, str(tmp_path / "done")],
        stdin=subprocess.PIPE,
        stdout=write,
        stderr=write if both else subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert os.read(read, 100) == b"first\n"
    os.close(read)  # as `head -1` does
    _, errors = process.communicate("go on\n", timeout=120)
    assert process.returncode == 3
    assert (tmp_path / "done").read_text() == "done"
    if not both:
        assert errors.splitlines() == [f"line {i}" for i in range(5000)]


def test_streams_in_memory_stay_as_they_are() -> None:
    text = io.StringIO()
    with redirect_stdout(text), output_that_may_end():
        click.echo("kept")
        assert sys.stdout is text
    assert text.getvalue() == "kept\n"
