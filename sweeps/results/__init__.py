"""Results of a sweep: four versioned tables, stored as immutable Parquet parts."""

from sweeps.results.bundles import bundle_key, write_bundle
from sweeps.results.export import export_table
from sweeps.results.merging import Merging, damaged_files, merge_results
from sweeps.results.result_parts import (
    TableRead,
    latest_trials,
    part_key,
    read_table,
    read_tables,
    set_aside,
    trial_part_id,
    write_part,
)
from sweeps.results.rows import InvalidRowsError
from sweeps.results.schema import SCHEMA_VERSION, TABLES, describe

__all__ = [
    "SCHEMA_VERSION",
    "TABLES",
    "InvalidRowsError",
    "Merging",
    "TableRead",
    "bundle_key",
    "damaged_files",
    "describe",
    "export_table",
    "latest_trials",
    "merge_results",
    "part_key",
    "read_table",
    "read_tables",
    "set_aside",
    "trial_part_id",
    "write_bundle",
    "write_part",
]
