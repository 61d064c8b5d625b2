"""Effects of the task order: disparity, positions, rankings, variance shares, task similarity."""
