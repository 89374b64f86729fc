"""Each clause of the kit can fail: a backend that breaks just that promise is caught by it."""

import mmap
import os
import re
import subprocess
import sys
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from reidd import golden
from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.model import ModelConfig
from reidd.testing import CALLS, BackendContract, Subject, contract_table

DIM = 6


class Toy(Backend):
    """A whole backend in numpy: one fixed linear layer over a 4x4 thumbnail of the crop."""

    engine: ClassVar[Engine] = Engine.PYTORCH
    accelerators: ClassVar[tuple[Accelerator, ...]] = (Accelerator.CPU,)
    formats: ClassVar[frozenset[str]] = frozenset({"toy"})

    def __init__(self):
        self.weights = np.random.default_rng(7).standard_normal((48, DIM)).astype(np.float32)

    @classmethod
    def obstacle(cls, accelerator):
        return None

    @classmethod
    def load(cls, model, accelerator, *, threads):
        return cls()

    def infer(self, batch):
        return np.einsum("nd,de->ne", batch[:, ::4, ::4].reshape(len(batch), 48), self.weights)

    def close(self):
        self.weights = None


class NamesItsEngineInText(Toy):
    engine = "PYTORCH"


class NamesNoAccelerator(Toy):
    accelerators = ()


class NamesTheDefaultAccelerator(Toy):
    accelerators = (Accelerator.DEFAULT,)


class NamesNoFormat(Toy):
    formats = frozenset()


class NamesItsFormatInText(Toy):
    formats = "toy"


class ShoutsItsFormat(Toy):
    formats = frozenset({"TOY"})


class RemarksNothing(Toy):
    remark = None


class OtherPrecision(Toy):
    def infer(self, batch):
        return super().infer(batch).astype(np.float64)


class KeepsTheImagesShape(Toy):
    def infer(self, batch):
        return super().infer(batch)[:, :, None]


class RepeatsRows(Toy):
    def infer(self, batch):
        return np.concatenate([super().infer(batch)] * 2)


class GivesNaN(Toy):
    def infer(self, batch):
        return super().infer(batch) * np.float32("nan")


class OtherDimension(Toy):
    def infer(self, batch):
        return super().infer(batch)[:, 1:]


class CentresTheBatch(Toy):
    def infer(self, batch):
        return super().infer(batch - batch.mean(axis=0)) if len(batch) > 1 else super().infer(batch)


class OrdersTheBatch(Toy):
    """In the order of the golden crops it is right."""

    def infer(self, batch):
        rows = super().infer(batch)
        return rows[::-1] if len(batch) and batch[0].sum() > batch[-1].sum() else rows


class TakesFewAtOnce(Toy):
    def infer(self, batch):
        assert len(batch) <= 16
        return super().infer(batch)


class ForgetsTheRest(Toy):
    """Of a batch that is no multiple of its own."""

    def infer(self, batch):
        rows = super().infer(batch)
        whole = len(batch) // 4 * 4
        if whole:
            rows[whole:] = 1
        return rows


class Stuck(Toy):
    def infer(self, batch):
        return np.tile(self.weights[0], (len(batch), 1))


class Remembers(Toy):
    calls = 0

    def infer(self, batch):
        self.calls += 1
        return super().infer(batch) * np.float32(1 + 1e-6 * self.calls)


class LendsItsBuffer(Toy):
    def infer(self, batch):
        self.buffer = getattr(self, "buffer", np.zeros((64, DIM), np.float32))
        self.buffer[: len(batch)] = super().infer(batch)
        return self.buffer[: len(batch)]


class RowsAreReadOnly(Toy):
    def infer(self, batch):
        rows = super().infer(batch)
        rows.flags.writeable = False
        return rows


class HandsOutItsCache(Toy):
    def infer(self, batch):
        self.cache = getattr(self, "cache", {})
        return self.cache.setdefault(batch.tobytes(), super().infer(batch))


class UnlocksItsInput(Toy):
    def infer(self, batch):
        batch.flags.writeable = True
        batch += 1
        return super().infer(batch)


class ScalesInPlace(Toy):
    def infer(self, batch):
        batch /= 255
        return super().infer(batch)


class NeedsACrop(Toy):
    def infer(self, batch):
        return np.stack([super(NeedsACrop, self).infer(crop[None])[0] for crop in batch])


