"""A thread that opens large frames: one may take half a second, in which nobody else would be heard."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from reidd.daemon.connection import Connection


class Aside:
    """Opens one large frame after the other; the loop goes on meanwhile, for libsodium takes no lock of Python's."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "aside")
        self._done: deque[Connection] = deque()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """What becomes readable when a frame is open."""
        return self._event

    def begin(self, connection: Connection) -> None:
        """Open the frame at which a client's hearing is stuck."""
        self._thread.submit(self._open, connection)

    def done(self) -> list[Connection]:
        """Those that go on, for their frames are open."""
        os.eventfd_read(self._event)
        return [self._done.popleft() for _ in range(len(self._done))]

    def close(self) -> None:
        """Wait for the thread to end. Twice is fine."""
        if self._event >= 0:
            self._thread.shutdown(cancel_futures=True)
            os.close(self._event)
            self._event = -1

    def _open(self, connection: Connection) -> None:
        connection.hearing.open_aside()
        self._done.append(connection)
        os.eventfd_write(self._event, 1)
