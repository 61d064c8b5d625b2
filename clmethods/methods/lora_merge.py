"""LoRA-merge: after each task the module is merged and a new one begins (docs/method.md 9.3)."""

from __future__ import annotations

from typing import final

from clmethods.methods.task_modules import TaskModules


@final
class LoraMerge(TaskModules):
    """The sum of T modules, without weights, penalty or constraint."""
