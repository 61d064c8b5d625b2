"""From result tables to answers: functions from table to table, without torch or a cluster."""
