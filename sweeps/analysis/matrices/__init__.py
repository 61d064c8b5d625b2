"""Weight matrices: importance, freezing and drift."""
