"""`python -m soak [--minutes M] [--report FOLDER]`: exits 1 when something that was not injected went wrong."""

import argparse
import sys
import tempfile
from pathlib import Path

from soak.report import plot, verdict, write
from soak.run import soaked


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--report", type=Path, default=Path("build/soak"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reidd-") as folder:
        seen = soaked(Path(folder), 60 * given.minutes)
    faults = verdict(seen)
    write(seen, faults, given.report)
    plot(seen, given.report / "soak.png")
    for fault in faults:
        print(f"soak: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
