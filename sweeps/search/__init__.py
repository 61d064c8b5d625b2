"""What a sweep trains next, and what no further, worked out from what is stored."""
