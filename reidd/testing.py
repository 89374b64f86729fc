"""The conformance kit: what every backend promises, as tests that a plugin's author subclasses. Needs pytest.

class TestMyBackend(BackendContract):
    backend_class = MyBackend

`python -m pytest -p reidd.testing` prints at the end which backend keeps which clause.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest

from reidd import golden
from reidd.backend import Backend
from reidd.engines import Accelerator
from reidd.model import ModelConfig
from reidd.plugins import checked, obstacle
from reidd.protocol import MAX_PARTS

CALLS = "REIDD_CONTRACT_CALLS"
"""Environment variable: how many calls the clause on memory makes; 200 unless set."""
LEAK_BYTES = 8 << 20
"""What the process may grow in all those calls; reidd's own backends grew by nothing in 1,000 after 50 to warm up."""
FEW = 20
"""Files and threads that a runtime may open in all those calls: a leak of one a call is ten times as many."""
CROWD = MAX_PARTS - 1
"""Crops of a full request less one, so that a file's own batch does not divide them."""


class Subject(NamedTuple):
    """What a clause is about: a backend class, a model and an accelerator."""

    backend_class: type[Backend]
    model: ModelConfig
    accelerator: Accelerator
    threads: int = 1

    def load(self) -> "closing[Backend]":
        """Load the model; closes the backend at the end of a `with`."""
        formats = self.backend_class.formats
        wanted = f"{self.model.id} has no file in the format {' or '.join(sorted(formats))}"
        assert self.model.file(formats), f"{wanted}: set `model_id`, or override the fixture `model`"
        return closing(self.backend_class.load(self.model, self.accelerator, threads=self.threads))

    def batch(self) -> np.ndarray:
        """Return crops as the network takes them: the model's golden ones, else blocks of colour."""
        known = golden.read(self.model)
        return golden.batch(golden.noise(self.model) if known is None else known.crops, self.model)


