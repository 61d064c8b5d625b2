"""Task orders: how much they matter, and to what."""
