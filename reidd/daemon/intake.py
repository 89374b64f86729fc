"""The messages of the socket on tcp: whatever comes, the loop gets its turn back soon."""

import logging
from collections.abc import Iterator

import zmq

from reidd.daemon.envelope import MAX_FRAMES

log = logging.getLogger(__name__)

FRAMES_LET_GO_PER_TURN = 10_000
# Plain numbers, for pyzmq's enums take several microseconds to combine.
POLLIN, NOBLOCK = int(zmq.POLLIN), int(zmq.NOBLOCK)


class Intake:
    """Reads whole messages. Of one with too many frames the first are given, and the others let go of bit by bit.

    ZeroMQ hands out a message once all of it has come, and the next one only behind its last frame. To let go of a
    frame costs about 2 us, and memory holds millions: done at once, that would be a core that does nothing else for
    seconds, until its watchdog ends it.
    """

    def __init__(self, socket: "zmq.Socket[bytes]"):
        self._socket = socket
        self._within = False
        """Whether the socket is within a message that is let go of."""

    def messages(self, at_most: int) -> Iterator[list[zmq.Frame]]:
        """What has come, without waiting."""
        for _ in range(at_most):
            if self._within and not self._let_go():
                return
            # Asking takes a third of the time of an attempt that raises.
            if not int(self._socket.getsockopt(zmq.EVENTS)) & POLLIN:
                return
            try:
                yield self._message()
            except zmq.Again:
                return
            except MemoryError:
                log.warning("a message was passed over, for there is not enough memory for it")
                self._within = True

    def _message(self) -> list[zmq.Frame]:
        """The next message; one frame more than there may be tells that it had too many."""
        frames = [self._socket.recv(NOBLOCK, copy=False)]
        # Asking the frame takes half the time of asking the socket.
        while frames[-1].more:
            if len(frames) > MAX_FRAMES:
                self._within = True
                break
            frames.append(self._socket.recv(copy=False))
        return frames

    def _let_go(self) -> bool:
        """Come nearer to the end of a message; whether it is reached."""
        self._within = bool(self._socket.getsockopt(zmq.RCVMORE))
        for _ in range(FRAMES_LET_GO_PER_TURN if self._within else 0):
            if not self._socket.recv(copy=False).more:
                self._within = False
                break
        return not self._within
