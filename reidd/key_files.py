"""Files with keys: written whole, and read only where nobody else can read or change them."""

import os
import stat
from pathlib import Path

from reidd.errors import ConfigError


def write_text(path: Path, text: str, mode: int) -> None:
    """Write a line to a new file that only those named by `mode` may read, and they whatever the umask is."""
    # Linked when it is whole: a daemon may read the folder at any moment.
    half = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, mode)
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(half, path)
    finally:
        half.unlink()


def check_only_ours(
    path: Path, may_not: int, *, owner: int | None = None, made_by: str = "reidd keys new NAME"
) -> None:
    """Refuse a file or folder that others than root, this user and `owner` own, or have one of these rights to."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: {error.strerror}; put a copy back, or make keys with `{made_by}`") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected where uid {os.geteuid()} may look it up") from None
    if status.st_mode & may_not:
        mode, right = stat.filemode(status.st_mode), stat.S_IMODE(status.st_mode) & ~may_not
        raise ConfigError(f"{path}: has mode {mode}, so others may read or change it; `chmod {right:o} {path}`")
    if status.st_uid not in (0, os.geteuid(), owner):
        expected = f"root or uid {os.geteuid()}" if owner is None else f"root, uid {os.geteuid()} or {owner}"
        raise ConfigError(f"{path}: belongs to uid {status.st_uid}; expected {expected}")
