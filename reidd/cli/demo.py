"""`reidd demo`: real crops in, names out, and a picture to look at."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show
from reidd.cli.image_files import content, image_files, named
from reidd.cli.question import Question
from reidd.errors import ImageError

if TYPE_CHECKING:
    from reidd.client import Client

TOP_K = 3
HEARD_WITHIN_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Holds gallery/ and queries/ with files ID_*.jpg; id 0 is a stranger."),
    ] = None,
    model: Annotated[str, typer.Option(help="The model to use.")] = "reidd/person",
    picture: Annotated[Path, typer.Option(help="The contact sheet to write.")] = Path("demo.png"),
) -> None:
    """Teach a private daemon six people, and ask who is where.

    It takes images that come with reidd, touches no other gallery, and ends with the command.
    """
    from reidd import places
    from reidd.cli.contact_sheet import write_contact_sheet
    from reidd.cli.private_daemon import private_daemon

    folder = folder or places.sample_folder()
    gallery, queries = _crops(folder / "gallery"), _crops(folder / "queries")
    with private_daemon(model) as client:
        heard = _Listener(client)
        for path in show.progress(gallery, "learning"):
            with named(path):
                client.add_to_gallery(content(path), _true_id(path))
        questions = [_ask(client, path, gallery) for path in show.progress(queries, "asking")]
        events = heard.until(len(gallery) + len(queries))
        pair = f"{client.engine}/{client.accelerator}"
    _print(questions)
    write_contact_sheet(picture, questions)
    known = [q for q in questions if q.true_id]
    strangers = [q for q in questions if not q.true_id]
    out = show.console()
    counted = ", ".join(f"{count} {kind}" for kind, count in events.items())
    out.print(f"{model} on {pair}; heard on the analytics socket: {counted}", highlight=False)
    out.print(f"{picture} shows each query beside its nearest gallery crops", highlight=False)
    if strangers:
        found = sum(q.right for q in strangers)
        out.print(f"{found} of {len(strangers)} images of strangers recognised as unknown", highlight=False)
    out.print(f"{sum(q.right for q in known)} of {len(known)} named right{_doubted(known)}", highlight=False)


class _Listener:
    """Counts the daemon's events by type in a thread of its own, as an analytics consumer would."""

    def __init__(self, client: "Client"):
        self._types: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        endpoint = client.status().analytics
        threading.Thread(target=self._listen, args=(endpoint,), daemon=True).start()
        self._subscribed.wait(5)

    def until(self, count: int) -> "Counter[str]":
        """Wait until so many events were heard, but not for ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._types.total() >= count, HEARD_WITHIN_S)
            return Counter(self._types)

    def _listen(self, endpoint: str) -> None:
        from reidd.client import subscribed

        with subscribed(endpoint) as events:
            self._subscribed.set()
            for event in events:
                with self._changed:
                    self._types[event["type"]] += 1
                    self._changed.notify_all()


def _crops(folder: Path) -> list[Path]:
    files = image_files([str(folder)])
    for file in files:
        if not file.name.split("_")[0].isdecimal():
            raise ImageError(f"{file}: expected a name that begins with an id, ID_*.jpg; id 0 is a stranger")
    return files


def _true_id(path: Path) -> int:
    return int(path.name.split("_")[0])


def _ask(client: "Client", path: Path, gallery: Sequence[Path]) -> Question:
    with named(path):
        answer = client.re_id_image(content(path), top_k=len(gallery))
    # The matrix has one column per instance in order of age, which is the order they were enrolled in.
    nearest: dict[int, tuple[Path, int, float]] = {}
    for distance, crop in sorted(zip(answer.distance_matrix[0].tolist(), gallery, strict=True)):
        nearest.setdefault(_true_id(crop), (crop, _true_id(crop), distance))
    return Question(path, _true_id(path), answer, list(nearest.values())[:TOP_K])


def _doubted(known: Sequence[Question]) -> str:
    """Who was named right, but from too far to be called known."""
    far = sum(q.right and str(q.answer.verdict) == "unknown" for q in known)
    return f", {far} of these from farther than the model's own threshold: `unknown`" if far else ""


def _print(questions: Sequence[Question]) -> None:
    from rich.text import Text

    rows = []
    for q in questions:
        best = q.answer.predictions[0]
        rank = next((p.rank for p in q.answer.predictions if p.id == q.true_id), None)
        mark = Text("✓", "green") if q.right else Text("✗", "red")
        true = q.true_id or "stranger"
        rows.append((q.path.name, true, best.id, "" if rank is None else rank, best.distance, q.answer.verdict, mark))
    show.table(("image", "true id", "named id", "rank of true id", "distance", "verdict", ""), rows)
