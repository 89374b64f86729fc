"""A whole backend in numpy, and others that each break one promise of the contract."""

import mmap
import os
from io import FileIO
from typing import ClassVar

import numpy as np

from reidd.backend import Backend
from reidd.engines import Accelerator, Engine

DIM = 6


class Toy(Backend):
    """Keeps every promise: one fixed linear layer over a 4x4 thumbnail of the crop."""

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
