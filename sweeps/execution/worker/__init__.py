"""Code that runs in the worker processes of Ray."""
