"""LoRA-merge: every task trains a new module, which is then merged (docs/method.md 9.3)."""

from __future__ import annotations

from typing import final

from clmethods.methods.task_modules import TaskModules


@final
class LoraMerge(TaskModules):
    """Sum of the modules of all tasks, without weights, penalty or constraint."""
