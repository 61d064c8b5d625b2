"""The search space: axes, conditions, and the configurations that they make."""
