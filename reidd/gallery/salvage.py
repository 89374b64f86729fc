"""Puts a sound store in place of a damaged one, which is kept beside it; a crash in between loses neither."""

import os
from collections.abc import Callable
from pathlib import Path

from reidd.gallery.disk import sync
from reidd.gallery.store_file import beside


def replace_damaged(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` make a new file and put it at `path`; returns where the damaged one is now."""
    unfinished = path.with_name(f"{path.name}.salvage-unfinished")
    for leftover in (unfinished, *beside(unfinished)):
        leftover.unlink(missing_ok=True)
    write(unfinished)
    sync(unfinished)
    kept = next(free for n in range(1, 10_000) if not (free := path.with_name(f"{path.name}.damaged-{n}")).exists())
    os.link(path, kept)
    unfinished.rename(_salvaged(path))
    sync(path.parent)
    finish_salvage(path)
    return kept


def finish_salvage(path: Path) -> None:
    """Put a whole salvaged file at `path`, if there is one: this is where a crash resumes."""
    salvaged = _salvaged(path)
    if salvaged.exists():
        # Before the file, for a log that outlived its file would be applied to the new one.
        for file in beside(path):
            file.unlink(missing_ok=True)
        salvaged.rename(path)
        sync(path.parent)


def _salvaged(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaged")
