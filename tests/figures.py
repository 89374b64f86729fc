"""The figures that the rigs measured, in one table: they note them, and `python tests/figures.py FILE` prints them."""

import json
import os
import sys
from pathlib import Path


def note(what, figure, bar=""):
    """Print a figure and, where `REIDD_FIGURES` names a file, add it to that."""
    print(f"{what}: {figure}" + (f" (bar {bar})" if bar else ""))
    if file := os.environ.get("REIDD_FIGURES"):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"what": what, "figure": str(figure), "bar": str(bar)}) + "\n")


def table(lines):
    """The figures below one another, the latest of each."""
    rows = {row["what"]: row for row in map(json.loads, lines)}
    widths = [max((len(row[key]) for row in rows.values()), default=0) for key in ("what", "figure")]
    return "\n".join(
        f"{row['what']:<{widths[0]}}  {row['figure']:<{widths[1]}}  {row['bar'] and 'bar ' + row['bar']}".rstrip()
        for row in rows.values()
    )


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()))
