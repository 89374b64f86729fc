"""What was measured of a model on a machine: which engine/accelerator pairs make features that may share a gallery."""

import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from reidd.engines import Accelerator, Engine
from reidd.errors import ConfigError
from reidd.model import ModelConfig, ModelFile

FILE_NAME = "certificate.json"


class PairFigures(Struct, frozen=True, forbid_unknown_fields=True):
    """One pair against the reference: agreement over all images, and speed."""

    engine: Engine
    accelerator: Accelerator
    file: str
    sha256: str
    mean_cosine: float
    worst_cosine: float
    rank_agreement: float
    """The share of images whose nearest other image is the reference's too, or to that hardly farther."""
    ms: float
    """Median of one image, without its mirror."""
    agrees: bool
    remark: str = ""
    """What the backend says of how it ran the network; names a runtime that no package brought."""


class Failure(Struct, frozen=True, forbid_unknown_fields=True):
    """A pair that is ready here and could not run the model."""

    engine: Engine
    accelerator: Accelerator
    file: str
    reason: str


class Certificate(Struct, frozen=True, forbid_unknown_fields=True):
    """The measurement of one model on one machine."""

    model: str
    time: str
    machine: str
    versions: dict[str, str]
    images: int
    bar: float
    reference: str
    pairs: list[PairFigures]
    failures: list[Failure] = []


def read(model: ModelConfig) -> Certificate | None:
    """Read the certificate in a model's folder, or None when it was never verified.

    Raises:
        ConfigError: the file is no certificate.
    """
    path = model.base_dir / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Certificate)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: is no certificate: {error}; run `reidd models verify {model.id}`") from None


def write(model: ModelConfig, certificate: Certificate) -> Path:
    """Write a certificate into the model's folder, whole or not at all."""
    path = model.base_dir / FILE_NAME
    new = path.with_suffix(".new")
    try:
        new.write_bytes(msgspec.json.format(msgspec.json.encode(certificate)) + b"\n")
        os.replace(new, path)  # noqa: PTH105  (Path.replace says the same in more words)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; run as the owner of the folder") from None
    return path


def objection(model: ModelConfig, file: ModelFile, engine: Engine, accelerator: Accelerator) -> str | None:
    """Why a pair with a file must not share the model's gallery, by its certificate, or None.

    What was measured of another content of the file counts for nothing.
    """
    certificate = read(model)
    if certificate is None:
        return None
    for figures in certificate.pairs:
        measured = figures.engine, figures.accelerator, figures.sha256
        if measured == (engine, accelerator, checksum(model, file)) and not figures.agrees:
            return (
                f"its features differ from those of {certificate.reference}: {shortfall(figures, certificate)}; "
                f"they may not share a gallery, says {FILE_NAME}; `reidd models verify {model.id}` measures anew"
            )
    return None


def shortfall(figures: PairFigures, certificate: Certificate) -> str:
    """How far a pair stays behind, in words."""
    return (
        f"worst cosine {figures.worst_cosine:.3f} (bar {certificate.bar}), "
        f"the same nearest image for {figures.rank_agreement:.0%} of {certificate.images}"
    )


def checksum(model: ModelConfig, file: ModelFile) -> str:
    """The sha256 of one of a model's files: as its folder says, else as it is."""
    return file.sha256 or hashlib.sha256(model.read(file)).hexdigest()
