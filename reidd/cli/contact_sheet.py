"""The demo's picture: each query beside its nearest gallery crops."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reidd.errors import ImageError

if TYPE_CHECKING:
    from reidd.cli.question import Question

WIDTH, HEIGHT = 64, 128
MARGIN, LINE = 8, 15
COLUMNS = 4
PAPER = 255
INK, GREEN, RED, GREY = (40, 40, 40), (60, 160, 40), (40, 40, 210), (170, 170, 170)


def write_contact_sheet(path: Path, questions: Sequence["Question"]) -> None:
    """Write a PNG: each query, framed green when named right and red when not, then its nearest gallery crops."""
    import cv2

    panels = [_panel(question) for question in questions]
    panels += [np.full_like(panels[0], PAPER)] * (-len(panels) % COLUMNS)
    rows = [np.hstack(panels[at : at + COLUMNS]) for at in range(0, len(panels), COLUMNS)]
    legend = np.full((2 * LINE + MARGIN, rows[0].shape[1], 3), PAPER, np.uint8)
    _write(
        legend,
        "left: the query, framed green when its nearest id is right, else red (a stranger is right as unknown)",
        0,
    )
    _write(
        legend,
        "right of it: the nearest gallery crop of each of the three nearest ids, with its distance (0 to 1)",
        LINE,
    )
    try:
        written = cv2.imwrite(str(path), np.vstack([legend, *rows]))
    except cv2.error:  # no picture is written under such a name
        written = False
    if not written:
        raise ImageError(f"{path}: cannot be written; name a .png file in another place with --picture")


def _panel(question: "Question") -> np.ndarray:
    who = f"true {question.true_id}" if question.true_id else "stranger"
    cells = [_cell(question.path, who, str(question.answer.verdict or ""), GREEN if question.right else RED)]
    cells += [_cell(crop, f"id {named}", f"{distance:.3f}", GREY) for crop, named, distance in question.nearest]
    panel = np.hstack(cells)
    return np.pad(panel, ((0, MARGIN), (0, 2 * MARGIN), (0, 0)), constant_values=PAPER)


def _cell(path: Path, first: str, second: str, colour: tuple[int, int, int]) -> np.ndarray:
    import cv2

    cell = np.full((HEIGHT + 2 * LINE + 2 * MARGIN, WIDTH + MARGIN, 3), PAPER, np.uint8)
    image = cv2.imread(str(path))
    if image is None:
        raise ImageError(f"{path}: cannot be read as an image")
    left, top = MARGIN // 2, MARGIN // 2
    cell[top : top + HEIGHT, left : left + WIDTH] = cv2.resize(image, (WIDTH, HEIGHT))
    cv2.rectangle(cell, (left - 2, top - 2), (left + WIDTH + 1, top + HEIGHT + 1), colour, 3)
    _write(cell, first, HEIGHT + MARGIN)
    _write(cell, second, HEIGHT + MARGIN + LINE)
    return cell


def _write(image: Any, text: str, top: int) -> None:
    import cv2

    cv2.putText(image, text, (MARGIN // 2, top + 11), cv2.FONT_HERSHEY_SIMPLEX, 0.38, INK, 1, cv2.LINE_AA)
