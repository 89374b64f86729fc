"""`reidd bench`: figures beside what this very machine could do at best."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show
from reidd.errors import BackendUnavailableError

if TYPE_CHECKING:
    from reidd.client import Client
    from reidd.identifier import Identifier


INSTANCES_PER_ID = 50
CLIENTS, ENROLMENT_S = 32, 3.0
LARGE = 100_000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Measure on this machine.", no_args_is_help=True)
    group.command()(gallery)
    group.command()(daemon)
    app.add_typer(group, name="bench")


def gallery(
    folder: Annotated[
        Path | None, typer.Option(help="A folder on the disk to measure; by default the temporary one.")
    ] = None,
    json: show.Json = False,
) -> None:
    """Measure search, enrolment, start and memory of the gallery; takes a minute or two."""
    from rich.console import Console

    from reidd.cli.private_daemon import private_daemon
    from reidd.gallery.bench import Figure, measured

    scratch = tempfile.TemporaryDirectory(prefix="reidd-bench-", dir=folder)
    with scratch as disk, Console(stderr=True).status("measuring"):
        figures = measured(Path(disk))
        with private_daemon("reidd/person", Path(disk)) as there:
            empty_mib = _resident_mib(there)
            figures.append(
                Figure("core of a daemon with an empty gallery", empty_mib, "MiB", "below 60", empty_mib < 60)
            )
            figures.append(Figure(f"enrol, {CLIENTS} clients of a daemon, all in Python", _enrolled(there), "rows/s"))
        ready_s, beside_mib = _large_start(Path(disk) / "large")
        figures.append(Figure(f"{LARGE} rows: daemon ready", ready_s, "s", "below 2", ready_s < 2))
        figures.append(Figure(f"{LARGE} rows: its core beside the ring", beside_mib, "MiB"))
    if json:
        show.as_json([figure._asdict() for figure in figures])
        return
    met = {True: "yes", False: "no", None: ""}
    show.table(("what", "value", "unit", "bar", "met"), [(f.what, f.value, f.unit, f.bar, met[f.met]) for f in figures])


def daemon(
    rows: Annotated[int, typer.Option(min=1, help="Instances in the gallery.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=10, help="Questions to each.")] = 300,
    model: Annotated[str, typer.Option(help="The model to use.")] = "reidd/person",
    json: show.Json = False,
) -> None:
    """Measure what asking a daemon costs beside asking in this process: one image, one client, turn by turn."""
    import numpy as np

    from reidd import places
    from reidd.cli.private_daemon import private_daemon
    from reidd.reidentification import ReIdentification

    image = next((places.sample_folder() / "queries").glob("*.jpg")).read_bytes()
    with ReIdentification(model, capacity=max(rows, 10_000)) as here, private_daemon(model) as there:
        # The same engine on both sides.
        engine, accelerator = there.engine, there.accelerator
        if engine is None or accelerator is None:
            raise BackendUnavailableError("the private daemon lost its backend; `reidd doctor` looks closer")
        here.load(engine, accelerator)
        dim = here.extract_features(image).shape[1]
        features = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
        for identifier in (here, there):
            for at in range(0, rows, INSTANCES_PER_ID):
                identifier.add_features_to_gallery(features[at : at + INSTANCES_PER_ID], at)
        times_ms = np.array([[_took_ms(identifier, image) for identifier in (here, there)] for _ in range(rounds)])
    here_ms, there_ms = np.median(times_ms, axis=0).tolist()
    figures = {"in process, p50 ms": here_ms, "daemon, p50 ms": there_ms, "ratio": there_ms / here_ms}
    if json:
        show.as_json(figures)
    else:
        show.table(("what", "value"), list(figures.items()))


def _enrolled(daemon: "Client") -> float:
    """How many features a second a daemon stores, of clients that each wait for every answer."""
    import numpy as np

    from reidd import places
    from reidd.client import Client

    daemon.extract_features(np.zeros((64, 32, 3), np.uint8))  # so that its network has run once
    endpoint = daemon.analytics_endpoint().replace(places.ANALYTICS, places.SOCKET)
    until, features = time.monotonic() + ENROLMENT_S, np.eye(CLIENTS, daemon.status().dim, dtype=np.float32)

    def enrol(id: int) -> int:
        stored = 0
        with Client(endpoint) as client:
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
    with private_daemon("reidd/person", folder, capacity=LARGE) as there:
        took_s = time.perf_counter() - began
        return took_s, _resident_mib(there) - Path(there.status().ring).stat().st_size / 2**20


def _resident_mib(daemon: "Client") -> float:
    """What the core of a daemon on this machine keeps in memory, what it maps included."""
    resident_pages = int(Path(f"/proc/{daemon.status().pid}/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _took_ms(identifier: "Identifier", image: bytes) -> float:
    start = time.perf_counter()
    identifier.re_id_image(image)
    return 1000 * (time.perf_counter() - start)
