"""Effects of hyperparameters: single axes, ablation paths and the cost of early stopping."""
