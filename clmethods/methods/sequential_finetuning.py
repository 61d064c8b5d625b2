"""Sequential fine-tuning of all weights (docs/method.md 9.1): what forgetting looks like."""

from __future__ import annotations

from typing import final

from clmethods.config.methods import SequentialFinetuningConfig
from clmethods.config.run import RunConfig
from clmethods.methods.finetuning import Finetuning
from clmethods.methods.lora import seen_classes, task_head
from clmethods.nn.head import TaskHead


@final
class SequentialFinetuning(Finetuning):
    """Cross-entropy over the task's classes (`local`) or all seen ones (`global`)."""

    def open_head(self) -> TaskHead:
        everything = finetuning_config(self.run).head_loss == "global"
        return task_head(self, seen_classes(self) if everything else None)


def finetuning_config(run: RunConfig) -> SequentialFinetuningConfig:
    """The method's configuration, which must be that of sequential fine-tuning."""
    if not isinstance(run.method, SequentialFinetuningConfig):
        raise TypeError(f"expected sequential_finetuning, got {run.method.kind}")
    return run.method
