"""What installing is made of: steps that say what they do before they do it."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reidd.errors import ConfigError


class Step(Protocol):
    """One thing to do; its text says which."""

    def do(self) -> None:
        """Do it; twice is fine. Raises ConfigError with what is in the way."""


@dataclass(frozen=True)
class Folder:
    """A folder is there, for root and a group."""

    path: Path
    mode: int = 0o755
    group: str | None = None

    def __str__(self) -> str:
        return f"make {self.path}/"

    def do(self) -> None:
        """Make it, and those above it."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.group:
            # First the group: a change of owner clears the bit that hands the group on.
            shutil.chown(self.path, group=self.group)
            self.path.chmod(self.mode)


@dataclass(frozen=True)
class Copy:
    """A file is there, whole at any moment; `keep` leaves one alone that is there already."""

    source: Path
    path: Path
    mode: int = 0o644
    group: str | None = None
    keep: bool = False

    def __str__(self) -> str:
        return f"write {self.path}" + (", unless it is there" if self.keep else "")

    def do(self) -> None:
        """Write it."""
        if self.keep and self.path.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.new")
        shutil.copyfile(self.source, new)
        new.chmod(self.mode)
        if self.group:
            shutil.chown(new, group=self.group)
        new.replace(self.path)


@dataclass(frozen=True)
class Link:
    """A name leads to a file; a name that somebody else uses is left alone."""

    path: Path
    target: Path

    def __str__(self) -> str:
        return f"link {self.path} to {self.target}"

    def do(self) -> None:
        """Make the link."""
        if not self.path.exists() and not self.path.is_symlink():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.symlink_to(self.target)


@dataclass(frozen=True)
class Remove:
    """A file, or a folder with all that is in it, is gone; with `if_empty` a folder only when nothing is in it."""

    path: Path
    if_empty: bool = False

    def __str__(self) -> str:
        return f"remove {self.path}" + (", if it is empty" if self.if_empty else "")

    def do(self) -> None:
        """Remove it."""
        if self.if_empty:
            if self.path.is_dir() and not any(self.path.iterdir()):
                self.path.rmdir()
        elif self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Run:
    """A program runs; `advice` says what to do when it fails, without any it may fail."""

    command: Sequence[str | Path]
    advice: str | None = "see above"
    shown: bool = False
    """Whether its output is for the operator, and not only for when it fails."""

    def __str__(self) -> str:
        return " ".join(map(str, self.command))

    def do(self) -> None:
        """Run it to its end."""
        output = None if self.shown else subprocess.PIPE
        # Nothing that the caller's shell or environment set may lead pip or systemd elsewhere.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        try:
            done = subprocess.run(  # noqa: S603  (our own command lines)
                [*map(str, self.command)], stdout=output, stderr=subprocess.STDOUT, text=True, check=False,
                env=environment,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"{self.command[0]}: {error.strerror}; {self.advice}") from None
        if done.returncode and self.advice:
            lines = [line.strip() for line in (done.stdout or "").splitlines() if line.strip()]
            telling = [line for line in lines if "error" in line.lower()] or lines[-1:]
            raise ConfigError(f"{self}: {telling[0] if telling else f'status {done.returncode}'}; {self.advice}")
