"""A daemon of one's own, in throw-away folders: for the demo and for trying things out."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reidd import confinement, places
from reidd.client import Client
from reidd.errors import BackendUnavailableError, ConnectionError
from reidd.model import ModelConfig

START_S = 60.0


@contextmanager
def private_daemon(
    model: str, state: Path | None = None, *, settings: Mapping[str, int] | None = None
) -> Iterator[Client]:
    """Run a daemon for the length of the block; yields a client of it. It stores in the folder `state`, if given.

    `settings` are its whole configuration: what the machine's or the user's says is for another daemon.

    Raises:
        ConfigError: the model's folder is not there, or wrong.
        BackendUnavailableError: it did not start.
    """
    # The daemon says the same, but into its log.
    ModelConfig.from_model_id(model)
    with tempfile.TemporaryDirectory(prefix="reidd-") as folder:
        log, config = Path(folder) / "log", Path(folder) / "reidd.toml"
        config.write_text("".join(f"{key} = {value}\n" for key, value in (settings or {}).items()))
        command = [sys.executable, "-m", "reidd", "serve", "--model", model, "--config", str(config)]
        command += ["--runtime-folder", f"{folder}/run", "--state-folder", str((state or Path(folder)) / "state")]
        with log.open("wb") as output, confinement.uninterrupted():
            # However this process ends: a daemon that nobody knows of must not be left.
            process = subprocess.Popen(confinement.ending(*command), stdout=output, stderr=output)  # noqa: S603
        try:
            with Client(f"ipc://{folder}/run/{places.SOCKET}", timeout=START_S) as client:
                _wait_until_ready(client, process, log)
                client.timeout = 10.0
                yield client
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(client: Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Ask in short turns, so that a daemon that ended is noticed at once."""
    client.timeout = 0.5
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            client.status()
        except ConnectionError:
            continue
        return
    raise BackendUnavailableError(f"the private daemon did not start: {_why(process.poll(), log)}")


def _why(status: int | None, log: Path) -> str:
    """Say why a daemon is not ready: what it said last is the reason when it ended by itself, and only then."""
    if status is None:
        return f"it was not ready within {START_S:g} s"
    if status < 0:
        return f"it crashed ({confinement.signal_name(-status)})"
    return log.read_text(errors="replace").strip().rpartition("\n")[2].removeprefix("reidd: ")
