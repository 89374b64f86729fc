"""`reidd bench`: figures beside what this very machine could do at best."""

import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show
from reidd.cli.folder_option import folder_option

if TYPE_CHECKING:
    from reidd.client import Client
    from reidd.gallery.bench import Figure


RUSHES = 5
SIZES = (1, 2, 4, 8, 16)
"""Numbers of workers and of threads that are tried, as far as there are cores."""
CLIENTS, ENROLMENT_S = 32, 3.0
LARGE = 100_000

Rows = Annotated[int, typer.Option(min=1, help="Instances in the gallery.")]
Rounds = Annotated[int, typer.Option(min=10, help="Questions of one client to each.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="How long each of five rounds with eight clients takes.")]
Model = Annotated[str, typer.Option(help="The model to use.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Measure on this machine.", no_args_is_help=True)
    group.command()(gallery)
    group.command()(daemon)
    group.command()(workers)
    app.add_typer(group, name="bench")


def gallery(
    folder: Annotated[
        Path | None, folder_option("A folder on the disk to measure; by default the temporary one.")
    ] = None,
    json: show.Json = False,
) -> None:
    """Measure search, enrolment, start and memory of the gallery. Takes a minute or two."""
    from rich.console import Console

    from reidd.cli.private_daemon import private_daemon
    from reidd.gallery.bench import Figure, measured

    scratch = tempfile.TemporaryDirectory(prefix="reidd-bench-", dir=folder)
    with scratch as disk, Console(stderr=True).status("measuring"):
        figures = measured(Path(disk))
        with private_daemon("reidd/person", Path(disk)) as there:
            empty_mib = _beside_ring_mib(there)
            figures.append(
                Figure(
                    "core of a daemon with an empty gallery, beside the ring",
                    empty_mib,
                    "MiB",
                    "below 60",
                    empty_mib < 60,
                )
            )
            figures.append(Figure(f"enrol, {CLIENTS} clients of a daemon, all in Python", _enrolled(there), "rows/s"))
        ready_s, beside_mib = _large_start(Path(disk) / "large")
        figures.append(Figure(f"{LARGE} rows: daemon ready", ready_s, "s", "below 2", ready_s < 2))
        figures.append(Figure(f"{LARGE} rows: its core beside the ring", beside_mib, "MiB"))
    _show(figures, json)


def daemon(
    rows: Rows = 10_000,
    rounds: Rounds = 300,
    seconds: Seconds = 2.0,
    model: Model = "reidd/person",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes, and loops in process.")] = 2,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of each of them.")] = 1,
    json: show.Json = False,
) -> None:
    """Measure what asking a daemon costs beside asking in process. One client turn by turn, then eight together."""
    from reidd.cli.overhead import Setup, comparison

    with comparison(Setup(model, rows, workers, threads)) as compared:
        for _ in show.progress(range(rounds), "one client"):
            compared.ask_in_turn()
        for _ in show.progress(range(RUSHES), "eight clients"):
            compared.rush(seconds)
    _show(compared.figures(), json)


def workers(
    rows: Rows = 10_000,
    rounds: Rounds = 100,
    seconds: Seconds = 2.0,
    model: Model = "reidd/person",
    json: show.Json = False,
) -> None:
    """Measure which numbers of workers and threads suit this machine. Takes half a minute for each of them."""
    from reidd.cli.overhead import Setup, comparison

    cores = len(os.sched_getaffinity(0))
    sizes = [size for size in SIZES if size <= cores]
    setups = [Setup(model, rows, workers, threads) for workers in sizes for threads in sizes]
    lines = []
    for setup in show.progress(setups, "workers x threads"):
        with comparison(setup) as compared:
            for _ in range(rounds):
                compared.ask_in_turn()
            for _ in range(RUSHES):
                compared.rush(seconds)
        lines.append((setup.workers, setup.threads, compared.took_ms[1], compared.per_s[1], compared.per_s[0]))
    columns = ("workers", "threads", "one client, p50 ms", "eight clients, images/s", "loops in process, images/s")
    if json:
        show.as_json([dict(zip(columns, line, strict=True)) for line in lines])
    else:
        show.table(columns, lines)


def _enrolled(daemon: "Client") -> float:
    """How many features a second a daemon stores, of clients that each wait for every answer."""
    import numpy as np

    from reidd.client import Client

    daemon.extract_features(np.zeros((64, 32, 3), np.uint8))  # so that its network has run once
    until, features = time.monotonic() + ENROLMENT_S, np.eye(CLIENTS, daemon.status().dim, dtype=np.float32)

    def enrol(id: int) -> int:
        stored = 0
        with Client(daemon.endpoint) as client:
            while time.monotonic() < until:
                client.add_features_to_gallery(features[id], id)
                stored += 1
        return stored

    with ThreadPoolExecutor(CLIENTS) as clients:
        return sum(clients.map(enrol, range(CLIENTS))) / ENROLMENT_S


def _large_start(folder: Path) -> tuple[float, float]:
    """Seconds until a daemon with a large gallery answers, from its interpreter's start, and MiB beside the ring."""
    from reidd import places
    from reidd.cli.private_daemon import private_daemon
    from reidd.gallery.bench import filled
    from reidd.model import ModelConfig

    model = ModelConfig.from_model_id("reidd/person")
    (folder / "state").mkdir(parents=True)
    filled(folder / "state" / places.STORE, LARGE, dim=model.extras.dim or 0, space=model.feature_space())
    began = time.perf_counter()
    with private_daemon("reidd/person", folder, settings={"capacity": LARGE}) as there:
        took_s = time.perf_counter() - began
        return took_s, _beside_ring_mib(there)


def _beside_ring_mib(daemon: "Client") -> float:
    """What the core of a daemon on this machine keeps in memory beside the ring, which it maps as a whole."""
    status = daemon.status()
    resident_pages = int(Path(f"/proc/{status.pid}/statm").read_text().split()[1])
    return (resident_pages * os.sysconf("SC_PAGE_SIZE") - Path(status.ring).stat().st_size) / 2**20


def _show(figures: "Iterable[Figure]", json: bool) -> None:
    if json:
        show.as_json([figure._asdict() for figure in figures])
        return
    met = {True: "yes", False: "no", None: ""}
    show.table(("what", "value", "unit", "bar", "met"), [(f.what, f.value, f.unit, f.bar, met[f.met]) for f in figures])
