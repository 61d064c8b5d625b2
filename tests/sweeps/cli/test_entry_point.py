"""The entry point: Ctrl-C while the command line is imported, and after a command has ended."""

from __future__ import annotations

import signal
import subprocess
import sys

INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
"""As the body of a module: Ctrl-C during its import."""

DURING_IMPORTS = f"""
import sys, types
from importlib.machinery import ModuleSpec

class Finder:  # the last module that the command line imports, or nearly
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "sweeps.cli.commands.status" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        {INTERRUPT}

sys.meta_path.insert(0, Finder())
from sweeps.__main__ import main
main(["schema"])
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


def test_an_interruption_after_the_last_line_changes_nothing() -> None:
    ended = run(AFTER_THE_END)
    assert ended.returncode == 2, ended.stderr
    assert "SWEEP: got 'no-such-study'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "KeyboardInterrupt" not in ended.stderr


def test_an_ignored_interruption_stays_ignored() -> None:
    """A shell starts background jobs so; a test of the handler alone would not show it."""
    ended = run(
        f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{DURING_IMPORTS}"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    assert ended.returncode != 130
    assert ended.returncode != -signal.SIGINT


def test_the_module_is_a_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sweeps", "--version"], capture_output=True, text=True
    )
    assert ended.returncode == 0
    assert "version" in ended.stdout
