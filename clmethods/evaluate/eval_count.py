"""`EvalCount`: number of correct predictions of one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from clmethods.metrics import EvalRow


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EvalCount:
    """Correct predictions of one class in one split: a row of the table `evals`."""

    split: str
    task: int
    """Index of the class's group; its position depends on the task order."""
    class_id: int
    seen: bool
    n: int
    correct: int | None
    """Among all classes seen so far (class-incremental); None for a class not yet seen."""
    correct_task_given: int
    """Among the classes of its own task (task-incremental)."""
    task_id_correct: int | None
    """Images routed to their own task, before any vote; None if tasks are not inferred."""

    def row(self) -> EvalRow:
        """Return the fields as they are stored."""
        return EvalRow(
            split=self.split,
            task=self.task,
            class_id=self.class_id,
            seen=self.seen,
            n=self.n,
            correct=self.correct,
            correct_task_given=self.correct_task_given,
            task_id_correct=self.task_id_correct,
        )
