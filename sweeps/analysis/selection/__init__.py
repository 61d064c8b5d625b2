"""Selection of one configuration under constraints."""
