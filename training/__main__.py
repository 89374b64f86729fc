"""The command line: `python -m training bank | fit | wccn | export | agree | measure | plot`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from training.crops import Crop

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

Data = Annotated[Path, typer.Option(help="folder with one folder of crops per data set")]
LeftOut = Annotated[list[str], typer.Option(help="a training set to keep out; may be given more than once")]


@app.command()
def bank(
    folder: Path,
    data: Data,
    teacher: Annotated[Path, typer.Option(help="the teacher, .onnx or .tflite: raw BGR pixels, 256 high, 128 wide")],
    view_count: int = 20,
    seed: int = 0,
    workers: int = 2,
) -> None:
    """Make views of every training crop and ask the teacher about each; goes on where it stopped."""
    from training.bank import fill
    from training.crops import training_crops

    fill(folder, training_crops(data), teacher=teacher, view_count=view_count, seed=seed, workers=workers)


@app.command()
def fit(
    bank: Path,
    folder: Path,
    left_out: LeftOut = [],  # noqa: B006
    start: Annotated[Path | None, typer.Option(help="a checkpoint whose weights a new run begins with")] = None,
    plan: str = "deep",
    minutes: float = 60.0,
    steps: Annotated[int, typer.Option(help="bound the run by steps, which repeats it exactly")] = 0,
    small_share: Annotated[float, typer.Option(help="share of the run at 128x64, which is three times as fast")] = 0.55,
    losses: Annotated[str, typer.Option(help="weights of cosine, neighbours, person, triplet")] = "10,2,0.2,0.5",
    height: int = 192,
    width: int = 96,
    learning_rate: float = 3e-3,
    persons: Annotated[int, typer.Option(help="of a batch, 4 views each; as many views are of any kind")] = 16,
    seed: int = 0,
    threads: int = 1,
    processes: Annotated[int, typer.Option(help="each with a batch of its own, as if it were so much larger")] = 1,
    compiled: Annotated[bool, typer.Option(help="use torch.compile, which needs a C++ compiler")] = False,
) -> None:
    """Train a student; goes on from FOLDER's checkpoint if there is one."""
    from training.fit import fit as train
    from training.losses import Weights
    from training.run import Settings

    settings = Settings(
        plan=plan,
        minutes=minutes,
        steps=steps,
        height=height,
        width=width,
        small_share=small_share,
        learning_rate=learning_rate,
        persons=persons,
        weights=Weights(*map(float, losses.split(","))),
        seed=seed,
        threads=threads,
        processes=processes,
        compiled=compiled,
    )
    train(bank, folder, settings, left_out=tuple(left_out), start=start)


@app.command()
def wccn(
    checkpoint: Path,
    new: Path,
    data: Data,
    left_out: LeftOut = [],  # noqa: B006
    height: int = 192,
    width: int = 96,
) -> None:
    """Write a checkpoint whose features differ less within a person and a crop, to export: no run goes on from it."""
    from training.crops import training_crops
    from training.wccn import normalise

    crops = [crop for crop in training_crops(data, left_out=left_out) if crop.person]
    normalise(checkpoint, new, _progress(crops, "features"), height=height, width=width)


@app.command()
def export(
    checkpoint: Path,
    folder: Path,
    data: Data,
    left_out: LeftOut = [],  # noqa: B006
    height: int = 192,
    width: int = 96,
    calibrate: Annotated[int, typer.Option(help="training crops that the int8 ranges are taken from")] = 512,
    tune: Annotated[
        int, typer.Option(help="steps in which the int8 file's weights are tuned to its rounding; 0 for none")
    ] = 400,
) -> None:
    """Write ONNX, TFLite float32 and int8, golden vectors and the model's description."""
    from training import export as exporting
    from training import rounding
    from training.crops import read, training_crops
    from training.network import fold
    from training.run import load_network

    images = read(training_crops(data, left_out=left_out), height=height, width=width)
    calibration = images[:: len(images) // calibrate][:calibrate]
    network, int8_network = (fold(load_network(checkpoint)) for _ in range(2))
    steps = rounding.tune(int8_network, images, calibration=calibration, steps=tune)
    losses = list(track(steps, "tuning to int8", tune, console=Console(stderr=True)))
    if losses:
        print(f"int8: 1 - cosine {losses[0]:.4f} at the first step, {losses[-1]:.4f} at the last")
    exporting.export(network, int8_network, folder, calibration=calibration)


@app.command()
def agree(checkpoint: Path, folder: Path, data: Data, count: int = 200) -> None:
    """Compare every file of a model folder with its checkpoint: cosine mean, 1st percentile and minimum."""
    from training.agreement import agreement
    from training.measure import held

    crops = held(data)[1]
    for line in agreement(checkpoint, folder, crops[:: len(crops) // count][:count]):
        print(line)


@app.command()
def measure(
    folder: Path,
    data: Data,
    left_out: LeftOut = [],  # noqa: B006
    sample: Annotated[Path | None, typer.Option(help="folder with gallery/ and queries/")] = None,
    open_set: Annotated[bool, typer.Option(help="thresholds too")] = False,
) -> None:
    """Measure a model folder, every file, mirror off and on, and print the card's table."""
    from training import report
    from training.measure import rows

    print(report.heading(left_out))
    found = []
    for row in rows(folder, data=data, left_out=left_out, sample=sample, progress=_progress):
        print(report.line(row), flush=True)
        found.append(row)
    if open_set:
        print("\n" + report.threshold_heading())
        for row in found:
            print("\n".join(report.threshold_lines(row)))


@app.command()
def plot(picture: Path, folders: list[Path]) -> None:
    """Draw the losses of runs."""
    from training.plot import plot as draw

    draw(folders, picture)


def _progress(crops: Sequence[Crop], label: str) -> Iterator[Crop]:
    yield from track(crops, label, console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    app()
