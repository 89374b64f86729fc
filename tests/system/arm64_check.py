"""What `arm64.sh` runs in its chroot: an inference on each backend, and a round trip through the daemon."""

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
from fake_edgetpu import FakeEdgeTPU

import reidd
from reidd import Accelerator, Engine, places
from reidd.features import Extractor
from reidd.model import ModelConfig
from reidd.plugins import Registry

DAEMON_S = 120.0


def infers(model: ModelConfig, engine: Engine, accelerator: Accelerator) -> None:
    image = cv2.imread(str(next(places.sample_folder().glob("queries/*.jpg"))))
    with Extractor.load(model, engine, accelerator, registry=Registry()) as extractor:
        dim = extractor.features([image]).shape[1]
    print(f"  {engine}/{accelerator}: one inference of {model.id}, {dim} values, golden vectors agree")


def round_trip(folder: Path) -> None:
    command = [sys.executable, "-m", "reidd", "serve", "--workers", "1", "--runtime-folder", f"{folder}/run"]
    daemon = subprocess.Popen([*command, "--state-folder", f"{folder}/state"])
    try:
        image = next(places.sample_folder().glob("gallery/4_*.jpg")).read_bytes()
        with reidd.Client(f"ipc://{folder}/run/{places.SOCKET}", timeout=DAEMON_S) as client:
            client.add_to_gallery(image, 4)
            found = client.re_id_image(image)
            assert found.predictions[0].id == 4
            print(f"  daemon on {client.engine}/{client.accelerator}: enrolled and found again")
    finally:
        daemon.terminate()
        daemon.wait(DAEMON_S)


def main() -> None:
    assert platform.machine() == "aarch64", platform.machine()
    start = time.monotonic()
    print(f"{platform.machine()}, Python {platform.python_version()}, {os.sysconf('SC_PAGE_SIZE')}-byte pages")
    folder = Path(tempfile.mkdtemp(prefix="reidd-"))
    stick = FakeEdgeTPU(folder)
    os.environ.update(stick.env, REIDD_EDGETPU_PROBE_S="60")
    embedded = ModelConfig.from_model_id("reidd/person")
    infers(embedded, Engine.TFLITE, Accelerator.CPU)
    infers(embedded, Engine.DNN, Accelerator.CPU)
    infers(ModelConfig(stick.model), Engine.TFLITE, Accelerator.EDGE_TPU)
    round_trip(folder)
    print(f"arm64: all of it works ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    main()
