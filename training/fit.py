"""Training: a student learns from a bank for a number of minutes, keeping checkpoints it can go on from."""

import json
import math
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import distributed, nn
from torch.nn import functional

from training.bank import load
from training.batches import Batch, Batches
from training.losses import Weights, losses
from training.network import tensor_of
from training.run import Run, Settings, load_network
from training.views import HEIGHT, WIDTH

_WARM_UP = 0.03  # share of the run
_AVERAGE_KEEP = 0.998  # of the averaged weights, per step
_LOG_EVERY, _SAVE_EVERY = 50, 500  # steps
_LONGEST_STEP_S = 10.0  # what is longer is a machine that stood still
# Half as long where the processor multiplies bfloat16; where it does not, nine times as long as float32.
_HALF = "AVX512" in torch.backends.cpu.get_cpu_capability()


def fit(bank: Path, folder: Path, settings: Settings, *, left_out: tuple[str, ...], start: Path | None = None) -> None:
    """Train, or go on with the run in `folder`: `checkpoint.pt`, `settings.json` and `log.jsonl`.

    A new run begins with random weights, or with the averaged ones of another run's checkpoint, `start`. Several
    processes draw a batch each and step by their mean gradient: as if the batch were so many times as large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as meeting:
        work = bank, folder, settings, left_out, start, f"{meeting}/processes"
        if settings.processes == 1:
            _fit(0, *work)
        else:
            torch.multiprocessing.spawn(_fit, work, settings.processes)


def _fit(
    rank: int,
    bank: Path,
    folder: Path,
    settings: Settings,
    left_out: tuple[str, ...],
    start: Path | None,
    meeting: str,
) -> None:
    torch.set_num_threads(settings.threads)
    if settings.processes > 1:
        store = distributed.FileStore(meeting, settings.processes)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=settings.processes)
    batches = Batches(
        load(bank, left_out=left_out), persons=settings.persons, views_each=settings.views_each, seed=settings.seed
    )
    run = Run(settings, batches.person_count, rank)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(checkpoint)
    elif start:
        run.begin_with(load_network(start))
    steps = _train(run, batches)
    if rank == 0:
        _keep(steps, run, folder)
    else:
        deque(steps, maxlen=0)


def _keep(steps: Iterator[dict[str, float]], run: Run, folder: Path) -> None:
    """Follow a run with a bar, a log and checkpoints."""
    checkpoint, settings = folder / "checkpoint.pt", run.settings
    (folder / "settings.json").write_text(json.dumps({**settings._asdict(), "weights": settings.weights._asdict()}))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.1f}%"),
        TimeRemainingColumn(),
    )
    with (folder / "log.jsonl").open("a") as log, Progress(*columns) as progress:
        bar = progress.add_task("training", total=1.0, completed=run.progress)
        for row in steps:
            progress.update(bar, completed=run.progress, description=f"step {run.step}")
            if run.step % _LOG_EVERY == 0:
                log.write(json.dumps(row) + "\n")
                log.flush()
            if run.step % _SAVE_EVERY == 0:
                run.save(checkpoint)
        run.save(checkpoint)


def _train(run: Run, batches: Batches) -> Iterator[dict[str, float]]:
    """Take steps until the run is done; yields each step's losses, smoothed."""
    maps = torch.compile(run.student.maps, dynamic=False) if run.settings.compiled else run.student.maps
    weights, smooth, first = torch.tensor(run.settings.weights), torch.zeros(4), run.step
    full_size = run.full_size
    run.student.train()
    while run.progress < 1:
        start = time.monotonic()
        if run.full_size and not full_size:
            full_size, run.averaged_from = True, run.step
        _set_learning_rate(run)
        batch = batches.at(run.batch_number)
        pixels = _pixels(batch, run)
        with torch.autocast("cpu", torch.bfloat16, enabled=_HALF):
            out = maps(pixels)
        features = run.student.pooled(out.float())
        teacher, persons = torch.from_numpy(batch.features), torch.from_numpy(batch.persons)
        parts = losses(features, teacher, persons, run.classifier)
        run.optimizer.zero_grad()
        (parts * weights).sum().backward()
        _share_gradients(run)
        run.optimizer.step()
        run.step += 1
        averaged = run.step - run.averaged_from
        _follow(run.average, run.student, keep=min(_AVERAGE_KEEP, averaged / (averaged + 20)))
        run.seconds += _mean(run, torch.tensor(min(_LONGEST_STEP_S, time.monotonic() - start))).item()
        smooth = 0.98 * smooth + 0.02 * parts.detach()
        shown = (smooth / (1 - 0.98 ** (run.step - first))).tolist()
        yield {"step": run.step, "seconds": run.seconds, "progress": run.progress} | dict(
            zip(Weights._fields, shown, strict=True)
        )


def _share_gradients(run: Run) -> None:
    if run.settings.processes == 1:
        return
    gradients = [w.grad for group in run.optimizer.param_groups for w in group["params"]]
    shared = _mean(run, torch.cat([g.flatten() for g in gradients]))
    for gradient, part in zip(gradients, shared.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _mean(run: Run, tensor: torch.Tensor) -> torch.Tensor:
    """Replace a tensor by its mean over the processes."""
    if run.settings.processes > 1:
        distributed.all_reduce(tensor)
        tensor /= run.settings.processes
    return tensor


def _set_learning_rate(run: Run) -> None:
    """Follow a short rise, then a cosine to a thousandth."""
    warm, fall = min(1.0, run.progress / _WARM_UP), 0.5 * (1 + math.cos(math.pi * run.progress))
    for group in run.optimizer.param_groups:
        group["lr"] = run.settings.learning_rate * (warm * fall + 1e-3)


def _pixels(batch: Batch, run: Run) -> torch.Tensor:
    """Bring the images to the size of this part of the run, each a little brighter or darker."""
    rng = np.random.default_rng([run.settings.seed, run.batch_number, 1])
    light = torch.from_numpy(rng.uniform(0.85, 1.15, (len(batch.images), 1, 1, 1)).astype(np.float32))
    pixels = tensor_of(batch.images) * light
    size = (run.settings.height, run.settings.width)
    if run.full_size and size != (HEIGHT, WIDTH):
        pixels = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    return pixels.clamp(0, 255).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _follow(average: nn.Module, student: nn.Module, *, keep: float) -> None:
    for old, new in zip(average.state_dict().values(), student.state_dict().values(), strict=True):
        old.lerp_(new, 1 - keep) if old.is_floating_point() else old.copy_(new)
