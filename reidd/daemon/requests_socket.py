"""The socket that requests come in at and replies go out of, a file or on tcp."""

import socket
from collections.abc import Callable

from reidd import protocol
from reidd.daemon.envelope import MAX_FRAMES
from reidd.daemon.served_socket import Room, ServedSocket
from reidd.daemon.zmtp import Limits, Mechanism

LIMITS = Limits(
    # The name of the connection goes before what a client says.
    frames=MAX_FRAMES - 1,
    hang_up_frames=2000,
    frame_bytes=protocol.MAX_FRAME_BYTES,
    message_bytes=200 << 20,
)
MAX_HELD_BYTES = 256 << 20
"""Of requests that have not come to their end, and replies that nobody reads."""
SHARE_OF_FILES = 0.35
"""How many connections there may be, on this machine as on tcp; what is left of the files is for subscribers."""


def requests_socket(listener: socket.socket, mechanism: Callable[[], Mechanism]) -> ServedSocket:
    """Serve requests at a listening socket."""
    return ServedSocket(listener, mechanism, LIMITS, Room(MAX_HELD_BYTES, SHARE_OF_FILES))
