"""Joint training of all weights on all tasks at once (docs/method.md section 9.2)."""

from __future__ import annotations

from typing import final

from clmethods.methods.finetuning import Finetuning


@final
class JointFull(Finetuning):
    """One stage whose task contains every class: the upper reference of full fine-tuning."""
