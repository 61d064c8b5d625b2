"""What Ray Tune calls: search space, scheduler, callbacks, loggers."""
