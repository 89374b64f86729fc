"""The socket file that subscribers of this machine hear events from."""

import socket

from reidd.daemon.socket_file import SocketFile
from reidd.daemon.zmtp import Kind, Limits

LIMITS = Limits(frames=1, hang_up_frames=1, frame_bytes=1024, message_bytes=1024)
"""Of what subscribers say: topics."""
MAX_HELD_BYTES = 64 << 20
MAX_TOPICS = 100
"""Of one subscriber; further ones are passed over."""
HEARD_PER_TURN = 64
SUBSCRIBE, CANCEL = b"\1", b"\0"


class Feed:
    """Sends each event to those that have subscribed to its beginning, as a PUB would."""

    def __init__(self, listener: socket.socket):
        self._file = SocketFile(listener, Kind.PUB, LIMITS, MAX_HELD_BYTES)
        self._topics: dict[bytes, set[bytes]] = {}

    def fileno(self) -> int:
        """What to poll."""
        return self._file.fileno()

    @property
    def waiting(self) -> bool:
        """Whether subscriptions are at hand, which polling does not tell."""
        return self._file.waiting

    def turn(self) -> None:
        """Heed what subscribers ask for."""
        for (name, said, *_), _ in self._file.messages(HEARD_PER_TURN):
            topics = self._topics.setdefault(name, set())
            if said[:1] == SUBSCRIBE and len(topics) < MAX_TOPICS:
                topics.add(said[1:])
            elif said[:1] == CANCEL:
                topics.discard(said[1:])

    def publish(self, topic: bytes, event: bytes) -> None:
        """Send one event; whoever does not read loses some, and nobody waits."""
        # Who subscribed while the change was being made ought to hear of it.
        self.turn()
        here = self._file.names
        self._topics = {name: topics for name, topics in self._topics.items() if name in here}
        for name, topics in self._topics.items():
            if any(topic.startswith(wanted) for wanted in topics):
                self._file.send(name, [topic, event])

    def close(self) -> None:
        """Close all connections. Twice is fine."""
        self._file.close()
