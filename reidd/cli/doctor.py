"""`reidd doctor`: what is wrong with this machine, and what to type next."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show
from reidd.cli.daemon_options import ConfigFile, Endpoint
from reidd.cli.finding import Finding
from reidd.cli.model_findings import look_at_model
from reidd.errors import ReiddError

if TYPE_CHECKING:
    from reidd.daemon.config import Config
    from reidd.engines import Accelerator, Engine
    from reidd.plugins import InstalledPair
    from reidd.protocol import StatusReply

MIN_ZMQ = (4, 3, 3)
MIN_OPENCV = (4, 12)
PLAIN = (
    "not encrypted on the disk; `reidd install-service --encryption` changes that or, where it is no service, a key by "
    "`reidd keys gallery FILE` that reidd.toml names as gallery_key"
)
EARLIEST = 1_700_000_000  # 2023: a clock before that was never set


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    config: ConfigFile = None,
    model: Annotated[str | None, typer.Option(help="The model to check; by default the configured one.")] = None,
    json: show.Json = False,
    endpoint: Endpoint = None,
) -> None:
    """Check everything reidd needs. Ends with status 1 when something is wrong."""
    from reidd import places
    from reidd.cli.fatal_plugins import fatal_plugins

    chosen, findings = _configuration(config)
    endpoint = endpoint or places.default_endpoint()
    status = _status(endpoint)
    looks: list[Callable[[], Iterator[Finding]]] = [partial(look, chosen) for look in (_folders, _keys, _gallery_key)]
    fatal = fatal_plugins()
    findings += [Finding(f"plugin {problem.plugin}", False, problem.reason) for problem in fatal]
    if not fatal:
        looks = [_libraries, partial(_engines, chosen), *looks]
        served = None if isinstance(status, ReiddError) else status.model
        looks += [partial(look_at_model, model or chosen.model, chosen, _at_work(status), served=served)]
    looks = [_system, *looks, partial(_daemon, endpoint, status)]
    findings += [finding for look in looks for finding in _looked(look)]
    if json:
        show.as_json([finding._asdict() for finding in findings])
    else:
        from rich.text import Text

        marks = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("•", "yellow")}
        show.table(("", "what", "finding"), [(marks[f.fine], f.what, f.words) for f in findings])
    if any(f.fine is False for f in findings):
        raise typer.Exit(1)


def _looked(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # a doctor that falls ill says so and goes on
        what = getattr(look, "func", look).__name__.strip("_")
        found.append(Finding(what, False, f"could not be checked: {type(error).__name__}: {error}"))
    return found


def _configuration(given: Path | None) -> "tuple[Config, list[Finding]]":
    """What is configured, or the defaults where that is wrong."""
    from reidd import places
    from reidd.daemon.config import Config, found, parse

    path = found(given, places.configuration_files())
    if path is None:
        return Config(), [Finding("configuration", True, "no file, so the defaults hold")]
    try:
        return parse(path), [Finding("configuration", True, str(path))]
    except ReiddError as error:
        return Config(), [Finding("configuration", False, str(error))]


def _system() -> Iterator[Finding]:
    yield Finding("system", None, f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} cores")
    fine = sys.version_info >= (3, 10)
    yield Finding("python", fine, platform.python_version() + ("" if fine else "; reidd needs 3.10 or newer"))
    late = time.time() > EARLIEST
    yield Finding("clock", late or None, "set" if late else "not set yet: times in events are wrong, nothing else is")
    # XNNPACK turns itself off without it, and TFLite then is four times slower.
    readable = os.access("/proc/cpuinfo", os.R_OK)
    words = "readable" if readable else "unreadable: TFLite runs slowly; remove ProcSubset=pid from the unit"
    yield Finding("/proc/cpuinfo", readable, words)


def _libraries() -> Iterator[Finding]:
    import zmq

    from reidd.plugins import Registry

    fine = zmq.zmq_version_info() >= MIN_ZMQ
    yield Finding("libzmq", fine, zmq.zmq_version() + ("" if fine else "; too old: pip install -U pyzmq"))
    try:
        import cv2
    except ImportError as error:
        # A board's own OpenCV may be of before numpy 2; pip's would take its place, and has no CUDA.
        advice = "pip install 'numpy<2'" if "numpy" in str(error) else "pip install 'reidd[opencv]'"
        yield Finding("OpenCV", False, f"images are read with it, and it cannot be imported: {error}: {advice}")
    else:
        new = tuple(int(n) for n in cv2.__version__.split(".")[:2]) >= MIN_OPENCV
        old = "; before 4.12 damaged JPEGs may decode to old pixels: unless it is the board's own, "
        old += "pip install -U opencv-python-headless"
        yield Finding("OpenCV", True if new else None, cv2.__version__ + ("" if new else old))
    registry = Registry()
    yield from (Finding(f"plugin {p.plugin}", False, p.reason) for p in registry.problems)
    for pair in registry.pairs():
        fine_or_absent = True if pair.obstacle is None else None
        yield Finding(str(pair), fine_or_absent, pair.obstacle or "installed")


def _engines(chosen: "Config") -> Iterator[Finding]:
    """Whether a configured pair is not ready here; no fault while another one is."""
    from reidd.plugins import Registry

    pairs = Registry().pairs()
    wanted = [(p.engine, p.accelerator) for p in chosen.engines if not p.optional]
    found = {(engine, accelerator): _obstacle(pairs, engine, accelerator) for engine, accelerator in wanted}
    missing = [f"{engine}/{accelerator}: {why}" for (engine, accelerator), why in found.items() if why]
    if missing:
        none = len(missing) == len(found)
        yield Finding("engines", False if none else None, f"configured, but not ready here: {'; '.join(missing)}")


def _obstacle(pairs: "Sequence[InstalledPair]", engine: "Engine", accelerator: "Accelerator") -> str | None:
    """What is in the way of a configured pair; `DEFAULT` is any of the engine's."""
    meant = [p for p in pairs if p.engine == engine and accelerator in (p.accelerator, "DEFAULT")]
    if any(p.obstacle is None for p in meant):
        return None
    return meant[0].obstacle if meant else "no installed plugin brings it"