class ForgetsItsDimension(Toy):
    def infer(self, batch):
        return super().infer(batch) if len(batch) else np.empty((0, 0), np.float32)


class ForgetsItsType(Toy):
    def infer(self, batch):
        return super().infer(batch) if len(batch) else np.empty((0, DIM))


class ClosesOnce(Toy):
    def close(self):
        del self.weights


class FreesItsBufferTwice(Toy):
    def infer(self, batch):
        self.buffer = bytearray(1)
        return super().infer(batch)

    def close(self):
        if hasattr(self, "buffer"):
            self.buffer.pop()
            self.buffer = None


class SwapsRedAndBlue(Toy):
    def infer(self, batch):
        return super().infer(batch[..., ::-1])


class Hoards(Toy):
    hoard: ClassVar[list[mmap.mmap]] = []

    def infer(self, batch):
        # Fresh pages, where an array might be given memory that an earlier test has touched.
        self.hoard.append(mmap.mmap(-1, 400_000))
        self.hoard[-1].write(bytes(b"\1" * 400_000))
        return super().infer(batch)


class OpensAFileEachTime(Toy):
    opened: ClassVar[list[FileIO]] = []

    def infer(self, batch):
        self.opened.append(FileIO(os.devnull))
        return super().infer(batch)


class SharesItsWeights(Toy):
    shared: ClassVar[np.ndarray] = Toy().weights

    def __init__(self):
        super().__init__()
        self.weights = self.shared

    def close(self):
        self.shared[:] = 0


class Numbered(Toy):
    """Knows the how-manieth of its kind it is."""

    made: ClassVar[list[Toy]] = []

    def __init__(self):
        super().__init__()
        self.made.append(self)


class SecondIsAnother(Numbered):
    made: ClassVar[list[Toy]] = []

    def infer(self, batch):
        return super().infer(batch[:, ::-1] if self.made.index(self) == 1 else batch)


class ThirdIsAnother(Numbered):
    made: ClassVar[list[Toy]] = []

    def infer(self, batch):
        return super().infer(batch[:, ::-1] if self.made.index(self) == 2 else batch)


class ClosesAllOfItsKind(Numbered):
    made: ClassVar[list[Toy]] = []

    def close(self):
        for one in self.made:
            one.weights = np.zeros_like(Toy().weights)


