"""`reidd calibrate`: the threshold between known and unknown that suits this site."""

from pathlib import Path
from typing import Annotated

import typer

from reidd.cli import show
from reidd.cli.daemon_options import Endpoint, Timeout, client

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

    In its own gallery: so run it where the daemon runs.
    """
    from reidd import calibration
    from reidd.gallery import Reader

    with client(endpoint, timeout) as daemon:
        status = daemon.status()
    rows = Reader(Path(status.ring), space=bytes.fromhex(status.space)).rows(limit=status.capacity)
    found = calibration.separation(rows.ids, rows.features, progress=lambda blocks: show.progress(blocks, "comparing"))
    suggested = calibration.max_distance_for(found, strangers)
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
    marks = {status.max_distance: "now", suggested: "suggested"}
    columns = ("max distance", "strangers named as somebody", "known, but not named", "")
    instances, known = show.counted(len(rows.ids), "instance"), show.counted(status.id_count, "id")
    show.table(
        columns,
        [
            (r.max_distance, _per_cent(r.false_positive), _per_cent(r.false_negative), marks.get(r.max_distance))
            for r in table
        ],
        title=f"{instances} of {known}, each asked about as if it had not been added",
    )
    if strangers * len(found.others) < 1:
        show.console().print(
            f"{instances} are too few to tell a share of {_per_cent(strangers)}: what is suggested is just below the "
            "distance of the two nearest ids"
        )
    show.console().print(
        f"write `max_distance = {suggested:.3f}` into reidd.toml and restart the daemon, or ask with "
        f"`--max-distance {suggested:.3f}`\n"
        "images of one moment are nearer to each other than to the next day's: calibrate with ids that were added on "
        "several occasions",
        highlight=False,
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"