class BackendContract:
    """Subclass this, set `backend_class`, and pytest runs each clause on every accelerator of it.

    An accelerator that is not ready here is skipped, with its obstacle as the reason.
    """

    backend_class: ClassVar[type[Backend]]
    model_id: ClassVar[str] = "reidd/person"
    """The model to load; override the fixture `model` for one that is not on the search path."""
    threads: ClassVar[int] = 1

    @pytest.fixture
    def model(self) -> ModelConfig:
        """The model folder that the backend loads."""
        return ModelConfig.from_model_id(self.model_id)

    @pytest.fixture
    def subject(self, model: ModelConfig, accelerator: Accelerator) -> Iterator[Subject]:
        """The class under test, on one accelerator."""
        reason = obstacle(self.backend_class, accelerator)
        if reason is not None:
            pytest.skip(f"{self.backend_class.engine}/{accelerator}: {reason}")
        yield Subject(self.backend_class, model, accelerator, self.threads)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each clause on every accelerator."""
        if "accelerator" in metafunc.fixturenames:
            # Without any, no clause would be asked, and none complain.
            accelerators = self.backend_class.accelerators or (Accelerator.DEFAULT,)
            metafunc.parametrize("accelerator", accelerators, ids=str)

    def test_it_says_what_it_is(self, subject: Subject) -> None:
        """The class names a known engine, known accelerators and the formats it reads; its remark is words, or ""."""
        try:
            kind = checked(subject.backend_class)
        except TypeError as error:
            raise AssertionError(str(error)) from None
        assert Accelerator.DEFAULT not in kind.accelerators
        assert all(f == f.lower() for f in kind.formats)
        with subject.load() as backend:
            assert isinstance(backend.remark, str)

    def test_each_crop_gives_one_finite_row(self, subject: Subject) -> None:
        """N crops give `(n, dim)` float32, finite, of the dimension that the model says."""
        batch = subject.batch()
        with subject.load() as backend:
            rows = backend.infer(batch)
        assert rows.ndim == 2
        assert len(rows) == len(batch)
        assert rows.dtype == np.float32
        assert np.isfinite(rows).all()
        assert subject.model.extras.dim in (None, rows.shape[1])

    def test_rows_do_not_depend_on_their_batch(self, subject: Subject) -> None:
        """A crop gives the same row alone, in company, in a crowd, and in another place of the batch."""
        batch = subject.batch()
        with subject.load() as backend:
            together = backend.infer(batch)
            alone = np.concatenate([backend.infer(crop[None]) for crop in batch])
            reversed_rows = backend.infer(np.ascontiguousarray(batch[::-1]))[::-1]
            crowd = backend.infer(np.resize(batch, (CROWD, *batch.shape[1:])))
        assert golden.cosines(together, alone).min() >= golden.SAME_COSINE
        assert golden.cosines(together, reversed_rows).min() >= golden.SAME_COSINE
        assert golden.cosines(np.resize(together, (CROWD, together.shape[1])), crowd).min() >= golden.SAME_COSINE

    def test_different_crops_give_different_rows(self, subject: Subject) -> None:
        """An accelerator that answers the same whatever it is shown is broken."""
        batch = subject.batch()
        with subject.load() as backend:
            rows = backend.infer(batch)
        # Of a model's golden crops some may be the same.
        assert len(np.unique(rows, axis=0)) == len(np.unique(batch, axis=0))

    def test_it_is_deterministic(self, subject: Subject) -> None:
        """The same crops give the same bytes again, whatever came between."""
        batch = subject.batch()
        with subject.load() as backend:
            first = backend.infer(batch).copy()
            backend.infer(np.ascontiguousarray(batch[::-1]))
            np.testing.assert_array_equal(backend.infer(batch), first)

    def test_the_rows_are_its_callers_own(self, subject: Subject) -> None:
        """What was handed out stays as it was when the next crops come, and may be written to."""
        batch = subject.batch()
        with subject.load() as backend:
            first = backend.infer(batch)
            kept = first.copy()
            backend.infer(np.ascontiguousarray(batch[::-1]))
            np.testing.assert_array_equal(first, kept)
            first[:] = 0
            np.testing.assert_array_equal(backend.infer(batch), kept)

    def test_its_input_may_be_read_only(self, subject: Subject) -> None:
        """A batch may lie in memory that must not be written to, and is left as it was."""
        batch = subject.batch()
        before = batch.copy()
        batch.flags.writeable = False
        with subject.load() as backend:
            backend.infer(batch)
        np.testing.assert_array_equal(batch, before)

    def test_no_crops_give_no_rows(self, subject: Subject) -> None:
        """An empty batch gives `(0, dim)`, before and after others."""
        batch = subject.batch()
        with subject.load() as backend:
            before = backend.infer(batch[:0])
            dim = backend.infer(batch).shape[1]
            after = backend.infer(batch[:0])
        assert before.shape == after.shape == (0, dim)
        assert before.dtype == after.dtype == np.float32

    def test_closing_twice_is_fine(self, subject: Subject) -> None:
        """`close` may be called again, after use and before any."""
        for used in (False, True):
            with subject.load() as backend:
                if used:
                    backend.infer(subject.batch())
                backend.close()
            # The end of the `with` closes it again.

    def test_it_agrees_with_the_golden_vectors(self, subject: Subject) -> None:
        """The worst cosine with the model's golden vectors is at least 0.98."""
        known = golden.read(subject.model)
        if known is None:
            pytest.skip(f"{subject.model.id} has no golden vectors")
        with subject.load() as backend:
            rows = backend.infer(golden.batch(known.crops, subject.model))
        assert golden.cosines(rows, known.embeddings).min() >= golden.WORST_COSINE

    def test_its_memory_is_bounded(self, subject: Subject) -> None:
        """Call after call, the process stays within a few MiB, and opens no files and starts no threads for ever."""
        crop = subject.batch()[:1]
        with subject.load() as backend:
            for _ in range(50):
                backend.infer(crop)
            before, before_open = _resident_bytes(), _files_and_threads()
            for _ in range(int(os.environ.get(CALLS, "200"))):
                backend.infer(crop)
            assert _resident_bytes() - before < LEAK_BYTES
            assert _files_and_threads() - before_open < FEW

    def test_it_survives_being_loaded_twice(self, subject: Subject) -> None:
        """Two of it work side by side, and the end of one leaves the other alone.

        What is built anew, such as a compiled engine, may round otherwise.
        """
        batch = subject.batch()
        with subject.load() as one:
            with subject.load() as other:
                kept = one.infer(batch).copy()
                assert golden.cosines(other.infer(batch), kept).min() >= golden.SAME_COSINE
            np.testing.assert_array_equal(one.infer(batch), kept)
        with subject.load() as later:
            assert golden.cosines(later.infer(batch), kept).min() >= golden.SAME_COSINE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a table of clauses and backends: pytest calls this when it was started with `-p reidd.testing`."""
    kept: dict[str, dict[str, str]] = {}
    for outcome, mark in (("passed", "✓"), ("skipped", "·"), ("failed", "✗"), ("error", "✗")):
        for report in terminalreporter.stats.get(outcome, []):
            found = re.search(r"::Test(\w+)::(test_\w+)\[(\w+)\]$", report.nodeid)
            if found and hasattr(BackendContract, found[2]):
                kept.setdefault(f"{found[1]} on {found[3]}", {})[found[2]] = mark
    for line in contract_table(kept):
        terminalreporter.write_line(line)


def contract_table(kept: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """The lines of a table, from a mark for each clause of each backend."""
    yield ""
    yield f"{'':42}" + "".join(f"{number:>3}" for number in range(1, len(kept) + 1))
    for clause in (name for name in vars(BackendContract) if name.startswith("test_")):
        words = clause.removeprefix("test_").replace("_", " ").replace("callers", "caller's")
        yield f"{words:42}" + "".join(f"{marks.get(clause, ''):>3}" for marks in kept.values())
    for number, (backend, marks) in enumerate(kept.items(), 1):
        count = sum(mark == "✓" for mark in marks.values())
        words = "not ready here" if set(marks.values()) == {"·"} else f"keeps {count} of {len(marks)}"
        yield f"{number:>3}  {backend}: {words}"


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _files_and_threads() -> int:
    return sum(1 for kind in ("fd", "task") for _ in Path("/proc/self", kind).iterdir())
