"""The entry point: Ctrl-C while the command line is imported, and after a command has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
"""As the body of a module: Ctrl-C during its import."""

FINDER = f"""
import sys
from importlib.machinery import ModuleSpec

class Finder:
    def __init__(self, module):
        self.module = module
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == self.module else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec({INTERRUPT!r})  # dataclasses use it, and Python remembers where it was interrupted
"""

DURING_IMPORTS = f"""{FINDER}
sys.meta_path.insert(0, Finder("sweeps.cli.commands.status"))
from sweeps.__main__ import main
main(["status", "runs"])
"""

WHILE_A_COMMAND_IMPORTS = f"""{FINDER}
sys.meta_path.insert(0, Finder("sweeps.execution.driver"))
from sweeps.__main__ import main
main(["run", "digits_demo"])
"""

AFTER_THE_END = f"""
import atexit
def interrupt():
    {INTERRUPT}
atexit.register(interrupt)
from sweeps.__main__ import main
main(["plan", "no-such-study"])
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_an_interruption_during_the_imports_is_one_line() -> None:
    ended = run(DURING_IMPORTS)
    assert ended.returncode == 130, ended.stderr
    expected = "exit code 130: interrupted before anything was started"
    assert ended.stderr.strip() == expected
    assert ended.stdout == ""


def test_an_interruption_while_a_command_imports_has_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with `python -m`, where Python itself would end by SIGINT."""
    (tmp_path / "interrupted_program.py").write_text(WHILE_A_COMMAND_IMPORTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    ended = subprocess.run(
        [sys.executable, "-m", "interrupted_program"], capture_output=True, text=True
    )
    assert ended.returncode == 130, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last == "exit code 130: interrupted before the end; the same command continues"


def test_an_interruption_after_the_last_line_changes_nothing() -> None:
    ended = run(AFTER_THE_END)
    assert ended.returncode == 2, ended.stderr
    assert "SWEEP: got 'no-such-study'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "KeyboardInterrupt" not in ended.stderr


def test_an_ignored_interruption_stays_ignored() -> None:
    """A shell starts background jobs with SIGINT ignored."""
    ended = run(f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{DURING_IMPORTS}")
    assert "interrupted" not in ended.stderr
    assert "has no attribute 'status'" in ended.stderr  # the import continued


def test_the_module_is_a_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sweeps", "--version"], capture_output=True, text=True
    )
    assert ended.returncode == 0
    assert "version" in ended.stdout
