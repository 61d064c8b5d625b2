"""Ray Tune schedules trials; the stage store, not Tune, is the system of record."""
