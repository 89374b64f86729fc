"""A whole number for each instance number, in 16 bytes a row: dicts of ints take two hundred."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator

import numpy as np

_GONE = -1
_FEW = 1000


class Numbered:
    """Maps instance numbers to values of 0 or more, such as ids or slots, in ascending order of the numbers."""

    def __init__(self, numbers: np.ndarray, values: np.ndarray):
        """Begin with ascending numbers and their values."""
        self._numbers, self._values = _compact(numbers), _compact(values)
        self._gone = 0

    def __len__(self) -> int:
        return len(self._numbers) - self._gone

    def get(self, number: int) -> int | None:
        """Give the value of a number, or None when it has none."""
        at = bisect_left(self._numbers, number)
        if at == len(self._numbers) or self._numbers[at] != number or self._values[at] == _GONE:
            return None
        return self._values[at]

    def put(self, number: int, value: int) -> None:
        """Give a number its value."""
        numbers = self._numbers
        if not numbers or number > numbers[-1]:
            numbers.append(number)
            self._values.append(value)
            return
        at = bisect_left(numbers, number)
        if numbers[at] != number:
            numbers.insert(at, number)
            self._values.insert(at, value)
            return
        self._gone -= self._values[at] == _GONE
        self._values[at] = value

    def pop(self, number: int) -> int:
        """Take a number out; returns the value that it had."""
        at = bisect_left(self._numbers, number)
        value, self._values[at] = self._values[at], _GONE
        self._gone += 1
        # Only marked, for closing the gap at every removal would move all that is behind it.
        if self._gone > _FEW + len(self):
            self._close_gaps()
        return value

    def since(self, number: int) -> Iterator[tuple[int, int]]:
        """Give numbers and their values, ascending from `number` on."""
        for at in range(bisect_left(self._numbers, number), len(self._numbers)):
            if self._values[at] != _GONE:
                yield self._numbers[at], self._values[at]

    def _close_gaps(self) -> None:
        numbers, values = np.array(self._numbers), np.array(self._values)
        here = values != _GONE
        self._numbers, self._values, self._gone = _compact(numbers[here]), _compact(values[here]), 0


def _compact(column: np.ndarray) -> "array[int]":
    return array("q", np.asarray(column, np.int64).tobytes())