BROKEN = {
    "it_says_what_it_is": [
        NamesItsEngineInText, NamesNoAccelerator, NamesTheDefaultAccelerator, NamesNoFormat,
        NamesItsFormatInText, ShoutsItsFormat, RemarksNothing,
    ],
    "each_crop_gives_one_finite_row": [OtherPrecision, KeepsTheImagesShape, RepeatsRows, GivesNaN, OtherDimension],
    "rows_do_not_depend_on_their_batch": [
        CentresTheBatch, OrdersTheBatch, TakesFewAtOnce, ForgetsTheRest,
    ],
    "different_crops_give_different_rows": [Stuck],
    "it_is_deterministic": [Remembers],
    "the_rows_are_its_callers_own": [LendsItsBuffer, RowsAreReadOnly, HandsOutItsCache],
    "its_input_may_be_read_only": [ScalesInPlace, UnlocksItsInput],
    "no_crops_give_no_rows": [NeedsACrop, ForgetsItsDimension, ForgetsItsType],
    "closing_twice_is_fine": [ClosesOnce, FreesItsBufferTwice],
    "it_agrees_with_the_golden_vectors": [SwapsRedAndBlue],
    "its_memory_is_bounded": [Hoards, OpensAFileEachTime],
    "it_survives_being_loaded_twice": [SharesItsWeights, SecondIsAnother, ThirdIsAnother, ClosesAllOfItsKind],
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    """A model folder for the toy, whose golden vectors an honest toy made."""
    (tmp_path / "net.toy").write_bytes(b"")
    parameters = {"model_file": "net.toy", "size": [16, 16]}
    document = {"id": "test/toy", "model_parameters": parameters, "reidd": {"dim": DIM}}
    crops = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    batch = golden.batch(crops, ModelConfig(document, base_dir=tmp_path))
    np.savez(tmp_path / "golden.npz", crops=crops, embeddings=Toy().infer(batch))
    return ModelConfig(document | {"reidd": {"golden": "golden.npz", "dim": DIM}}, base_dir=tmp_path)


class TestToy(BackendContract):
    backend_class = Toy

    @pytest.fixture
    def model(self, model):
        return model


def test_every_clause_has_a_backend_that_breaks_it():
    clauses = {name.removeprefix("test_") for name in dir(BackendContract) if name.startswith("test_")}
    assert clauses == set(BROKEN)


@pytest.mark.parametrize(("clause", "broken"), [(clause, kind) for clause, kinds in BROKEN.items() for kind in kinds])
def test_a_broken_backend_fails_its_clause(clause, broken, model, monkeypatch):
    monkeypatch.setenv(CALLS, "50")
    subject = Subject(broken, model, Accelerator.CPU)
    with pytest.raises((AssertionError, ValueError, AttributeError)):
        getattr(BackendContract(), f"test_{clause}")(subject)


def test_an_engine_that_is_compiled_at_each_load_may_round_otherwise(model):
    class Compiled(Numbered):
        made: ClassVar[list[Toy]] = []

        def infer(self, batch):
            return super().infer(batch) * np.float32(1 + 1e-6 * self.made.index(self))

    BackendContract().test_it_survives_being_loaded_twice(Subject(Compiled, model, Accelerator.CPU))


def test_a_model_without_a_file_for_the_backend_is_told_how_to_be_another(model):
    class Compiled(Toy):
        formats = frozenset({"engine"})

    with pytest.raises(AssertionError, match="test/toy has no file in the format engine: set `model_id`, or override"):
        Subject(Compiled, model, Accelerator.CPU).load()


def test_golden_crops_that_are_the_same_give_the_same_rows(model):
    known = golden.read(model)
    twice = {name: values[[0, 1, 1]] for name, values in known._asdict().items()}
    np.savez(model.base_dir / "golden.npz", **twice)
    BackendContract().test_different_crops_give_different_rows(Subject(Toy, model, Accelerator.CPU))


class TestBroken(BackendContract):
    """Run by the test below alone."""

    __test__ = "REIDD_TEST_BROKEN" in os.environ
    backend_class = Stuck

    @pytest.fixture
    def model(self, model):
        return model


def test_the_table_says_which_backend_keeps_which_clause():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "reidd.testing", "-p", "no:cacheprovider", __file__]
    env = {**os.environ, "REIDD_TEST_BROKEN": "1"}
    said = subprocess.run(
        [*command, "-k", "TestToy or TestBroken"], env=env, capture_output=True, text=True, check=False
    )
    assert "  1  Toy on CPU: keeps 12 of 12\n  2  Broken on CPU: keeps 10 of 12\n" in said.stdout
    assert re.search("different crops give different rows +✓  ✗\n", said.stdout)


def test_what_is_not_here_is_not_called_broken():
    *_, last = contract_table({"Stick on EDGE_TPU": {"test_it_is_deterministic": "·"}})
    assert last == "  1  Stick on EDGE_TPU: not ready here"


def subject_of(model, **said):
    """What the kit makes of a toy that says something else of itself."""

    class Contract(BackendContract):
        backend_class = type("Other", (Toy,), said)

    return next(Contract.subject.__wrapped__(Contract(), model, Accelerator.CPU))


def test_an_accelerator_that_is_not_here_is_skipped_with_its_obstacle(model):
    with pytest.raises(pytest.skip.Exception, match="no such thing is plugged in"):
        subject_of(model, obstacle=lambda _: "no such thing is plugged in")


@pytest.mark.parametrize("nothing", [False, ""])
def test_an_obstacle_without_words_is_a_fault_and_no_reason_to_skip(model, nothing):
    with pytest.raises((TypeError, pytest.skip.Exception)) as told:
        subject_of(model, obstacle=lambda _: nothing)
    assert "expected words, or None" in str(told.value)


def test_a_backend_without_accelerators_is_asked_all_the_same():
    class Contract(BackendContract):
        backend_class = NamesNoAccelerator

    asked = []
    metafunc = SimpleNamespace(fixturenames=["accelerator"], parametrize=lambda _, places, **__: asked.extend(places))
    Contract().pytest_generate_tests(metafunc)
    assert asked == [Accelerator.DEFAULT]
