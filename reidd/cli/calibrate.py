"""`reidd calibrate`: the threshold between known and unknown that suits this site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show
from reidd.cli.daemon_options import Endpoint, Timeout, client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reidd import calibration

SHARES = (0.0, 0.001, 0.01, 0.05, 0.1, 0.2)
"""Of strangers that are named as somebody; a table of what each of them costs."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(calibrate)


def calibrate(
    strangers: Annotated[
        float, typer.Option(min=0, max=1, help="Share of strangers that may be taken for somebody.")
    ] = 0.01,
    json: show.Json = False,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Find this site's threshold between known and unknown.

    It compares the instances of the gallery with each other, so run it where the daemon runs.
    """
    from reidd import calibration
    from reidd.errors import RequestError
    from reidd.gallery import Reader

    with client(endpoint, timeout) as daemon:
        if not daemon.endpoint.startswith("ipc:"):
            # Its gallery is out of reach, and one of the same path and network here would be taken for it.
            raise RequestError(f"{daemon.endpoint} is not on this machine; run `reidd calibrate` where the daemon runs")
        status = daemon.status()
    rows = Reader(Path(status.ring), space=bytes.fromhex(status.space)).rows(limit=status.capacity)
    found = calibration.separation(rows.ids, rows.features, progress=lambda blocks: show.progress(blocks, "comparing"))
    suggested = _suggested(found, strangers)
    told = [share for share in SHARES if share * len(found.others) >= 1 or share == 0]
    thresholds = {calibration.max_distance_for(found, share) for share in told} | {suggested}
    if status.max_distance is not None:
        thresholds.add(status.max_distance)
    table = [calibration.rates(found, one) for one in sorted(thresholds)]
    if json:
        show.as_json(
            {
                "instances": len(rows.ids),
                "ids": status.id_count,
                "max_distance": status.max_distance,
                "suggested": suggested,
                "rates": [rates._asdict() for rates in table],
            }
        )
        return
    instances, known = show.counted(len(rows.ids), "instance"), show.counted(status.id_count, "id")
    asked = "each asked about" if len(found.own) == len(rows.ids) else f"{len(found.own)} of them asked about, each"
    marks = {status.max_distance: "now", suggested: "suggested"}
    _print_table(table, marks, title=f"{instances} of {known}, {asked} as if it had not been added")
    if 0 < strangers * len(found.others) < 1:
        show.console().print(
            f"{len(found.others)} instances are too few to tell a share of {100 * strangers:g} %: what is suggested is "
            "just below the distance of the two nearest ids"
        )
    _print_advice(suggested)


def _suggested(found: "calibration.Separation", strangers: float) -> float:
    from reidd import calibration
    from reidd.errors import RequestError

    if chosen := calibration.max_distance_for(found, strangers):
        return chosen
    raise RequestError(
        f"every threshold names more than {100 * strangers:g} % of strangers, for some images are in two ids: merge "
        "ids that are one person, remove what is wrong, or allow more with --strangers"
    )


def _print_table(table: "Sequence[calibration.Rates]", marks: "Mapping[float | None, str]", *, title: str) -> None:
    columns = ("max distance", "strangers named as somebody", "known, but not named", "")
    rows = [
        (r.max_distance, _per_cent(r.false_positive), _per_cent(r.false_negative), marks.get(r.max_distance))
        for r in table
    ]
    show.table(columns, rows, title=title)


def _print_advice(suggested: float) -> None:
    show.console().print(
        f"write `max_distance = {suggested:.3f}` into reidd.toml and restart the daemon, or ask with "
        f"`--max-distance {suggested:.3f}`\n"
        "images of one moment are nearer to each other than to the next day's: calibrate with ids that were added on "
        "several occasions",
        highlight=False,
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"
