"""A Coral stick that does what a test says: a library for libedgetpu's place, a folder for that of /sys and /dev."""

import json
import os
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
WIDTH, HEIGHT, SIDE = 32, 64, 8
DIM = (HEIGHT // SIDE) * (WIDTH // SIDE) * 3


class FakeEdgeTPU:
    """The stick, plugged in, and a model folder `test/pool` for it whose `pool.tflite` gives the same on the CPU."""

    def __init__(self, folder: Path):
        self.folder, self.root, self.models = folder, folder / "root", folder / "models"
        self._mode = folder / "mode"
        self.env = {
            "REIDD_EDGETPU_LIBRARY": str(library()),
            "REIDD_EDGETPU_ROOT": str(self.root),
            "REIDD_EDGETPU_PROBE_S": "3",
            "REIDD_MODELS": str(self.models),
            "FAKE_EDGETPU": str(self._mode),
        }
        self.behave("works")
        self.plug()
        self.model = write_model(self.models / "test" / "pool")

    def behave(self, mode: str) -> None:
        """Do from now on, in every process, what `edgetpu.c` lists."""
        new = self._mode.with_suffix(".new")
        new.write_text(mode)
        new.rename(self._mode)

    def plug(self, vendor: str = "18d1", product: str = "9302") -> None:
        """Appear on the bus."""
        device, node = self.root / "sys/bus/usb/devices/1-1", self.root / "dev/bus/usb/001/004"
        device.mkdir(parents=True, exist_ok=True)
        node.parent.mkdir(parents=True, exist_ok=True)
        for name, text in {"busnum": "1", "devnum": "4", "idProduct": product, "idVendor": vendor}.items():
            (device / name).write_text(text + "\n")
        node.touch(mode=0o600)

    def unplug(self) -> None:
        """Vanish from the bus."""
        shutil.rmtree(self.root, ignore_errors=True)


@cache
def library() -> Path:
    """Build the library, once, unless REIDD_FAKE_EDGETPU_LIBRARY names it; skip where there is no C compiler."""
    if given := os.environ.get("REIDD_FAKE_EDGETPU_LIBRARY"):
        return Path(given)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in for libedgetpu with: apt install gcc")
    built = Path(sysconfig.get_path("platlib")) / "reidd-test-libfakeedgetpu.so"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(built)]
    subprocess.run([*command, str(HERE / "edgetpu.c")], check=True)
    return built


def write_model(folder: Path, **files: str) -> Path:
    """Write the model folder, and return its `alwaysai.model.json`; `files` names other files by format."""
    folder.mkdir(parents=True)
    chosen = {"tflite": "pool.tflite", "edgetpu": "pool_edgetpu.tflite", **files}
    for name in chosen.values():
        shutil.copy(HERE / name, folder)
    crops = np.random.default_rng(5).integers(0, 256, (4, HEIGHT, WIDTH, 3), np.uint8)
    blocks = crops.reshape(4, HEIGHT // SIDE, SIDE, WIDTH // SIDE, SIDE, 3).mean(axis=(2, 4), dtype=np.float64)
    np.savez(folder / "golden.npz", crops=crops, embeddings=blocks.reshape(4, DIM).astype(np.float32))
    document = {
        "id": f"{folder.parent.name}/{folder.name}",
        "model_parameters": {"model_file": chosen["tflite"], "size": [WIDTH, HEIGHT]},
        "reidd": {
            "dim": DIM,
            "golden": "golden.npz",
            "files": [{"file": name, "format": format} for format, name in chosen.items()],
        },
    }
    path = folder / "alwaysai.model.json"
    path.write_text(json.dumps(document))
    return path
