"""What every method of the published API is made of: one request, answered in this process or by a daemon."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from reidd import protocol
from reidd.errors import ReiddError
from reidd.service import float32_rows

_R = TypeVar("_R", bound=protocol.Reply)


class Requester(ABC):
    """Has requests answered."""

    @abstractmethod
    def _ask(self, request: protocol.Request, frames: Sequence[Any] = ()) -> tuple[protocol.AnyReply, list[Any]]:
        """Have one request answered; raise its error."""

    @abstractmethod
    def _space(self) -> tuple[bytes, int]:
        """The gallery's feature space and dimension."""

    def _answer(self, kind: type[_R], request: protocol.Request, frames: Sequence[Any] = ()) -> tuple[_R, list[Any]]:
        """The answer to a request, and its frames."""
        reply, answered = self._ask(request, frames)
        if not isinstance(reply, kind):
            raise ReiddError(
                f"the answer is {type(reply).__name__}, expected {kind.__name__}: another version of reidd?"
            )
        return reply, answered

    def _reply(self, kind: type[_R], request: protocol.Request, frames: Sequence[Any] = ()) -> _R:
        """The answer to a request whose reply has no frames."""
        return self._answer(kind, request, frames)[0]

    def _array(self, request: protocol.Request, frames: Sequence[Any]) -> np.ndarray:
        reply, answered = self._answer(protocol.Array, request, frames)
        return float32_rows(reply.shape, answered[0])
