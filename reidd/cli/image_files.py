"""Images named on the command line: files, folders and globs."""

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reidd.errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def image_files(names: Iterable[str]) -> list[Path]:
    """Every image these names stand for, folders in alphabetical order.

    Raises:
        ImageError: a name stands for no image.
    """
    found: list[Path] = []
    for name in names:
        if not name:
            # Else it were the present folder, where a shell's variable is not set.
            raise ImageError("a name of an image is empty; expected files, folders or globs")
        path = Path(name)
        if path.is_dir():
            here = sorted(p for p in _entries(path) if p.suffix.lower() in SUFFIXES)
            if not here:
                raise ImageError(f"{name}: this folder holds no .jpg, .jpeg or .png file")
        else:
            here = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(name))]  # noqa: PTH207  (absolute patterns too)
            if not here:
                raise ImageError(f"{name}: there is no such file or folder")
        found += here
    return found


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Have an ImageError say which file it is about, if it does not."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read: {error.strerror}") from None


def content(path: Path) -> bytes:
    """The bytes of one image file; an ImageError names the file that cannot be read, or is too large to be sent."""
    from reidd.protocol import MAX_FRAME_BYTES

    try:
        if (size := path.stat().st_size) > MAX_FRAME_BYTES:
            raise ImageError(f"{path}: has {size} bytes; expected at most {MAX_FRAME_BYTES}: name a crop of the object")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
