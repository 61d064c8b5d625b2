"""Weight matrices: importance, freezing, drift."""
