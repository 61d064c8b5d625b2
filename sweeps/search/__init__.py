"""Sequential search: what a sweep wants next, worked out from what is known. No torch, no Ray."""
