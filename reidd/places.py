"""Where reidd's files are on this machine: sockets and ring, durable state, models."""

import os
import tempfile
from pathlib import Path

from reidd.errors import ConfigError

SOCKET = "reidd.sock"
ANALYTICS = "analytics.sock"
RING = "gallery.ring"
STORE = "gallery.sqlite"


def runtime_folder() -> Path:
    """The folder of the sockets and of the ring, on tmpfs: systemd's, else the user's, else one of our own in /tmp."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/run/reidd")
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "reidd"
    return Path(tempfile.gettempdir()) / f"reidd-{os.geteuid()}"


def state_folder() -> Path:
    """The folder of the durable gallery: systemd's, else /var/lib for root, else the user's state folder."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/reidd")
    return _user_folder("XDG_STATE_HOME", ".local/state")


def default_endpoint() -> str:
    """What `REIDD_ENDPOINT` names, else the socket of this user's daemon or, where there is none, of the machine's.

    Raises ConfigError when somebody else made the folder that this user's daemon would have.
    """
    if named := os.environ.get("REIDD_ENDPOINT"):
        return named
    own, machine = runtime_folder() / SOCKET, Path("/run/reidd") / SOCKET
    if own.parent != machine.parent:
        _check_ours(own.parent)
    # The folder counts, for whoever is not in its group does not see the socket within, and is to be told so.
    return f"ipc://{machine if machine.parent.exists() and not own.exists() else own}"


def model_folders(configured: Path | None = None) -> list[Path]:
    """Where model folders are looked for, first match first: `REIDD_MODELS`, configured, user's, embedded."""
    named = [Path(p) for p in os.environ.get("REIDD_MODELS", "").split(os.pathsep) if p]
    chosen = [configured] if configured else []
    package = Path(__file__).parent
    # A wheel carries the models inside the package; a checkout has them beside it.
    embedded = package / "models" if (package / "models").is_dir() else package.parent / "models"
    own = [user_models()] if _may_be_seen(user_models()) else []
    return [*named, *chosen, *own, embedded]


def user_models() -> Path:
    """The user's own model folders."""
    return _user_folder("XDG_DATA_HOME", ".local/share") / "models"


def configuration_files() -> list[Path]:
    """Where the configuration file is looked for when none is named; the first that exists counts."""
    given = os.environ.get("CONFIGURATION_DIRECTORY")
    system = Path(given.split(":")[0]) if given else Path("/etc/reidd")
    return [system / "reidd.toml", _user_folder("XDG_CONFIG_HOME", ".config") / "reidd.toml"]


def keys_folder() -> Path:
    """The server's key and the allow-list of tcp: beside the machine's configuration file, or the user's."""
    system, user = (file.parent / "keys" for file in configuration_files())
    return system if os.geteuid() == 0 or "CONFIGURATION_DIRECTORY" in os.environ else user


def credential(name: str) -> Path | None:
    """The file of a secret that systemd hands to the service, if it does."""
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(given) / name if given else None
    return file if file is not None and file.exists() else None


def service_folder() -> Path:
    """The files of the systemd service."""
    package = Path(__file__).parent
    # A wheel carries them inside the package; a checkout has them beside it.
    return package / "systemd" if (package / "systemd").is_dir() else package.parent / "systemd"


def sample_folder() -> Path:
    """The embedded crops of six people and a stranger."""
    return Path(__file__).parent / "sample"


def _check_ours(folder: Path) -> None:
    """Whoever made a folder of our name first, in the one for temporary files, would be sent our images."""
    try:
        owner = folder.lstat().st_uid
    except OSError:
        return
    if owner not in (0, os.geteuid()):
        raise ConfigError(
            f"{folder}: belongs to uid {owner}, so it is not your daemon's; set XDG_RUNTIME_DIR to a folder of your "
            "own, or name the daemon with --endpoint or REIDD_ENDPOINT"
        )


def _user_folder(variable: str, below_home: str) -> Path:
    base = os.environ.get(variable)
    try:
        return (Path(base) if base else Path.home() / below_home) / "reidd"
    except RuntimeError:
        raise ConfigError(f"uid {os.geteuid()} has no home folder; set HOME, to any folder of its own") from None


def _may_be_seen(folder: Path) -> bool:
    """Whether this user may look; not in root's home, where `setpriv` from root's shell leaves HOME."""
    try:
        folder.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return True
