"""What tests are about: the sample crops, and a daemon in a process of its own."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np

import reidd
from reidd import places

SAMPLE = places.sample_folder()


def crops(folder: str) -> list[tuple[int, np.ndarray]]:
    """(true id, image) of every sample crop in "gallery" or "queries", in alphabetical order."""
    return [(int(p.name[0]), cv2.imread(str(p))) for p in sorted((SAMPLE / folder).glob("*.jpg"))]


def sample(name: str) -> Path:
    """The sample crop of that name, of the gallery or a query."""
    return next(SAMPLE.glob(f"*/{name}.jpg"))


def png_of(width: int, height: int) -> bytes:
    """A PNG in a few bytes, whose header tells its size and whose rows are all missing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def enrol(identifier, crops):
    """Add each image under its id."""
    for id, image in crops:
        identifier.add_to_gallery(image, id)


def eventually(condition, timeout=10.0):
    """Wait until something is so; fail when it never is."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.01)


class Daemon:
    """A daemon process in folders with paths short enough for a socket; gone at the end of a `with`."""

    def __init__(self, folder: Path, *options: str, env: dict[str, str] | None = None):
        self.folder, self.runtime, self.state = folder, folder / "run", folder / "state"
        self.log = folder / "log"
        self.endpoint = f"ipc://{self.runtime}/{places.SOCKET}"
        self._options, self._env = options, {**os.environ, **(env or {})}
        self.start()

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def start(self) -> None:
        command = [sys.executable, "-m", "reidd", "serve", "--verbose", "--runtime-folder", str(self.runtime)]
        command += ["--state-folder", str(self.state), *self._options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._env)

    def wait_until_ready(self) -> "Daemon":
        with self.client(timeout=30) as client:
            client.status()
        return self

    def client(self, timeout: float = 10.0) -> reidd.Client:
        return reidd.Client(self.endpoint, timeout=timeout)

    def workers(self) -> list[int]:
        """The pids of its worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def end(self, number: int = signal.SIGTERM) -> float:
        """Send a signal, wait for the end, and return how many seconds it took."""
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(10)
        return time.monotonic() - start
