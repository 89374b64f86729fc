"""Commands that mend a gallery: the same person under two ids, an image under the wrong one, a change one regrets."""

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidd.cli import show
from reidd.cli.daemon_options import Endpoint, Timeout, client
from reidd.cli.id_argument import Id, IdCommand, IntoId, id_given
from reidd.cli.image_files import content, named

if TYPE_CHECKING:
    from reidd.protocol import ExplanationRecord

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (explain, merge, rename, move, undo, pin, unpin, ttl):
        app.command(cls=IdCommand)(command)


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A JPEG or PNG file.")],
    json: show.Json = False,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Say why an image is taken for the id it is taken for."""
    with client(endpoint, timeout) as daemon:
        with named(image):
            found = daemon.explain(content(image))
        labels = daemon.id_labels()
    if json:
        show.as_json(found and _explanation_json(image, found, labels))
        return
    if found is None:
        show.console().print("the gallery is empty; `reidd add ID IMAGE...` teaches it an id")
        return

    def called(id: int | None) -> str:
        return "none" if id is None else f"{id} {labels.get(id, '')}".strip()

    added = datetime.fromtimestamp(found.time_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    rows = [
        ("nearest id", called(found.id)),
        ("distance (0 to 1)", found.distance / 2),
        ("by instance", f"{found.instance}, added {added}; {found.younger} in the gallery are younger"),
        ("instances of that id", found.instances_of_id),
        ("next id", called(found.runner_up)),
        ("margin to it", None if found.margin is None else found.margin / 2),
    ]
    show.table(("", str(image)), rows)


def _explanation_json(image: Path, found: "ExplanationRecord", labels: dict[int, str]) -> dict[str, Any]:
    """As the table says it, with distances in [0, 1]."""
    return {
        "image": str(image),
        "id": found.id,
        "label": labels.get(found.id),
        "distance": found.distance / 2,
        "instance": found.instance,
        "time_ns": found.time_ns,
        "younger": found.younger,
        "instances_of_id": found.instances_of_id,
        "runner_up": found.runner_up,
        "margin": None if found.margin is None else found.margin / 2,
    }


def merge(id: Id, into: IntoId, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Make all instances of an id another's. For one person under two ids."""
    with client(endpoint, timeout) as daemon:
        daemon.merge(id, into)
        show.console().print(f"id {into} now has {show.counted(daemon.count(into), 'instance')}; id {id} is no more")


def rename(id: Id, into: IntoId, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Give an id another number."""
    with client(endpoint, timeout) as daemon:
        daemon.rename(id, into)
    show.console().print(f"id {id} is now id {into}")


def move(
    instance: Annotated[int, typer.Argument(metavar="INSTANCE", min=1, help="Its number, as `explain` says it.")],
    into: IntoId,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Make one instance another id's. For an image under the wrong id."""
    with client(endpoint, timeout) as daemon:
        daemon.move(instance, into)
    show.console().print(f"instance {instance} is now of id {into}")


def undo(endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Take the latest change of the gallery back.

    A new limit counts as a change too. Run it again for the change before; the daemon remembers up to 32, and none from
    before its start.
    """
    with client(endpoint, timeout) as daemon:
        taken_back = daemon.undo()
        left = f"{show.counted(daemon.count(), 'instance')} of {show.counted(len(daemon.ids()), 'id')}"
    show.console().print(f"taken back: {taken_back}; the gallery has {left}")


def pin(id: Id, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Keep a full gallery from overwriting an id."""
    with client(endpoint, timeout) as daemon:
        daemon.pin(id)
    show.console().print(f"id {id} is pinned")


def unpin(id: Id, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Let a full gallery overwrite an id again."""
    with client(endpoint, timeout) as daemon:
        daemon.unpin(id)
    show.console().print(f"id {id} is pinned no longer")


def ttl(
    time: Annotated[str, typer.Argument(metavar="TIME", help="Of serving, such as 30s, 15m, 2h or 7d; 0 is for ever.")],
    id: Annotated[
        int | None,
        typer.Option(
            "--id",
            metavar="ID",
            parser=id_given,
            help="Only this id; by default all that are not pinned and have no time of their own.",
        ),
    ] = None,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Let instances live for some time only."""
    seconds = _seconds(time)
    with client(endpoint, timeout) as daemon:
        daemon.set_ttl(seconds or None, id)
    whose = "ids without a pin or a time of their own" if id is None else f"id {id}"
    show.console().print(f"instances of {whose} live {f'{time} of serving' if seconds else 'for ever'}")


def _seconds(time: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d*)?)([smhd])", time)
    if found is None and time != "0":
        raise typer.BadParameter(f"{time!r} is no time; expected such as 30s, 15m, 2h, 7d, or 0", param_hint="TIME")
    return float(found[1]) * SECONDS[found[2]] if found else 0.0
