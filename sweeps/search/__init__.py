"""What a sweep trains next, and what no further: decisions as functions of stored figures."""
