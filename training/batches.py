"""Batches of the bank: half are a few natural views of each of some persons, half are views of any kind.

A batch is a pure function of seed and step, so a run that goes on from a checkpoint sees what it would have seen.
"""

from typing import NamedTuple

import cv2
import numpy as np

from training.bank import Bank
from training.views import HEIGHT, WIDTH


class Batch(NamedTuple):
    """Images (n, h, w, 3) uint8 RGB, the teacher's features (n, dim) and each image's person, -1 for teacher only."""

    images: np.ndarray
    features: np.ndarray
    persons: np.ndarray


class Batches:
    """Draws the batch of any step."""

    def __init__(self, bank: Bank, *, persons: int, views_each: int, seed: int) -> None:
        self._bank, self._persons, self._views_each, self._seed = bank, persons, views_each, seed
        order = np.argsort(bank.persons, kind="stable")
        labelled = order[np.searchsorted(bank.persons[order], 0) :]
        self._crops_of = np.split(labelled, np.flatnonzero(np.diff(bank.persons[labelled])) + 1)

    @property
    def person_count(self) -> int:
        """How many persons have labels."""
        return len(self._crops_of)

    def at(self, step: int) -> Batch:
        """Draw the batch of a step, with what is done to the images after the teacher saw them."""
        rng = np.random.default_rng([self._seed, step])
        bank, count = self._bank, self._persons * self._views_each
        chosen = rng.choice(self.person_count, self._persons, replace=False)
        natural = np.arange(0, len(bank.views), 2)
        crops = np.concatenate([rng.choice(self._crops_of[p], self._views_each) for p in chosen])
        crops = np.concatenate([crops, rng.integers(len(bank.columns), size=count)])
        rows = np.concatenate([rng.choice(natural, count), rng.integers(len(bank.views), size=count)])
        columns = bank.columns[crops]
        persons = np.concatenate([np.repeat(chosen, self._views_each), np.full(count, -1)])
        images = np.stack([disturb(bank.views[r, c], rng) for r, c in zip(rows, columns, strict=True)])
        return Batch(images, bank.features[rows, columns], persons)


def disturb(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror, shift, take away pixels or hide a part, without telling the teacher: the feature shall not change."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    image = np.roll(image, (int(rng.integers(-4, 5)), int(rng.integers(-2, 3))), (0, 1))
    if rng.random() < 0.12:
        scale = rng.uniform(0.4, 0.8)
        small = cv2.resize(image, (int(WIDTH * scale), int(HEIGHT * scale)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        h, w = int(rng.integers(HEIGHT // 10, HEIGHT // 3)), int(rng.integers(WIDTH // 5, WIDTH // 2))
        top, left = int(rng.integers(HEIGHT - h)), int(rng.integers(WIDTH - w))
        image[top : top + h, left : left + w] = rng.integers(0, 255, 3)
    return image
