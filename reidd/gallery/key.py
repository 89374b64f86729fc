"""The file with the key of a stored gallery: 64 hexadecimal digits that nobody else may read."""

import os
import re
import secrets
from pathlib import Path

from reidd.errors import ConfigError
from reidd.gallery.cipher import KEY_BYTES
from reidd.gallery.disk import sync
from reidd.key_files import check_only_ours, write_text

_DIGITS = re.compile(f"[0-9a-fA-F]{{{2 * KEY_BYTES}}}")


def new(path: Path) -> None:
    """Make a key of random bits, in a new file. Raises ConfigError when there is one already."""
    if not path.name:
        raise ConfigError(f"{path}: is a folder; name a file")
    try:
        write_text(path, secrets.token_hex(KEY_BYTES), 0o600)
        # Before anything is encrypted with it: a power cut must not leave a store without its key.
        sync(path.parent)
    except FileExistsError:
        raise ConfigError(f"{path}: is there already, and may be the key of a gallery; name another file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def read(path: Path, *, owner: int | None = None) -> bytes:
    """Read a key. Raises ConfigError when it is none, or in a file that others than root, we and `owner` may read."""
    # systemd hands a credential to one user by an ACL, which `stat` shows as a right of the group.
    by_systemd = str(path.parent) == os.environ.get("CREDENTIALS_DIRECTORY")
    check_only_ours(path, 0o037 if by_systemd else 0o077, owner=owner, made_by="reidd keys gallery FILE")
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not _DIGITS.fullmatch(text):
        raise ConfigError(
            f"{path}: is no gallery key, which is {2 * KEY_BYTES} hexadecimal digits; restore a copy of it"
        )
    return bytes.fromhex(text)
