"""Sequential fine-tuning of all weights (docs/method.md section 9.1): the lower reference."""

from __future__ import annotations

from typing import final

from clmethods.config.methods import SequentialFinetuningConfig
from clmethods.methods.base import method_config
from clmethods.methods.finetuning import Finetuning
from clmethods.methods.lora import seen_classes, task_head
from clmethods.nn.head import TaskHead


@final
class SequentialFinetuning(Finetuning):
    """Cross-entropy over the task's classes (`local`) or all seen classes (`global`)."""

    def open_head(self) -> TaskHead:
        all_seen = method_config(self.run, SequentialFinetuningConfig).head_loss == "global"
        return task_head(self, seen_classes(self) if all_seen else None)
