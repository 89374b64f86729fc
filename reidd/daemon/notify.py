"""Telling systemd that the service is ready, alive or stopping (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Send one state, such as "READY=1", to the service manager; without one, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A leading @ stands for the zero byte of an abstract address.
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())


def watchdog_interval_s() -> float | None:
    """How often to send "WATCHDOG=1": half of what systemd allows, or None when it does not watch this process."""
    allowed_us = os.environ.get("WATCHDOG_USEC")
    if not allowed_us or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(allowed_us) / 2e6
