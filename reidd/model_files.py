"""The files of a model's folder, read with errors that say what to do."""

import os
from pathlib import Path
from stat import S_ISREG

from reidd.errors import ConfigError

MAX_BYTES = 1 << 30
"""Of one file: it is held in memory several times, and re-identification networks have 1 to 100 MiB."""


def is_there(path: Path) -> bool:
    """Whether there is such a file. Raises ConfigError when that may not be seen."""
    try:
        return S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error, "a file of a model") from None


def content(path: Path, expected: str) -> bytes:
    """Give the bytes of a file. Raises ConfigError, which says what to do."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; expected {expected}")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error, expected) from None


def lines(path: Path, expected: str) -> list[str]:
    """Give the lines of a text that are not empty. Raises ConfigError, which says what to do."""
    try:
        text = content(path, expected).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is no UTF-8 text; expected {expected}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _unreadable(path: Path, error: OSError, expected: str) -> ConfigError:
    advice = f"expected {expected}"
    if isinstance(error, PermissionError):
        advice = (
            f"let user {os.geteuid()} read it: `chmod -R a+rX` on the model's folder, `chmod a+x` on those above it; "
            "a service sees nothing in /home, whatever its rights"
        )
    return ConfigError(f"{path}: cannot be read ({error.strerror}); {advice}")
