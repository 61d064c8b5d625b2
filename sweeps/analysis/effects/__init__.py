"""Effects of hyperparameters, along single axes and along paths."""
