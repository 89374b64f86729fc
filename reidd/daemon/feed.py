"""The socket that subscribers hear events from, a file or on tcp."""

import socket
from collections.abc import Callable

from reidd.daemon.served_socket import Room, ServedSocket
from reidd.daemon.zmtp import CANCEL, SUBSCRIBE, Limits, Mechanism

LIMITS = Limits(frames=1, hang_up_frames=1, frame_bytes=1024, message_bytes=1024)
"""Of what subscribers say: topics."""
MAX_HELD_BYTES = 64 << 20
SHARE_OF_FILES = 0.15
"""How many subscribers there may be, on this machine as on tcp; most of the files are for those who ask."""
MAX_TOPICS = 100
"""Of one subscriber; further ones are passed over."""
HEARD_PER_TURN = 64


class Feed:
    """Sends each event to those that have subscribed to its beginning, as a PUB would."""

    def __init__(self, listener: socket.socket, mechanism: Callable[[], Mechanism]):
        self._served = ServedSocket(listener, mechanism, LIMITS, Room(MAX_HELD_BYTES, SHARE_OF_FILES))
        self._topics: dict[bytes, set[bytes]] = {}

    def fileno(self) -> int:
        """What to poll."""
        return self._served.fileno()

    @property
    def waiting(self) -> bool:
        """Whether subscriptions are at hand, which polling does not tell."""
        return self._served.waiting

    def turn(self) -> None:
        """Heed what subscribers ask for."""
        for (name, said, *_), _, _ in self._served.messages(HEARD_PER_TURN):
            if name not in self._topics:
                # Else, on a day without events, all who ever came would be remembered.
                self._forget_who_left()
            topics = self._topics.setdefault(name, set())
            if said[:1] == SUBSCRIBE and len(topics) < MAX_TOPICS:
                topics.add(said[1:])
            elif said[:1] == CANCEL:
                topics.discard(said[1:])

    def publish(self, topic: bytes, event: bytes) -> None:
        """Send one event; whoever does not read loses some, and nobody waits."""
        # Who subscribed while the change was being made ought to hear of it.
        self.turn()
        self._forget_who_left()
        for name, topics in self._topics.items():
            if any(topic.startswith(wanted) for wanted in topics):
                self._served.send(name, [topic, event])

    def send_away(self, unwanted: Callable[[bytes | None], bool]) -> None:
        """Close the connections that came in with such keys."""
        self._served.send_away(unwanted)

    def close(self) -> None:
        """Close all connections. Twice is fine."""
        self._served.close()

    def _forget_who_left(self) -> None:
        here = self._served.names
        self._topics = {name: topics for name, topics in self._topics.items() if name in here}
