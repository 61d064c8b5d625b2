"""Plans of sweeps: stage tree, cost and size forecasts, driver lock, status."""