def _folders(chosen: "Config") -> Iterator[Finding]:
    for what, folder in (("runtime folder", chosen.runtime), ("state folder", chosen.state)):
        # os.path, for Path.exists raises where a folder above may not be looked into.
        nearest = next(p for p in (folder, *folder.parents) if os.path.exists(p))  # noqa: PTH110
        fine = os.access(nearest, os.W_OK | os.X_OK)
        words = f"{folder}" + ("" if nearest == folder else " (made when the daemon starts)")
        yield Finding(what, fine or None, words if fine else f"{folder}: this user cannot write to {nearest}")


def _keys(chosen: "Config") -> Iterator[Finding]:
    """Whether somebody, and only somebody with a key, would be let in over tcp."""
    from reidd.keys import SERVER, Keyring, daemon_of

    if chosen.tcp is None:
        return
    path = chosen.keys / SERVER
    try:
        users = Keyring.read(chosen.keys).users
    except ReiddError as error:
        yield _refused("keys", path, error)
    else:
        yield Finding("keys", True, f"{chosen.tcp}: {len(users)} let in")
        # As a reidd of old made it.
        if path.stat().st_mode & 0o040 and (daemon := daemon_of(chosen.keys)) is not None:
            words = f"{path}: whoever is in its group can pass for the daemon"
            yield Finding("server key", False, f"{words}; `chown {daemon} {path} && chmod 600 {path}`")
    there = find_spec("nacl") is not None
    yield Finding("PyNaCl", there, "encrypts tcp" if there else "tcp takes it: pip install 'reidd[tcp]'")


def _gallery_key(chosen: "Config") -> Iterator[Finding]:
    """Whether the stored gallery can be encrypted as configured; whether it is, the daemon knows."""
    from reidd.gallery import key
    from reidd.gallery.cipher import Cipher

    if chosen.gallery_key is None:
        return
    path = Path(chosen.gallery_key)
    # The daemon's user, whose the state folder is, may be another than this one, as when root asks.
    daemon = chosen.state.stat().st_uid if os.path.exists(chosen.state) else None  # noqa: PTH110
    try:
        Cipher(key.read(path, owner=daemon), b"")
    except ReiddError as error:
        yield _refused("gallery key", path, error)
    else:
        yield Finding("gallery key", True, chosen.gallery_key)


def _refused(what: str, path: Path, error: ReiddError) -> Finding:
    """A key that was refused; no fault when only this user may not read it."""
    hidden = os.path.exists(path) and not os.access(path, os.R_OK)  # noqa: PTH110
    return Finding(what, None if hidden else False, f"{error}; ask as root" if hidden else str(error))


def _status(endpoint: str) -> "StatusReply | ReiddError":
    """What the daemon says of itself, or why it says nothing."""
    from reidd.client import Client

    try:
        with Client(endpoint, timeout=1.0) as client:
            return client.status()
    except ReiddError as error:
        return error


def _at_work(status: "StatusReply | ReiddError") -> "set[tuple[Engine, Accelerator]]":
    """The pairs that the daemon's workers run; `DEFAULT` may be any of the engine's."""
    from reidd.engines import Accelerator

    pairs = [] if isinstance(status, ReiddError) else [p for p in status.pairs if p.workers]
    return {(p.engine, a) for p in pairs for a in Accelerator if p.accelerator in (a, Accelerator.DEFAULT)}


def _daemon(endpoint: str, status: "StatusReply | ReiddError") -> Iterator[Finding]:
    from reidd.channel import obstacle
    from reidd.errors import ConnectionError

    if isinstance(status, ConnectionError) and endpoint.startswith("ipc://") and obstacle(endpoint) is None:
        words = f"{endpoint}: takes connections, and answers nobody: it starts, is very busy, or hangs; its log says"
        yield Finding("daemon", False, f"{words} which: `journalctl -u reidd`; `systemctl restart reidd` ends a hang")
        return
    if isinstance(status, ReiddError):
        yield Finding("daemon", None, str(status))
        return
    pair = f"{status.engine}/{status.accelerator}"
    yield Finding(
        "daemon", True, f"{endpoint}: {status.model} on {pair}, {status.count} of {status.capacity} instances"
    )
    if status.degraded:
        reasons = "; ".join(f"{p.engine}/{p.accelerator}: {p.reason}" for p in status.pairs if p.reason)
        yield Finding("degraded", False, f"a pair that ought to run does not: {reasons}")
    if status.storage_failure is not None:
        yield Finding("storage", False, status.storage_failure)
    yield Finding("gallery", status.encrypted or None, "encrypted on the disk" if status.encrypted else PLAIN)
