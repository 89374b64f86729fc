"""The daemon's folders: made, seen to be ours, and held by one process at a time."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reidd import places
from reidd.errors import ConfigError

LOCK = "reidd.lock"


def claim(folder: Path, option: str) -> None:
    """Make a folder of this user's. Raises ConfigError, naming the option that chooses another, when it cannot be."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        owner = folder.stat()
    except FileExistsError:
        raise ConfigError(f"{folder}: is a file; choose another folder with {option}") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}; choose another folder with {option}") from None
    _check_owner(folder, owner, option)
    if not os.access(folder, os.W_OK | os.X_OK):
        _check_disk(folder, option)
    for file in (folder / LOCK, *(path for path in folder.glob(f"{places.STORE}*") if ".damaged-" not in path.name)):
        with suppress(FileNotFoundError):
            _check_file(file)


def _check_owner(folder: Path, owner: os.stat_result, option: str) -> None:
    user = os.geteuid()
    if owner.st_uid == user:
        return
    if user == 0:
        # What root wrote there the owner could not write, and the service would not start again.
        raise ConfigError(
            f"{folder}: belongs to uid {owner.st_uid}, not to root; start the service with `systemctl start reidd`, or "
            f"put `setpriv --reuid {owner.st_uid} --regid {owner.st_gid} --clear-groups` before this command"
        )
    raise ConfigError(
        f"{folder}: belongs to uid {owner.st_uid}, not to uid {user}; choose another folder with {option} or, if only "
        f"reidd uses it, `chown -R {user}:{os.getegid()} {folder}` as root"
    )


def _check_disk(folder: Path, option: str) -> None:
    """A folder that cannot be written will do only when its disk is why, and there is a store to be served from it."""
    if not _is_read_only(folder):
        raise ConfigError(f"{folder}: cannot be written to; `chmod u+rwx {folder}`, or choose another with {option}")
    if not (folder / places.STORE).exists():
        raise ConfigError(
            f"{folder}: is on a disk that is mounted read-only, as all but its own folders is for a service; choose "
            f"another folder with {option}"
        )


def _check_file(file: Path) -> None:
    """A file that somebody else, mostly root, put there: said now, for SQLite would blame the disk."""
    owner, user = file.stat().st_uid, os.geteuid()
    if owner != user and not os.access(file, os.R_OK | os.W_OK) and not _is_read_only(file):
        raise ConfigError(
            f"{file}: belongs to uid {owner}, and uid {user} may not write it; "
            f"`chown -R {user}:{os.getegid()} {file.parent}` as root"
        )


def _is_read_only(path: Path) -> bool:
    """Whether its disk is mounted so, as one that fails is by the kernel after a while."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock for life, for a second process could silently take over the sockets' paths."""
    lock = _opened(folder / LOCK)
    if lock is None:
        yield
        return
    try:
        _lock(lock, folder)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 20, 0).decode(errors="replace") or "unknown"
        raise ConfigError(f"{folder}: another reidd (pid {pid}) uses this folder; stop it or choose another") from None
    # For people only: a full disk must not keep anybody from being served.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        # Whoever holds the store on such a disk cannot write it either.
        if error.errno == errno.EROFS:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path.exists() else None
        if error.errno == errno.ENOSPC:
            return None
        raise
