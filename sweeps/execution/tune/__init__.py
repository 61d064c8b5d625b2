"""Extensions of Ray Tune: search space, scheduler, callbacks, loggers."""
