"""A Debian that a real systemd boots, with no network; and why there is none, where there is none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUILD_S, BOOT_S = 240, 200
DEBIAN = {(3, 11): "bookworm", (3, 13): "trixie"}
PACKAGES = "systemd,systemd-sysv,dbus,udev,python3,python3-venv,libstdc++6"

PROBE = """
[Unit]
After=multi-user.target reidd.service
[Service]
Type=oneshot
{settings}
ExecStart=/usr/bin/python3 {program} /report.json
ExecStopPost=/usr/bin/systemctl poweroff --no-block
[Install]
WantedBy=multi-user.target
"""


def missing():
    """Why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "only root can boot a machine"
    for tool in ("systemd-nspawn", "mmdebstrap"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if sys.version_info[:2] not in DEBIAN:
        return "no Debian has this Python, whose packages the machine borrows"
    return None


def built(folder):
    """A Debian in a folder."""
    if reason := missing():
        pytest.skip(f"NO SYSTEMD WAS BOOTED: {reason}")
    command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={PACKAGES}", DEBIAN[sys.version_info[:2]]]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode:
        pytest.skip(f"NO SYSTEMD WAS BOOTED: mmdebstrap failed: {done.stderr[-300:]}")
    return folder


def enable(folder, target, unit):
    wants = folder / f"etc/systemd/system/{target}.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / unit).symlink_to(f"../{unit}")


def booted(folder, program, *, binds, settings=""):
    """Boot it with a program that writes /report.json, until it turns itself off; return the report."""
    (folder / "etc/systemd/system/probe.service").write_text(PROBE.format(program=program, settings=settings))
    enable(folder, "multi-user", "probe.service")
    command = ["systemd-nspawn", "--quiet", "--boot", "--private-network", "--register=no", f"--directory={folder}"]
    command += [f"--bind-ro={source}:{target}" for source, target in binds.items()]
    # Without a systemd of its own the host has no scope to put the machine into.
    command += ["--keep-unit"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=BOOT_S, check=False, stdin=subprocess.DEVNULL)
    report = Path(folder) / "report.json"
    if not report.exists():
        pytest.fail(f"the machine left no report: {ran.stdout[-3000:]} {ran.stderr[-1000:]}")
    return json.loads(report.read_text())
