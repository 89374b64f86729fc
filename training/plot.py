"""Draws the logs of runs, one line each, a panel for every loss."""

import json
from collections.abc import Sequence
from pathlib import Path

from training.losses import Weights


def plot(folders: Sequence[Path], picture: Path) -> None:
    """Read `log.jsonl` of each run's folder, write one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(Weights._fields), figsize=(16, 4), constrained_layout=True)
    for folder in folders:
        steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        minutes = [row["seconds"] / 60 for row in steps]
        for panel, loss in zip(panels, Weights._fields, strict=True):
            panel.plot(minutes, [row[loss] for row in steps], label=folder.name)
            panel.set(title=loss, xlabel="minutes")
    panels[0].legend()
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)
