"""Statistics of crossed designs, as functions of arrays that do not depend on sweeps."""
