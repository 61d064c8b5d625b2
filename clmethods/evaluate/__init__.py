"""Evaluation of a chain through readouts, as counts per class."""

from clmethods.evaluate.eval_count import EvalCount
from clmethods.evaluate.evaluator import Evaluator, StateSource, evaluate_stage

__all__ = ["EvalCount", "Evaluator", "StateSource", "evaluate_stage"]
