"""The one configuration file: TOML into one frozen struct; whatever is not known is refused."""

import difflib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from reidd import places
from reidd.daemon.allowance import BURST, PER_S
from reidd.daemon.sockets import host_and_port
from reidd.engines import Accelerator, Engine
from reidd.errors import ConfigError, located

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class WantedPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One engine/accelerator pair of the configured order."""

    engine: Engine
    accelerator: Accelerator = Accelerator.DEFAULT
    optional: bool = False
    """Not missed where it has never worked: answers of the next pair are not called degraded."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator may set; every default runs on a bare Raspberry Pi."""

    model: str = "reidd/person"
    """`<publisher>/<name>` of the model folder."""
    models: str | None = None
    """A folder of model folders, searched before the user's and the embedded one."""
    engines: Annotated[tuple[WantedPair, ...], Meta(min_length=1)] = (
        WantedPair(Engine.TFLITE, Accelerator.EDGE_TPU, optional=True),
        WantedPair(Engine.TFLITE, Accelerator.CPU),
        WantedPair(Engine.DNN, Accelerator.CPU),
    )
    """What to run the network with: the first pair that works here."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    """Worker processes: images examined side by side."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads of each worker's network; more than one costs more than it gives once all cores are busy."""
    hang_s: Annotated[float, Meta(ge=0.05, le=600)] = 1.0
    """Seconds after which a worker that is silent on one image is taken for hung and replaced."""
    max_pause_s: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """Seconds, at most, after which a pair that failed is tried again."""
    max_distance: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Farther than this, on the scale that `reidd identify` prints, is unknown; by default the model's own."""
    capacity: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    """Instances the gallery holds; when it is full, the oldest one makes room."""
    audit_days: Annotated[float, Meta(ge=1, le=36_500)] = 365
    """Days that entries of the audit log are kept, by the wall clock."""
    gallery_key: str | None = None
    """A file with the key that the durable gallery is encrypted with; by default systemd's credential gallery-key."""
    old_gallery_key: str | None = None
    """A file with the key before that one, to change it; by default systemd's credential old-gallery-key."""
    tcp: str | None = None
    """Serve requests from other machines here too, such as "tcp://0.0.0.0:7340"; takes keys."""
    tcp_analytics: str | None = None
    """Send events to other machines from here, such as "tcp://0.0.0.0:7341"; takes tcp and keys."""
    tcp_rate: Annotated[float, Meta(ge=0.1, le=1_000_000)] = PER_S
    """Requests a second that a key may make over tcp."""
    tcp_burst: Annotated[int, Meta(ge=1, le=1_000_000)] = BURST
    """Requests that a key which was silent for a while may make at once."""
    keys_folder: str | None = None
    """The server's key and who is allowed in over tcp; by default `/etc/reidd/keys`, or the user's."""
    runtime_folder: str | None = None
    """Sockets and ring; by default systemd's, /run/reidd for root, or the user's runtime folder."""
    state_folder: str | None = None
    """The durable gallery; by default systemd's, /var/lib/reidd for root, or the user's state folder."""

    @property
    def runtime(self) -> Path:
        """The folder of sockets and ring."""
        return Path(self.runtime_folder) if self.runtime_folder else places.runtime_folder()

    @property
    def state(self) -> Path:
        """The folder of the durable gallery."""
        return Path(self.state_folder) if self.state_folder else places.state_folder()

    @property
    def keys(self) -> Path:
        """The folder of the server's key and of those who are let in over tcp."""
        return Path(self.keys_folder) if self.keys_folder else places.keys_folder()


def read(given: Path | None, files: Iterable[Path]) -> Config:
    """Read the configuration that is named, else the first of these files that exists, else take the defaults."""
    path = found(given, files)
    return parse(path) if path else Config()


def found(given: Path | None, files: Iterable[Path]) -> Path | None:
    """Which file is read: the one that is named, else the first of these that this user sees."""
    # Not Path.is_file, which raises where the folder is closed to this user: the machine's is, to most.
    return given or next((file for file in files if os.path.isfile(file)), None)  # noqa: PTH113


def parse(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or holds a wrong or unknown key; names the file, the key and the
            nearest right one.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except PermissionError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; let uid {os.geteuid()} read it: `chmod a+r {path}`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from None
    for key in raw:
        if key not in Config.__struct_fields__:
            raise ConfigError(f"{path}: unknown key {key!r}{_nearest(key, Config.__struct_fields__)}")
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        text, key = located(error)
        raise ConfigError(f"{path}: {key}: {text}{_meant(text, key)}") from None
    _check_addresses(config, path)
    return config


def _check_addresses(config: Config, path: Path) -> None:
    if config.tcp_analytics and not config.tcp:
        raise ConfigError(f"{path}: tcp_analytics is set but tcp is not; set both")
    for key, address in (("tcp", config.tcp), ("tcp_analytics", config.tcp_analytics)):
        try:
            if address is not None:
                host_and_port(address)
        except ConfigError as error:
            raise ConfigError(f"{path}: {key}: {error}") from None


def _meant(text: str, key: str) -> str:
    """The right word nearest to a wrong one within the engines, the only key that has more inside."""
    if found := re.search("unknown field `(.*)`", text):
        return _nearest(found[1], WantedPair.__struct_fields__)
    if found := re.search("Invalid enum value '(.*)'", text):
        names = [name.value for name in (Accelerator if key.endswith("accelerator") else Engine)]
        return _nearest(found[1].upper(), names, "expected one of")
    if text.startswith(("Expected `object`", "Expected `array`")):
        return '; write [{ engine = "TFLITE", accelerator = "CPU" }], most wanted first'
    return ""


def _nearest(key: str, known: Iterable[str], otherwise: str = "the keys are") -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; {otherwise} {', '.join(known)}"
