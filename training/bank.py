"""The bank: views of every training crop, with the teacher's feature of each.

Asking the teacher is dear, so it is asked once. A bank is a folder: `views.npy` (views, crops, h, w, 3) uint8 RGB,
`teacher.npy` (views, crops, dim) float32 unit features, `crops.json`, and one `part-K.done` per worker, which holds
the number of views that are finished, so that an interrupted bank goes on where it stopped.
"""

import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training import views
from training.crops import Crop, read

TEACHER_DIM = 256
TEACHER_HEIGHT, TEACHER_WIDTH = 256, 128

Teacher = Callable[[np.ndarray], np.ndarray]


class Bank(NamedTuple):
    """A bank as training reads it: rows are views (even numbers natural, odd ones invented), columns are crops.

    `views` keeps every crop of the folder; `columns` are those to use, `persons` has -1 where such a crop has no label.
    """

    views: np.ndarray
    features: np.ndarray
    columns: np.ndarray
    persons: np.ndarray


def load_teacher(model: Path) -> Teacher:
    """Load the teacher (raw BGR pixels) on one thread: RGB uint8 image in, unit feature out.

    A `.tflite` file runs in float32 through LiteRT. An ONNX file runs in bfloat16 through OpenVINO, which moves the
    features by a cosine distance of 0.0004. Which of them is faster depends on the processor: RUNS.md.
    """
    ask = _litert(model) if model.suffix == ".tflite" else _openvino(model)

    def teacher(image: np.ndarray) -> np.ndarray:
        large = cv2.resize(image, (TEACHER_WIDTH, TEACHER_HEIGHT), interpolation=cv2.INTER_LINEAR)
        feature = ask(large[..., ::-1][None].astype(np.float32))
        return feature / np.linalg.norm(feature)

    return teacher


def _litert(model: Path) -> Teacher:
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(model_path=str(model), num_threads=1)
    network.allocate_tensors()
    pixels, feature = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]

    def ask(batch: np.ndarray) -> np.ndarray:
        network.set_tensor(pixels, batch)
        network.invoke()
        return network.get_tensor(feature).ravel()

    return ask


def _openvino(model: Path) -> Teacher:
    import openvino

    # Without the last setting all workers are pinned to the same core.
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "bf16", "ENABLE_CPU_PINNING": False}
    core = openvino.Core()
    request = core.compile_model(core.read_model(str(model)), "CPU", settings).create_infer_request()
    return lambda batch: request.infer({0: np.ascontiguousarray(batch.transpose(0, 3, 1, 2))})[0].ravel()


def make_view(images: np.ndarray, view: int, index: int, seed: int) -> np.ndarray:
    """View number `view` of crop number `index`; even numbers are natural, odd ones invented."""
    rng = np.random.default_rng([seed, view, index])
    return (views.invented_view if view % 2 else views.natural_view)(images, index, rng)


def fill(folder: Path, crops: list[Crop], *, teacher: Path, view_count: int, seed: int, workers: int) -> None:
    """Make the bank, or finish one that was interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[c.set_name, c.person, str(c.path.name)] for c in crops]
    if not (folder / "crops.json").exists():
        shape = (view_count, len(crops))
        image_shape = (views.HEIGHT, views.WIDTH, 3)
        np.lib.format.open_memmap(folder / "views.npy", "w+", np.uint8, (*shape, *image_shape)).flush()
        np.lib.format.open_memmap(folder / "teacher.npy", "w+", np.float32, (*shape, TEACHER_DIM)).flush()
        (folder / "crops.json").write_text(json.dumps(rows))
    elif json.loads((folder / "crops.json").read_text()) != rows:
        raise ValueError(f"{folder} is a bank of other crops: choose another folder, or remove it")
    jobs = [
        multiprocessing.Process(target=_fill_part, args=(folder, crops, teacher, seed, part, workers))
        for part in range(workers)
    ]
    for job in jobs:
        job.start()
    _watch(folder, jobs, view_count)


def _fill_part(folder: Path, crops: list[Crop], model: Path, seed: int, part: int, parts: int) -> None:
    cv2.setNumThreads(1)
    images = read(crops, height=views.HEIGHT, width=views.WIDTH)
    stored = np.load(folder / "views.npy", "r+")
    features = np.load(folder / "teacher.npy", "r+")
    teacher, done = load_teacher(model), folder / f"part-{part}.done"
    for view in range(_finished(done), len(stored)):
        for index in range(part, len(crops), parts):
            stored[view, index] = make_view(images, view, index, seed)
            features[view, index] = teacher(stored[view, index])
        done.write_text(str(view + 1))


def _finished(done: Path) -> int:
    return int(done.read_text() or 0) if done.exists() else 0


def _watch(folder: Path, jobs: list[multiprocessing.Process], view_count: int) -> None:
    columns = (TextColumn("views"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("views", total=view_count * len(jobs))
        while any(job.is_alive() for job in jobs):
            progress.update(bar, completed=sum(_finished(done) for done in folder.glob("part-*.done")))
            time.sleep(1)
    if failed := [job.exitcode for job in jobs if job.exitcode]:
        raise RuntimeError(f"{len(failed)} of {len(jobs)} bank workers failed; what they finished is kept")


def load(folder: Path, *, left_out: tuple[str, ...] = ()) -> Bank:
    """Read a bank's finished views, without the crops of the sets left out. The views stay on disk."""
    rows = json.loads((folder / "crops.json").read_text())
    finished = min((_finished(done) for done in folder.glob("part-*.done")), default=0)
    if not finished:
        raise ValueError(f"{folder} has no finished view yet")
    columns = np.array([k for k, (set_name, *_) in enumerate(rows) if set_name not in left_out])
    people = sorted({rows[k][1] for k in columns if rows[k][1] is not None})
    number = {person: n for n, person in enumerate(people)}
    persons = np.array([number.get(rows[k][1], -1) for k in columns])
    stored = np.load(folder / "views.npy", "r")[:finished]
    features = np.load(folder / "teacher.npy", "r")[:finished]
    return Bank(stored, np.array(features), columns, persons)
