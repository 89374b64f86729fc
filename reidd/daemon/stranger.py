"""A stranger with a random key who tries the door: the proof that it is shut."""

import time

import zmq

PROOF_WITHIN_S = 10.0
MAX_LOOK_S = 1.0
"""What of that may pass between two looks: the loop looks that often."""
_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Stranger:
    """One attempt to come in; polled by whoever answers the handshake, so it waits for nothing."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, server_public: str):
        self._left_s, self._looked = PROOF_WITHIN_S, time.monotonic()
        self._turned_away = False
        self._socket = context.socket(zmq.DEALER)
        public, secret = zmq.curve_keypair()
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, server_public.encode())
        self._seen = self._socket.get_monitor_socket(_EVENTS)
        self._socket.connect(address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"))

    def refused(self, now: float) -> bool | None:
        """True when its key was turned away, False when it was let in or nothing came of it in time, None before.

        Where the door is full, or drops it half way, libzmq tries again; if so each time, it was not let in either.
        """
        while self._seen.poll(0):
            # Here, for it brings asyncio along, which a daemon without tcp never needs.
            from zmq.utils import monitor

            event = monitor.recv_monitor_message(self._seen)["event"]
            if event != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                return bool(event == zmq.EVENT_HANDSHAKE_FAILED_AUTH)
            self._turned_away = True
        # Where the machine, or this loop, stood still, nobody could answer: that time does not count.
        self._left_s -= min(now - self._looked, MAX_LOOK_S)
        self._looked = now
        return self._turned_away if self._left_s <= 0 else None

    def close(self) -> None:
        """Go away."""
        self._socket.disable_monitor()
        self._seen.close()
        self._socket.close()
