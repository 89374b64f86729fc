"""A stranger with a random key who tries the door: the proof that it is shut."""

import time

import zmq

PROOF_WITHIN_S = 10.0
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Stranger:
    """One attempt to come in; polled by whoever answers the handshake, so it waits for nothing."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, server_public: str):
        self.until = time.monotonic() + PROOF_WITHIN_S
        """When there is no more use in waiting."""
        self._socket = context.socket(zmq.DEALER)
        public, secret = zmq.curve_keypair()
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, server_public.encode())
        self._seen = self._socket.get_monitor_socket(_EVENTS)
        self._socket.connect(address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"))

    def refused(self) -> bool | None:
        """True when its key was turned away, False when it was let in or nobody asked for it, None before.

        Where the door is full, or drops it half way, libzmq tries again.
        """
        if not self._seen.poll(0):
            return None
        # Here, for it brings asyncio along, which a daemon without tcp never needs.
        from zmq.utils import monitor

        return bool(monitor.recv_monitor_message(self._seen)["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH)

    def close(self) -> None:
        """Go away."""
        self._socket.disable_monitor()
        self._seen.close()
        self._socket.close()
