"""The systemd service on a machine: the steps that put it there, and those that take it away."""

import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Collection, Sequence
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from reidd import places
from reidd.cli.steps import Copy, Folder, Link, Remove, Run, Step
from reidd.errors import ConfigError

ENVIRONMENT = Path("/opt/reidd")
CONFIGURATION = Path("/etc/reidd")
KEY = CONFIGURATION / "gallery.key"
UNITS = Path("/etc/systemd/system")
SYSUSERS = Path("/usr/lib/sysusers.d/reidd.conf")
UDEV = Path("/etc/udev/rules.d/60-reidd-coral.rules")
COMMAND = Path("/usr/local/bin/reidd")
RUNTIME = Path("/run/reidd")
UNIT_FILES = ("reidd.service", "reidd.socket", "reidd@.service", "reidd@.socket")
CREDENTIALS_SINCE = 247
UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  (what the hardened unit does not see)


class DropIn(str, Enum):
    """What the service may reach beyond its socket files, or gets."""

    CORAL_USB = "coral-usb"
    CORAL_PCIE = "coral-pcie"
    JETSON = "jetson"
    TCP = "tcp"
    ENCRYPTION = "encryption"

    @property
    def installed_name(self) -> str:
        """What it is called beside the unit: systemd reads it before the `override.conf` of `systemctl edit`.

        A Jetson's comes last, for it allows more memory and more devices than the others.
        """
        return f"{20 if self is DropIn.JETSON else 10}-{self.value}.conf"


class Source(NamedTuple):
    """What pip installs."""

    requirement: str
    options: tuple[str, ...] = ()
    again: bool = False
    """A file may have changed under the same version."""


def source(given: Path | None, extra: str) -> Source:
    """What to install: a wheel, a folder of wheels, or the reidd that is running.

    Raises:
        ConfigError: it is not there.
    """
    if given is not None and given.is_dir() and not (given / "pyproject.toml").exists():
        if not list(given.glob("reidd-*.whl")):
            raise ConfigError(f"{given}: holds no reidd-*.whl; fill it with `pip wheel 'reidd[{extra}]' -w {given}`")
        return Source(f"reidd[{extra}]", ("--no-index", "--find-links", str(given.resolve())), again=True)
    if given is not None:
        if not given.exists():
            raise ConfigError(f"{given}: there is no such file; --from takes a wheel or a folder of wheels")
        return Source(f"reidd[{extra}] @ {given.resolve().as_uri()}", again=True)
    origin = json.loads(importlib.metadata.distribution("reidd").read_text("direct_url.json") or "{}")
    if not origin:
        return Source(f"reidd[{extra}]=={importlib.metadata.version('reidd')}")
    url, vcs = origin["url"], origin.get("vcs_info")
    if url.startswith("file://") and not Path(unquote(url.removeprefix("file://"))).exists():
        raise ConfigError(f"{url} is gone, and this reidd came from there; name a wheel with --from")
    where = f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url
    return Source(f"reidd[{extra}] @ {where}", again=True)


def present() -> set[DropIn]:
    """The drop-ins that an earlier installation left: a newer reidd may bring others of the same names."""
    found = {drop_in for drop_in in DropIn if (UNITS / "reidd.service.d" / drop_in.installed_name).exists()}
    # A key that was taken away lies elsewhere: a new one, unasked for, would not open the gallery.
    return found if _has_key() else found - {DropIn.ENCRYPTION}


def check_systemd(said: str) -> None:
    """Refuse a systemd, by what `systemctl --version` says, that passes over the line which hands the key on.

    Raises:
        ConfigError: it is too old.
    """
    found = re.match(r"systemd (\d+)", said)
    if found and int(found[1]) < CREDENTIALS_SINCE:
        raise ConfigError(
            f"systemd {found[1]} hands no key to a service, and the gallery would lie there readable; expected "
            f"{CREDENTIALS_SINCE} or newer for --encryption; with this one, name a key file of the user reidd as "
            f"`gallery_key` in {CONFIGURATION / 'reidd.toml'}"
        )


def extra() -> str:
    """Which set of runtimes this machine has already."""
    old = find_spec("tflite_runtime") is not None and find_spec("ai_edge_litert") is None
    return "tflite-runtime" if old else "standard"


def python(given: Path | None) -> Path:
    """The interpreter that the service runs on.

    Raises:
        ConfigError: the service could not see it, or it makes no environments.
    """
    found = (given or Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}").resolve()
    if hidden := next((folder for folder in UNSEEN if found.is_relative_to(folder)), None):
        raise ConfigError(
            f"{found} lies in {hidden}, which the service does not see; name the system's: --python /usr/bin/python3"
        )
    if given is None and find_spec("ensurepip") is None:
        raise ConfigError(
            f"{found} makes no environments: the module ensurepip is missing; apt install {found.name}-venv"
        )
    return found


