"""Lines of the model card's tables."""

from collections.abc import Sequence

from training.figures import FALSE_ACCEPT_RATES, Acceptance
from training.measure import Row, trial_names

_SAMPLE = ("sample", "farthest right", "stranger")


def heading(left_out: Sequence[str]) -> str:
    """Head the table; figures are rank-1 / mAP in per cent."""
    return _table_head(["engine", "precision", "mirror", "ms", *trial_names(left_out), *_SAMPLE])


def line(row: Row) -> str:
    """One file, mirror on or off."""
    figures = [f"{r.rank_1:.1f} / {r.mean_average_precision:.1f}" for r in row.rankings.values()]
    sample = ["", "", ""]
    if s := row.sample:
        sample = [f"{s.named_right} of {s.queries}", f"{s.farthest_right:.3f}", f"{s.nearest_stranger:.3f}"]
    mirror = "on" if row.mirror else "off"
    return _cells([row.engine, row.precision, mirror, f"{row.milliseconds:.2f}", *figures, *sample])


def threshold_heading() -> str:
    """Head the open-set table: per cent of same-person pairs accepted, at the distance."""
    return _table_head(["test", "engine", "precision", "mirror", *(f"FAR {rate:g}" for rate in FALSE_ACCEPT_RATES)])


def threshold_lines(row: Row) -> list[str]:
    """One line per test."""
    who = [row.engine, row.precision, "on" if row.mirror else "off"]
    return [_cells([test, *who, *map(_threshold, found)]) for test, found in row.acceptances.items()]


def _threshold(found: Acceptance) -> str:
    return f"{found.true_accept_percent:.1f} at {found.max_distance:.3f}"


def _table_head(names: Sequence[str]) -> str:
    return "\n".join((_cells(names), "|" + "---|" * len(names)))


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
