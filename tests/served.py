"""A served socket in the hands of a test: what it allows, and its turns."""

import time

from reidd.daemon.served_socket import Room
from reidd.daemon.zmtp import Limits

LIMITS = Limits(frames=10, hang_up_frames=100, frame_bytes=32 << 20, message_bytes=48 << 20)
ROOM = Room(held_bytes=40 << 20, share=0.5)


def come(served, count, seconds=5.0):
    """So many messages, waited for."""
    messages, ends = [], time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < ends:
        messages += served.messages(count - len(messages))
    return messages


def serve(served, until):
    ends = time.monotonic() + 5
    while not until():
        assert time.monotonic() < ends
        list(served.messages(10))