def install(source: Source | None, python: Path, drop_ins: Collection[DropIn]) -> list[Step]:
    """List what puts the service onto this machine and starts it; without a source, /opt/reidd stays as it is."""
    files = places.service_folder()
    return [
        *(_environment(source, python, own_libraries=DropIn.JETSON not in drop_ins) if source else ()),
        Link(COMMAND, ENVIRONMENT / "bin/reidd"),
        Copy(files / "reidd.sysusers", SYSUSERS),
        Run(["systemd-sysusers", SYSUSERS], "make the user and the group reidd by hand, then run this again"),
        *(Copy(files / name, UNITS / name) for name in UNIT_FILES),
        *(step for drop_in in DropIn if drop_in in drop_ins for step in _reach(files, drop_in)),
        Folder(CONFIGURATION, 0o750, "reidd"),
        Copy(files / "reidd.toml", CONFIGURATION / "reidd.toml", 0o640, "reidd", keep=True),
        *(_key() if DropIn.ENCRYPTION in drop_ins else ()),
        Run(["systemctl", "daemon-reload"], "look at `systemctl status`"),
        Run(["systemctl", "enable", "reidd.socket", "reidd.service"], "look at `systemctl status`"),
        Run(["systemctl", "start", "reidd.socket"], "see why with `journalctl -u reidd.socket`"),
        Run(["systemctl", "restart", "reidd.service"], "see why with `journalctl -u reidd`, mend it, run this again"),
        # Those of other models too: a worker that an old core starts would run the new code.
        Run(
            ["systemctl", "try-restart", "reidd@*.service"],
            "see why with `journalctl -u 'reidd@*'`, mend it, run this again",
        ),
        Run([ENVIRONMENT / "bin/reidd", "doctor", "--config", CONFIGURATION / "reidd.toml"], "see above", shown=True),
    ]


def uninstall() -> list[Step]:
    """List what takes the service away again; what people made stays: gallery, configuration, keys.

    Raises:
        ConfigError: /opt/reidd is not what `install` made.
    """
    units = sorted({"reidd.service", "reidd.socket", *_instances()})
    check_ours(ENVIRONMENT)
    ours = COMMAND.is_symlink() and COMMAND.readlink().is_relative_to(ENVIRONMENT)
    return [
        Run(["systemctl", "disable", "--now", *units], None),
        # Those that were started and never enabled.
        Run(["systemctl", "stop", "reidd@*.socket", "reidd@*.service"], None),
        *(Remove(UNITS / name) for name in UNIT_FILES),
        *(step for unit in ("reidd.service.d", "reidd@.service.d") for step in _unreach(UNITS / unit)),
        Remove(UDEV),
        Remove(SYSUSERS),
        Run(["systemctl", "daemon-reload"], None),
        Run(["systemctl", "reset-failed", "reidd*"], None),
        Remove(RUNTIME),
        *([Remove(COMMAND)] if ours else []),
        # Last of all: this very program may run from there.
        Remove(ENVIRONMENT),
    ]


def check_ours(folder: Path) -> None:
    """Refuse a folder that is there and no environment: it is somebody else's."""
    if folder.exists() and not (folder / "pyvenv.cfg").exists():
        raise ConfigError(f"{folder}: is there and no Python environment; move it away first")


def _environment(source: Source, python: Path, *, own_libraries: bool) -> Sequence[Step]:
    check_ours(ENVIRONMENT)
    # An OpenCV with CUDA is the system's; pip has none.
    shared = () if own_libraries else ("--system-site-packages",)
    pip = (ENVIRONMENT / "bin/pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")
    advice = "mend that, or name a wheel or a folder of wheels with --from"
    steps = [
        Run([python, "-m", "venv", *shared, ENVIRONMENT], f"on Debian: apt install {python.name}-venv"),
        Run([*pip, "--upgrade", *source.options, source.requirement], advice),
    ]
    if source.again:
        steps.append(Run([*pip, "--force-reinstall", "--no-deps", *source.options, source.requirement], advice))
    return steps


def _reach(files: Path, drop_in: DropIn) -> Sequence[Step]:
    name = f"reidd-{drop_in.value}.conf"
    steps: list[Step] = [
        Copy(files / name, UNITS / unit / drop_in.installed_name) for unit in ("reidd.service.d", "reidd@.service.d")
    ]
    match drop_in:
        case DropIn.CORAL_USB | DropIn.CORAL_PCIE:
            group = "plugdev" if drop_in is DropIn.CORAL_USB else "apex"
            steps.append(Run(["groupadd", "--system", "--force", group], f"make the group {group} by hand"))
            steps.append(Copy(files / UDEV.name, UDEV))
            steps.append(Run(["udevadm", "control", "--reload"], None))
            steps.append(Run(["udevadm", "trigger", "--subsystem-match=usb", "--subsystem-match=apex"], None))
        case DropIn.TCP:
            steps.append(Folder(CONFIGURATION / "keys", 0o2750, "reidd"))
        case DropIn.JETSON | DropIn.ENCRYPTION:
            pass
    return steps


def _key() -> Sequence[Step]:
    """A key that is there stays, for what was encrypted with it needs it."""
    return [] if _has_key() else [Run([ENVIRONMENT / "bin/reidd", "keys", "gallery", KEY], shown=True)]


def _has_key() -> bool:
    # Not Path.exists, which raises where the folder is closed to this user, who may look with --dry-run.
    return os.path.exists(KEY)  # noqa: PTH110


def _unreach(folder: Path) -> Sequence[Step]:
    """Drop-ins of ours go; one that the operator wrote stays, and with it the folder."""
    return [*(Remove(folder / drop_in.installed_name) for drop_in in DropIn), Remove(folder, if_empty=True)]


def _instances() -> set[str]:
    return {path.name for path in UNITS.glob("*.wants/reidd@*")}
