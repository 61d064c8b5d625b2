"""Evaluation of a chain through readouts, as counts per class."""

from clmethods.evaluate.chain_values import StateSource
from clmethods.evaluate.eval_count import EvalCount
from clmethods.evaluate.evaluator import Evaluator, evaluate_stage

__all__ = ["EvalCount", "Evaluator", "StateSource", "evaluate_stage"]
