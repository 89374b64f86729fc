"""What a backend is: one engine on this machine, able to run networks of some formats."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from reidd.engines import Accelerator, Engine
from reidd.model import ModelConfig


class Backend(ABC):
    """One engine on this machine, with a network loaded.

    A plugin subclasses this, and a hook hands the class over (see `reidd.plugins`).
    `reidd.testing.BackendContract` is the test that every backend must pass.
    """

    engine: ClassVar[Engine]
    accelerators: ClassVar[tuple[Accelerator, ...]]
    """What the engine runs on, its default first."""
    formats: ClassVar[frozenset[str]]
    """File formats it reads, such as `{"onnx"}`."""

    @classmethod
    @abstractmethod
    def obstacle(cls, accelerator: Accelerator) -> str | None:
        """Why this backend cannot run on `accelerator` here, as words that say what to do, or None.

        Must be cheap and must not import the runtime: it is asked in processes that stay small.
        """

    @classmethod
    @abstractmethod
    def load(cls, model: ModelConfig, accelerator: Accelerator, *, threads: int) -> "Backend":
        """Load the model's network; any exception means that it cannot run here."""

    @abstractmethod
    def infer(self, batch: np.ndarray) -> np.ndarray:
        """Run the network: `(n, h, w, 3)` float32, preprocessed, to `(n, dim)` float32 in memory of its own.

        `batch` may be read-only and must not be written to; n may be 0, and as many as a request has: up to 64.
        """

    @property
    def remark(self) -> str:
        """What its user should know of how the network runs here, such as "XNNPACK runs 33 of 34 layers", or ""."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; calling it twice is fine."""
