"""What excuses a slow answer, and what does not."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from stalls import Stalls

WATCHING = """
import sys, time
sys.path.insert(0, sys.argv[1])
from stalls import Stalls
with Stalls() as stalls:
    start = time.monotonic()
    print("watching", flush=True)
    sys.stdin.readline()
    print(stalls.between(start, time.monotonic()))
"""


def test_a_process_that_was_stopped_knows_for_how_long():
    command = [sys.executable, "-c", WATCHING, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watching:
        watching.stdout.readline()
        time.sleep(0.1)
        watching.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        watching.send_signal(signal.SIGCONT)
        assert float(watching.communicate("\n", timeout=10)[0]) > 0.4


def test_waiting_for_somebody_else_is_no_stall():
    with Stalls() as stalls:
        start = time.monotonic()
        subprocess.run(["sleep", "0.5"], check=True)
        end = time.monotonic()
        assert end - start - stalls.between(start, end) > 0.3


def test_only_what_lies_within_the_time_counts():
    stalls = Stalls()
    stalls._stalls = [(1.0, 2.0), (5.0, 7.0)]
    assert stalls.between(1.5, 6.0) == 1.5
    assert (stalls.longest_s, stalls.total_s) == (2.0, 3.0)
