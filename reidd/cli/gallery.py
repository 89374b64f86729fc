"""Commands that teach the daemon ids and ask it who somebody is."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidd.cli import show
from reidd.cli.daemon_options import Endpoint, Timeout, client
from reidd.cli.id_argument import Id, IdCommand
from reidd.cli.image_files import content, image_files, named
from reidd.errors import ImageError, RequestError

if TYPE_CHECKING:
    from reidd.client import Client
    from reidd.protocol import IdRecord
    from reidd.results import ReIdentificationResults

IMAGES_AT_ONCE = 32
"""Few enough for a slow board to finish in time, and for the progress bar to move."""

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="JPEG or PNG files, folders, globs.")]
WithForgotten = Annotated[
    bool, typer.Option("--with-forgotten", help="Bring back ids that were forgotten after the file was written, too.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (add, identify, ids, label, remove, clear, limit, save, load):
        app.command(cls=IdCommand)(command)


def add(id: Id, images: Images, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Learn an id from images. Those that cannot be used are named, the others are learned."""
    files = image_files(images)
    groups = [files[at : at + IMAGES_AT_ONCE] for at in range(0, len(files), IMAGES_AT_ONCE)]
    with client(endpoint, timeout) as daemon:
        added = sum(_added(daemon, group, id) for group in show.progress(groups, "adding"))
        show.console().print(f"{show.counted(added, 'image')} added to id {id}, which now has {daemon.count(id)}")
    _end(len(files) - added, len(files))


def identify(
    images: Images,
    top_k: Annotated[int, typer.Option(min=1, help="How many ids to name for each image.")] = 1,
    max_distance: Annotated[
        float | None, typer.Option(min=0, max=1, help="Farther than this is unknown; by default the daemon's own.")
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Ambiguous, when the next id is less than this farther.")
    ] = 0.0,
    json: show.Json = False,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Say who is on images. Names the nearest ids, with distances from 0 (same) to 1."""
    files = image_files(images)
    with client(endpoint, timeout) as daemon:
        answers = _each(
            files,
            "asking",
            lambda path: daemon.re_id_image(content(path), top_k=top_k, max_distance=max_distance, margin=margin),
        )
    if json:
        show.as_json([_answer_json(path, answer) for path, answer in answers])
    elif answers:
        columns = ("image", "rank", "id", "label", "distance", "verdict")
        show.table(columns, [row for path, answer in answers for row in _answer_rows(path, answer)])
    _end(len(files) - len(answers), len(files))


def ids(json: show.Json = False, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """List the ids of the gallery."""
    import msgspec

    with client(endpoint, timeout) as daemon:
        records = daemon.id_records()
    if json:
        show.as_json([msgspec.to_builtins(record) for record in records])
    elif records:
        rows = [(r.id, r.count, r.label, _kept(r)) for r in records]
        show.table(("id", "instances", "label", ""), rows)
    else:
        show.console().print("the gallery is empty; `reidd add ID IMAGE...` teaches it an id")


def label(
    id: Id,
    text: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The id's name; leave it out to take the name away.")
    ] = None,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Name an id for people."""
    with client(endpoint, timeout) as daemon:
        daemon.set_label(id, text or None)
    show.console().print(f"id {id} is now {text!r}" if text else f"id {id} has no label now")


def remove(id: Id, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Remove an id; `undo` brings it back. To erase it for good there is `forget`."""
    with client(endpoint, timeout) as daemon:
        daemon.remove_from_gallery(id)
    show.console().print(f"id {id} is removed; `reidd undo` brings it back")


def clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Remove every id; `undo` brings them back."""
    with client(endpoint, timeout) as daemon:
        count = daemon.count()
        if not count:
            show.console().print("the gallery is empty already")
            return
        if not yes:
            _confirm(f"remove all {show.counted(count, 'instance')}?")
        daemon.clear()
    show.console().print(f"{show.counted(count, 'instance')} removed; `reidd undo` brings them back")


def limit(
    count: Annotated[int, typer.Argument(metavar="COUNT", min=1, help="Instances that an id keeps.")],
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="drop_oldest, drop_latest, drop_random or drop_redundant.")
    ],
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Limit the instances of each id, now and from now on."""
    with client(endpoint, timeout) as daemon:
        dropped = daemon.set_per_id_gallery_limit(count, method)
    gone = f"; dropped {show.counted(dropped, 'instance')} now" if dropped else ""
    show.console().print(f"each id keeps at most {show.counted(count, 'instance')} ({method}){gone}")


def save(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write: features and labels, no images; never encrypted.")
    ],
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Write the gallery to one file."""
    with client(endpoint, timeout) as daemon:
        daemon.save_gallery(path)
        status = daemon.status()
        plain = "; unlike the store it is not encrypted: keep it where only you can read it" if status.encrypted else ""
        show.console().print(f"{show.counted(status.count, 'instance')} written to {path}{plain}")


def load(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What `reidd save` wrote.")],
    with_forgotten: WithForgotten = False,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Add the instances of a saved gallery."""
    with client(endpoint, timeout) as daemon:
        before = daemon.count()
        show.left_out(daemon.load_gallery(path, with_forgotten=with_forgotten))
        show.console().print(f"the gallery had {show.counted(before, 'instance')} and now has {daemon.count()}")


def _confirm(question: str) -> None:
    """Ask, and end the command unless the answer is yes; where nobody is there to answer, say how to do without."""
    try:
        agreed = typer.confirm(question)
    except typer.Abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        raise RequestError("nothing was removed, for nobody is there to say yes; `--yes` does not ask") from None
    if not agreed:
        raise typer.Abort


def _added(daemon: "Client", files: Sequence[Path], id: int) -> int:
    """Add images in one request, which one `undo` takes back; one by one when some of them cannot be used."""
    try:
        daemon.add_to_gallery([content(path) for path in files], id)
    except ImageError:
        return len(_each(files, "adding", lambda path: daemon.add_to_gallery(content(path), id)))
    return len(files)


def _each(files: Sequence[Path], what: str, act: Callable[[Path], Any]) -> list[tuple[Path, Any]]:
    """Do something with each file; one that is refused is named and costs the others nothing."""
    done = []
    for path in show.progress(files, what):
        try:
            with named(path):
                done.append((path, act(path)))
        except ImageError as error:
            sys.stderr.write(f"reidd: {show.printable(str(error))}\n")
    return done


def _kept(record: "IdRecord") -> str:
    """What is special about how long an id is kept."""
    pinned = ["pinned"] if record.pinned else []
    return ", ".join([*pinned, *([] if record.ttl_s is None else [f"lives {record.ttl_s:g} s of serving"])])


def _end(refused: int, total: int) -> None:
    if refused:
        raise RequestError(f"{refused} of {show.counted(total, 'image')} refused")


def _answer_rows(path: Path, answer: "ReIdentificationResults") -> list[tuple[Any, ...]]:
    if not answer.predictions:
        return [(path, None, None, "the gallery is empty", None, answer.verdict)]
    return [
        (path if p.rank == 1 else "", p.rank, p.id, p.label, p.distance, answer.verdict if p.rank == 1 else None)
        for p in answer.predictions
    ]


def _answer_json(path: Path, answer: "ReIdentificationResults") -> dict[str, Any]:
    return {
        "image": str(path),
        "verdict": answer.verdict,
        "duration": answer.duration,
        "predictions": [
            {"id": p.id, "rank": p.rank, "distance": p.distance, "label": p.label} for p in answer.predictions
        ],
    }
