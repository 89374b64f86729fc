"""What the core and its workers keep to themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOOK = """
import ctypes, resource
from reidd.daemon import memory
resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))
memory.keep_private()
PR_GET_DUMPABLE = 3
print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_process_that_keeps_to_itself_is_dumped_nowhere():
    said = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["0", "(0,", "0)"]


def test_the_core_and_its_workers_leave_no_core_file(client, shared_daemon):
    core = shared_daemon.process.pid
    assert shared_daemon.workers()
    for pid in (core, *shared_daemon.workers()):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file")] == [["0", "0"]]


def test_when_memory_runs_out_a_worker_goes_before_the_core(shared_daemon):
    core, *workers = (
        int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        for pid in (shared_daemon.process.pid, *shared_daemon.workers())
    )
    assert [worker - core for worker in workers] == [200] * len(workers) != []


def test_a_user_who_is_not_root_may_say_so_too():
    # As a service's worker is, from its start on; changing the user closes the file, as `keep_private` does.
    script = (
        "import ctypes, os; from reidd.daemon import memory; os.setresuid(4711, 4711, 4711)\n"
        "ctypes.CDLL(None).prctl(memory.PR_SET_DUMPABLE, 1, 0, 0, 0)\n"
        "memory.go_first(); print(open('/proc/self/oom_score_adj').read())"
    )
    if os.geteuid():
        pytest.skip("needs root, to be somebody else")
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(said.stdout) == int(Path("/proc/self/oom_score_adj").read_text()) + 200
