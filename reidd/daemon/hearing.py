"""What one client says: its bytes in, whole messages out, within limits.

libzmq bounds a frame but no message: one of eight million empty frames fits into 16 MB, and makes it abort. So the
daemon reads for itself, from socket files and from tcp.
"""

from reidd.daemon import zmtp
from reidd.daemon.zmtp import (
    CANCEL,
    COMMAND,
    GREETING_BYTES,
    LONG,
    MAX_COMMAND_BYTES,
    MORE,
    SUBSCRIBE,
    Limits,
    OutOfLineError,
)

LARGE_BYTES = 64 << 10
"""A frame that is read right into its place, unless it comes in one piece."""
ASIDE_BYTES = 1 << 20
"""A frame that takes milliseconds to open."""
FRAMES_AT_ONCE = 256
"""Then others have their turn, also when no message has come to its end."""
MAX_PING_CONTEXT = 16


class Hearing:
    """What one client has said so far: its handshake, then message after message."""

    def __init__(self, mechanism: zmtp.Mechanism, limits: Limits):
        self.mechanism, self._limits = mechanism, limits
        self._heard, self._at = bytearray(), 0
        self._large, self._filled, self._large_flags = bytearray(), 0, 0
        """A frame that comes in many pieces, how much of it is there, and its flags."""
        self._aside: tuple[int, memoryview] | None = None
        self._opened: tuple[int, bytes] | OutOfLineError | None = None
        """A frame that another thread opens, and what came of it."""
        self._frames: list[bytes] = []
        self._count = self._frame_bytes = 0
        self._greeted = False
        self.at_hand = False
        """Whether there may be a message although nothing more comes."""
        self.answer = b""
        """What is to be sent to the client; whoever sends it empties it."""

    @property
    def held_bytes(self) -> int:
        """How much memory the unfinished takes."""
        aside = self._aside[1].nbytes if self._aside else 0
        return len(self._heard) - self._at + len(self._large) + aside + self._frame_bytes

    @property
    def room(self) -> memoryview | None:
        """Where the rest of a large frame belongs, which is then not copied twice; None: anything may come."""
        return memoryview(self._large)[self._filled :] if self._large else None

    @property
    def stuck(self) -> bool:
        """Whether `open_aside` has to be called before there is another message."""
        return self._aside is not None

    def filled(self, size: int) -> None:
        """So much of the room was filled."""
        self._filled += size

    def hear(self, piece: memoryview) -> None:
        """Take in what has come."""
        self._heard += piece

    def message(self) -> list[bytes] | None:
        """The next whole message; None when more has to come first, or be done: see `at_hand` and `stuck`.

        Raises:
            OutOfLineError: what came is no ZMTP 3, or too much.
        """
        self.at_hand = False
        if not self._greeted and not self._greeting():
            return None
        for _ in range(FRAMES_AT_ONCE):
            if (frame := self._next()) is None:
                return None
            if not self.mechanism.ready:
                self.answer += self.mechanism.shake(frame[1])
                break
            if (whole := self._heed(*frame)) is not None:
                return whole
        self.at_hand = len(self._heard) > self._at
        return None

    def open_aside(self) -> None:
        """Open a large frame, which another thread may do: it takes long. `message` says what came of it."""
        # Looked at once, for meanwhile it may be forgotten.
        if (frame := self._aside) is None:
            return
        try:
            self._opened = self.mechanism.opened(*frame)
        except (OutOfLineError, MemoryError) as fault:
            # Its words only: its traceback would keep the frame in memory, thrice.
            self._opened = OutOfLineError(str(fault) or "a frame that there is not enough memory for")

    def forget(self) -> None:
        """Let go of the unfinished, for whoever said it is gone."""
        self._heard, self._at, self._large, self._aside = bytearray(), 0, bytearray(), None
        self._frames, self._frame_bytes = [], 0

    def _greeting(self) -> bool:
        heard = self._heard
        if (heard and heard[0] != 0xFF) or (len(heard) > 9 and not heard[9] & 1):
            raise OutOfLineError("no ZMTP")
        if len(heard) > 10 and heard[10] < 3:
            raise OutOfLineError("a ZMTP older than 3.0")
        if len(heard) < GREETING_BYTES:
            return False
        if heard[12:32].rstrip(b"\0") != self.mechanism.name:
            raise OutOfLineError(f"another mechanism than {self.mechanism.name.decode()}")
        self._greeted, self._at = True, GREETING_BYTES
        return True

    def _next(self) -> tuple[int, bytes] | None:
        """The next frame's flags and body, once all of it is there and open."""
        if self._opened is not None:
            opened, self._opened, self._aside = self._opened, None, None
            if isinstance(opened, OutOfLineError):
                raise opened
            return opened
        if self._aside is not None:
            return None
        if self._large:
            return self._large_frame()
        if (frame := self._frame()) is None:
            del self._heard[: self._at]
            self._at = 0
            return None
        return self.mechanism.opened(*frame) if self.mechanism.ready else frame

    def _frame(self) -> tuple[int, bytes] | None:
        heard, at = self._heard, self._at
        if len(heard) < at + 2:
            return None
        flags, size, begin = heard[at], heard[at + 1], at + 2
        if flags & LONG:
            begin = at + 9
            if len(heard) < begin:
                return None
            size = int.from_bytes(heard[at + 1 : begin], "big")
        self._allow(flags, size)
        if len(heard) < begin + size:
            if size >= LARGE_BYTES:
                self._begin_large(flags, size, begin)
            return None
        self._at = begin + size
        with memoryview(heard) as view:
            return flags, bytes(view[begin : self._at])

    def _begin_large(self, flags: int, size: int, begin: int) -> None:
        self._large, self._filled, self._large_flags = bytearray(size), len(self._heard) - begin, flags
        self._large[: self._filled] = self._heard[begin:]
        self._heard.clear()
        self._at = 0

    def _large_frame(self) -> tuple[int, bytes] | None:
        if self._filled < len(self._large):
            return None
        flags, body, self._large = self._large_flags, memoryview(self._large), bytearray()
        if self.mechanism.wrapping_bytes and body.nbytes >= ASIDE_BYTES:
            self._aside = flags, body
            return None
        return self.mechanism.opened(flags, body)

    def _allow(self, flags: int, size: int) -> None:
        limits, wrapping = self._limits, self.mechanism.wrapping_bytes if self.mechanism.ready else 0
        _check(flags)
        if not (self.mechanism.ready or flags & COMMAND):
            raise OutOfLineError("a message before the handshake")
        if size > wrapping + (limits.frame_bytes if wrapping or not flags & COMMAND else MAX_COMMAND_BYTES):
            raise OutOfLineError("a frame that is too large")
        if self._frame_bytes + size > limits.message_bytes + wrapping:
            raise OutOfLineError("a message that is too large")

    def _heed(self, flags: int, body: bytes) -> list[bytes] | None:
        """Add a frame to its message, or do what a command asks for; return the message that is whole with it."""
        _check(flags)
        if not flags & COMMAND:
            return self._joined(flags, body)
        if len(body) > MAX_COMMAND_BYTES:
            raise OutOfLineError("a frame that is too large")
        match zmtp.spoken(body):
            case b"PING", body:
                pong = zmtp.command(b"PONG", body[2 : 2 + MAX_PING_CONTEXT])
                self.answer += b"".join(self.mechanism.sealed(COMMAND, pong))
            case b"SUBSCRIBE", topic:
                return [SUBSCRIBE + topic]
            case b"CANCEL", topic:
                return [CANCEL + topic]
        return None

    def _joined(self, flags: int, body: bytes) -> list[bytes] | None:
        self._count += 1
        if self._count > self._limits.hang_up_frames:
            raise OutOfLineError("a message of too many frames")
        if self._count <= self._limits.frames + 1:
            self._frames.append(body)
            self._frame_bytes += len(body)
        if flags & MORE:
            return None
        whole, self._frames = self._frames, []
        self._count = self._frame_bytes = 0
        return whole


def _check(flags: int) -> None:
    if flags > MORE | LONG | COMMAND or flags & (MORE | COMMAND) == MORE | COMMAND:
        raise OutOfLineError("no ZMTP frame")
