"""What tests of a real daemon share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A daemon with a door on tcp, for the tests of one file."""
    with (
        tempfile.TemporaryDirectory(prefix="reidd-") as folder,
        House(Path(folder), "tcp_rate = 1_000_000.0\n") as built,
    ):
        yield built
