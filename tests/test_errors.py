"""Exceptions of both packages have one base class each, and exit codes are declared once."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import sweeps
from clmethods.cli.errors import exit_on_user_error
from clmethods.cli.exit_codes import ExitCode as ClmethodsExitCode
from clmethods.errors import ClmethodsError, InvalidConfigError, machine_error_text
from clmethods.nn.weights import WeightsError
from sweeps.cli.errors import exit_on_user_error as exit_on_sweeps_error
from sweeps.cli.errors import exit_with_code_line
from sweeps.errors import SweepsError
from sweeps.execution.exit_codes import ExitCode as SweepsExitCode
from sweeps.results.parquet_files import DamagedFileError
from sweeps.storage import MissingObjectError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise SystemExit also where Ray is imported, where a command ends its process at once."""
    monkeypatch.setattr("sweeps.cli.errors._leave", sys.exit)


WALK = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        for name, member in vars(importlib.import_module(module.name)).items():
            if isinstance(member, type) and member.__module__ == module.name:
                bases = [base.__name__ for base in member.__mro__]
                if "BaseException" in bases:
                    print(name, bool(member.__doc__), *bases)
"""


@pytest.mark.parametrize(
    ("package", "base", "least"),
    [("clmethods", ClmethodsError, 11), ("sweeps", SweepsError, 18)],
)
def test_every_exception_has_the_base_of_its_package(
    package: str, base: type[Exception], least: int
) -> None:
    """Private exceptions that control the flow inside a module have none."""
    walked = subprocess.run(
        [sys.executable, "-c", WALK, package], capture_output=True, text=True, check=True
    )
    found = [line.split() for line in walked.stdout.splitlines()]
    public = {name: (documented, bases) for name, documented, *bases in found if name[0] != "_"}
    assert len(public) >= least
    assert [name for name, (_, bases) in public.items() if base.__name__ not in bases] == []
    assert [name for name, (documented, _) in public.items() if documented != "True"] == []


def test_one_class_catches_the_errors_of_both_packages() -> None:
    assert issubclass(SweepsError, ClmethodsError)
    assert str(MissingObjectError("a", "/storage")) == "no object a in /storage"
    assert isinstance(MissingObjectError("a", "/storage"), KeyError)  # as callers expect
    with pytest.raises(ClmethodsError, match="DIR: got '/nowhere'"):
        sweeps.load("/nowhere")


@pytest.mark.parametrize("package", ["clmethods", "sweeps"])
def test_the_documented_exit_codes_are_those_of_the_commands(package: str) -> None:
    codes: type[ClmethodsExitCode] | type[SweepsExitCode] = (
        ClmethodsExitCode if package == "clmethods" else SweepsExitCode
    )
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| exit code \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", text)
    assert table == "".join(f"| {int(code)} | {code.meaning} |\n" for code in codes)


def test_the_values_of_exit_codes_never_change() -> None:
    assert [code.value for code in ClmethodsExitCode] == [0, 1, 2, 5]
    assert [code.value for code in SweepsExitCode] == [0, 1, 2, 3, 4, 130]


@pytest.mark.parametrize(
    ("error", "code"),
    [(WeightsError("the file is damaged"), 1), (ClmethodsError("no such model"), 2)],
)
def test_a_known_error_of_clmethods_is_a_message(error: Exception, code: int) -> None:
    @click.command()
    def command() -> None:
        with exit_on_user_error("the run cannot be trained"):
            raise error

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.output) == (code, f"error: {error}\n")


@pytest.mark.parametrize("error", [DamagedFileError("file x is damaged"), WeightsError("no file")])
@pytest.mark.usefixtures("leave")
def test_a_known_error_is_a_message_of_every_sweeps_command(error: Exception) -> None:
    @click.command()
    @exit_on_sweeps_error
    def command() -> None:
        raise error

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.output) == (1, f"error: {error}\n")


@pytest.mark.usefixtures("leave")
def test_a_known_error_of_a_run_is_a_message_with_its_exit_code() -> None:
    @click.command()
    @exit_with_code_line
    def command() -> None:
        raise WeightsError("no file")

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert result.output == "error: no file\nexit code 1: stopped by a WeightsError\n"


MACHINE = [
    (OSError(errno.EROFS, "Read-only file system", "/x"), "Read-only file system (/x)"),
    (PermissionError(errno.EACCES, "Permission denied", "out.csv"), "Permission denied (out.csv)"),
    (ModuleNotFoundError("No module named 'onnx'", name="onnx"), "pip install onnx"),
    (ImportError("libX.so: no file", name="torch._C"), "'torch' cannot be imported: libX.so"),
    (MemoryError(), "not enough memory"),
]


@pytest.mark.parametrize(("error", "text"), MACHINE)
@pytest.mark.usefixtures("leave")
def test_an_error_of_the_machine_is_a_message_of_every_command(
    error: Exception, text: str
) -> None:
    @click.command()
    @exit_on_sweeps_error
    def of_sweeps() -> None:
        raise error

    @click.command()
    def of_clmethods() -> None:
        with exit_on_user_error("the run cannot be trained"):
            raise error

    for command in (of_sweeps, of_clmethods):
        result = CliRunner().invoke(command)
        assert result.exit_code in {1, 2}
        assert text in result.output
        assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EBADF, "Bad file descriptor"),
        FileNotFoundError(errno.ENOENT, "No such file", "x"),
        ModuleNotFoundError("No module named 'sweeps.x'", name="sweeps.x"),
        KeyError("x"),
    ],
)
def test_an_error_that_may_be_a_fault_of_the_program_is_not_one_of_the_machine(
    error: Exception,
) -> None:
    assert machine_error_text(error) is None


def test_an_unknown_error_keeps_its_traceback() -> None:
    @click.command()
    @exit_on_sweeps_error
    def command() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(command).exception, ZeroDivisionError)


def test_the_issues_of_invalid_input_are_listed() -> None:
    @click.command()
    @exit_on_sweeps_error
    def command() -> None:
        raise InvalidConfigError([])

    assert CliRunner().invoke(command).exit_code == 2
