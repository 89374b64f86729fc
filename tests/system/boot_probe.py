"""Runs inside a machine that systemd booted: treats the installed service badly, and prints what it saw as JSON."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

from stalls import Stalls

import reidd

CONFIG = Path("/etc/reidd/reidd.toml")
ENDPOINT = "ipc:///run/reidd/reidd.sock"
REPORT = Path(sys.argv[1])
IMAGE = Path("/image.jpg").read_bytes()
KILLS = 3
WAITING_S = 20


def systemctl(*words):
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()


def main_pid():
    return int(systemctl("show", "--property=MainPID", "--value", "reidd.service"))


def bomb():
    """A PNG of 30,000 x 30,000 pixels in a few bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def answered_after(what, client):
    """Do something to the daemon while a client waits; return how many seconds its answer takes.

    Those at which this machine stood still do not count.
    """
    with Stalls() as stalls:
        started = time.monotonic()
        what()
        assert client.re_id_image(IMAGE).predictions[0].id == 7
        answered = time.monotonic()
        return answered - started - stalls.between(started, answered)


def check(seen):
    with reidd.Client(ENDPOINT, timeout=60) as client:
        client.add_to_gallery(IMAGE, 7)
        seen["named"] = client.re_id_image(IMAGE).predictions[0].id
        seen["user"] = Path(f"/proc/{main_pid()}").owner()
        kill = [answered_after(lambda: os.kill(main_pid(), signal.SIGKILL), client) for _ in range(KILLS)]
        seen["kill_s"], seen["slowest_kill_s"] = min(kill), max(kill)
        hung = main_pid()
        seen["hang_s"] = answered_after(lambda: os.kill(hung, signal.SIGSTOP), client)
        seen["hung_was_replaced"] = main_pid() != hung
        started = time.monotonic()
        try:
            client.re_id_image(bomb())
        except reidd.ImageError as error:
            seen["bomb"] = str(error)
        seen["bomb_s"] = time.monotonic() - started
        seen["count"] = client.count()
    started = time.monotonic()
    systemctl("stop", "reidd.service")
    seen["stop_s"] = time.monotonic() - started
    with reidd.Client(ENDPOINT, timeout=60) as client:
        # The socket is systemd's, and wakes the daemon.
        seen["count_after_waking"] = client.count()
    check_with_a_wrong_configuration(seen)
    seen["journal"] = systemctl("status", "--no-pager", "--lines=20", "reidd.service")


def check_with_a_wrong_configuration(seen):
    right = CONFIG.read_text()
    CONFIG.write_text(right + "\nworkerz = 3\n")
    started = time.monotonic()
    systemctl("restart", "reidd.service")
    seen["wrong_configuration_s"] = time.monotonic() - started
    with reidd.Client(ENDPOINT, timeout=WAITING_S) as waiting:
        try:
            waiting.status()
        except reidd.ConnectionError:
            seen["status_of_a_wrong_configuration"] = systemctl("show", "--property=ExecMainStatus", "reidd.service")
    journal = ["journalctl", "--unit=reidd.service", "--output=cat"]
    said = subprocess.run(journal, capture_output=True, text=True, check=True).stdout
    seen["starts_with_a_wrong_configuration"] = said.count("did you mean 'workers'")
    CONFIG.write_text(right)
    systemctl("restart", "reidd.service")
    with reidd.Client(ENDPOINT, timeout=60) as client:
        seen["count_once_mended"] = client.count()


def main():
    seen = {}
    threading.Timer(150, lambda: os._exit(1)).start()
    try:
        check(seen)
    except Exception as error:
        seen["error"] = repr(error)
        seen["journal"] = systemctl("status", "--no-pager", "--lines=40", "reidd.service")
    REPORT.write_text(json.dumps(seen, indent=1))
    os._exit(0)


if __name__ == "__main__":
    main()
