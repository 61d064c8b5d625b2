"""Statistics of crossed designs. Knows arrays, not sweeps."""
