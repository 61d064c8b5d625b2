"""Maintenance of laboratories.

python -m tests.cluster.lab clean       remove what dead runs have left
python -m tests.cluster.lab packages    print the Debian packages that are missing
python -m tests.cluster.lab summary     print what the last run observed; fails if a stage was lost
"""

from __future__ import annotations

import sys

from tests.cluster.lab import records, requirements, summary


def main(arguments: list[str]) -> int:
    if arguments == ["clean"]:
        labs, processes = records.clean()
        sys.stdout.write(f"removed {labs} laboratories, ended {processes} processes\n")
        return 0
    if arguments == ["packages"]:
        sys.stdout.write(" ".join(requirements.missing_packages()) + "\n")
        return 0
    if arguments == ["summary"]:
        text, code = summary.render(summary.read())
        sys.stdout.write(text)
        return code
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
