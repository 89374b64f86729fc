"""The files of the systemd service: systemd accepts them, they are tight, and they say what the daemon does."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import pytest
from figures import note
from subjects import eventually

import reidd
from reidd.cli.installation import DropIn
from reidd.client import subscribed
from reidd.daemon.config import Config, parse

SYSTEMD = Path(__file__).parents[2] / "systemd"
WORST_SCORE = 0.9
# With drop-ins the daemon reaches more than a daemon alone needs.
WORST_SCORES = {"coral-usb": 1.3, "coral-pcie": 1.3, "jetson": 1.3, "tcp": 1.3, "encryption": 0.9}

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path) -> Path:
    """A folder with the units, with a program that exists on this machine in place of the installed one."""
    for path in [*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.socket")]:
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/reidd/bin/reidd", "/bin/true"))
    return tmp_path


@pytest.fixture
def unit(units) -> Path:
    return units / "reidd.service"


def analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], check=False, capture_output=True, text=True, timeout=60
    )


@needs_systemd
@pytest.mark.parametrize("name", ["reidd.service", "reidd.socket", "reidd@face.service", "reidd@face.socket"])
def test_systemd_understands_every_line_of_the_units(units, name):
    verified = analyze("verify", units / name)
    # An unknown key is only a line on stderr; the status stays 0.
    assert (verified.returncode, verified.stderr) == (0, "")


@needs_systemd
def test_the_unit_is_hardened(unit):
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", unit).stdout)
    note("systemd-analyze security, reidd.service", score[1], WORST_SCORE)
    assert float(score[1]) <= WORST_SCORE


@pytest.mark.parametrize("kind", ["service", "socket"])
def test_the_template_is_the_unit_with_a_name_in_its_folders(kind):
    def settings(name):
        return [line for line in (SYSTEMD / name).read_text().splitlines() if not line.startswith(("#", "Description"))]

    plain = "\n".join(settings(f"reidd@.{kind}")).replace(" --config /etc/reidd/%i.toml", "")
    assert re.sub("[@/]%i", "", plain) == "\n".join(settings(f"reidd.{kind}"))


@pytest.mark.parametrize(("status", "rests"), [("78", True), ("203", True), ("0", False), ("KILL", False)])
def test_what_cannot_start_is_not_started_again_and_again(tmp_path, status, rests):
    (tmp_path / "sleep").write_text("#!/bin/sh\necho rests\n")
    (tmp_path / "sleep").chmod(0o755)
    (command,) = re.findall("^ExecStopPost=(.*)$", (SYSTEMD / "reidd.service").read_text(), re.M)
    environment = {"PATH": str(tmp_path), "EXIT_STATUS": status}
    done = subprocess.run(shlex.split(command), env=environment, check=True, capture_output=True, text=True)
    assert (done.stdout == "rests\n") == rests


@needs_systemd
@pytest.mark.parametrize("drop_in", WORST_SCORES)
def test_systemd_understands_the_drop_ins_and_they_open_little(unit, drop_in):
    folder = unit.with_name("reidd.service.d")
    folder.mkdir()
    shutil.copy(SYSTEMD / f"reidd-{drop_in}.conf", folder / f"{drop_in}.conf")
    verified = analyze("verify", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    # Offline, systemd-analyze reads the one file it is given: the drop-in goes behind it.
    whole = unit.with_name("whole.service")
    service = re.sub(r"^\[Unit\].*?(?=^\[Service\])", "", (folder / f"{drop_in}.conf").read_text(), flags=re.M | re.S)
    whole.write_text(unit.read_text().split("[Install]")[0] + service)
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", whole).stdout)
    note(f"systemd-analyze security, with {drop_in}", score[1], WORST_SCORES[drop_in])
    assert float(score[1]) <= WORST_SCORES[drop_in]


def drop_ins() -> list[str]:
    """What the drop-ins say, in the order in which systemd reads them when all are installed."""
    return [
        (SYSTEMD / f"reidd-{drop_in.value}.conf").read_text()
        for drop_in in sorted(DropIn, key=attrgetter("installed_name"))
    ]


def test_all_drop_ins_together_deny_no_device_that_one_of_them_allows():
    settings = [line for text in drop_ins() for line in text.splitlines()]
    # Where a device is named, the others are denied; to an older systemd `ProtectClock=yes` names the clock's.
    after = settings[settings.index("DevicePolicy=auto") :]
    assert [line for line in after if line.startswith(("DeviceAllow=", "ProtectClock="))] == [
        "DeviceAllow=", "ProtectClock=no",
    ]  # fmt: skip


def test_whoever_listens_for_devices_hears_of_them():
    # udev's messages stay in the name space of the machine's network.
    listening = [text for text in drop_ins() if "AF_NETLINK" in text]
    assert len(listening) == 1
    assert "PrivateNetwork=no" in listening[0]


def test_all_drop_ins_together_allow_the_memory_that_any_of_them_does():
    limits = [limit for text in drop_ins() for limit in re.findall("^LimitDATA=(.*)$", text, re.M)]
    assert limits == ["896M", "infinity"]


@needs_systemd
def test_systemd_makes_the_user_and_the_group(tmp_path):
    if not shutil.which("systemd-sysusers"):
        pytest.skip("systemd-sysusers is not installed")
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "reidd.sysusers")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    group = re.search(r"^reidd:[^:]*:(\d+):", (tmp_path / "etc/group").read_text(), re.M)
    assert re.search(rf"^reidd:[^:]*:\d+:{group[1]}:", (tmp_path / "etc/passwd").read_text(), re.M)
    # Only newer ones take a group's name, as `-:reidd`, in the third column.
    assert re.findall(r"^u reidd (\S+)", (SYSTEMD / "reidd.sysusers").read_text(), re.M) == ["-"]


def test_the_example_configuration_shows_every_key_with_its_default(tmp_path):
    text = (SYSTEMD / "reidd.toml").read_text()
    assert set(re.findall(r"^#(\w+) = ", text, re.M)) == set(Config.__struct_fields__)
    assert parse(SYSTEMD / "reidd.toml") == Config()
    shown = tmp_path / "reidd.toml"
    examples = {"models", "runtime_folder", "state_folder", "tcp", "tcp_analytics", "keys_folder"}
    examples |= {"gallery_key", "old_gallery_key", "max_distance"}
    shown.write_text(
        "\n".join(
            line[1:] for line in text.splitlines() if (key := re.match(r"#(\w+) = ", line)) and key[1] not in examples
        )
    )
    assert parse(shown) == Config()


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is not installed")
def test_a_client_that_comes_first_is_answered_by_the_daemon_it_wakes(short_folder, image):
    runtime = short_folder / "run"
    runtime.mkdir()
    sockets = [runtime / "reidd.sock", runtime / "analytics.sock"]
    command = [
        "systemd-socket-activate",
        *(f"--listen={path}" for path in sockets),
        sys.executable,
        "-m",
        "reidd",
        "serve",
    ]
    command += ["--runtime-folder", str(runtime), "--state-folder", str(short_folder / "state")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (short_folder / "log").open("w") as log, subprocess.Popen(command, stderr=log, env=environment) as daemon:
        try:
            eventually(lambda: all(path.exists() for path in sockets))
            with reidd.Client(f"ipc://{sockets[0]}", timeout=60) as client:
                client.add_to_gallery(image, 7)
                assert client.status().pid == daemon.pid
                with subscribed(client.status().analytics, "cleared", timeout=5) as events:
                    client.clear()
                    assert next(events)["count"] == 1
        finally:
            daemon.terminate()
            daemon.wait(10)
    # They belong to the service manager, which may start the next daemon on them.
    assert all(path.exists() for path in sockets)
