"""How the command line shows things: tables for people, JSON for programs, progress on long work."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

_T = TypeVar("_T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def console() -> "Console":
    """The terminal; wide where there is none, so that nothing is cut in a log."""
    from rich.console import Console

    # What is shown is anybody's text: a label such as "[/x]" or ":bell:" is no markup.
    return Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print rows under column names; numbers are set to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    kept = [list(row) for row in rows]
    out, shown = console(), Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    widths: list[int | None] = []
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], (int, float)) for row in kept) and bool(kept)
        shown.add_column(printable(name), justify="right" if numeric else "left", overflow="fold")
        widths.append(max(4, *(len(cell_text(row[index])) for row in kept)) if numeric else None)
    for row in kept:
        shown.add_row(*(cell if isinstance(cell, Text) else cell_text(cell) for cell in row))
    if out.measure(shown, options=out.options.update(max_width=1000)).maximum > out.width:
        # Words may be folded, but half a number is another number: rather the terminal breaks the line.
        for column, width in zip(shown.columns, widths, strict=True):
            column.width = width
        out.width = max(out.width, sum(width or 1 for width in widths) + 3 * len(widths) + 1)
    out.print(shown)


def cell_text(value: Any) -> str:
    """A table's cell: distances with three decimals, nothing for None."""
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))


def printable(text: str) -> str:
    """Text that does nothing to a terminal, for labels are anybody's: what is no letter is shown by its number."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def counted(count: int, noun: str) -> str:
    """Say how many things there are: "1 id", "2 ids"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def as_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def left_out(ids: Sequence[int]) -> None:
    """Name the ids of a backup that were not brought back."""
    if ids:
        named = ", ".join(map(str, ids))
        sys.stderr.write(f"reidd: left out, because they were forgotten here: {named} (--with-forgotten brings back)\n")


def progress(items: Sequence[_T], what: str) -> Iterable[_T]:
    """Go through items under a progress bar, which shows only on a terminal and only when there are several."""
    if len(items) < 2 or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, what, console=Console(stderr=True), transient=True)
