"""A model folder: the network's files, how it wants its pixels, and what it is for."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from reidd import places
from reidd.colors import checked_colors, generated_colors
from reidd.errors import ConfigError, UnknownModelError, located, shown
from reidd.model_files import content, is_there, lines

FILE_NAME = "alwaysai.model.json"
PURPOSE = "ReIdentification"

_Side = Annotated[int, Meta(ge=1, le=4096)]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The published `model_parameters`; keys that do not concern re-identification are passed over."""

    model_file: str
    size: tuple[_Side, _Side]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scalefactor: float = 1.0
    purpose: str = PURPOSE
    crop: bool = False
    swaprb: bool = False  # older folders lack it; blobFromImage's default is False
    framework_type: str = ""
    label_file: str | None = None
    colors_file: str | None = None
    output_layer_names: list[str] | None = None
    softmax: bool = False
    batch_size: Annotated[int, Meta(ge=1)] | None = 1


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the network, in one format ("onnx", "tflite"), with its checksum."""

    file: str
    format: str
    precision: str = "float32"
    sha256: _Sha256 | None = None


class Extras(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What reidd adds, under the key `reidd`, so that such a folder still loads elsewhere."""

    files: list[ModelFile] = []
    dim: Annotated[int, Meta(ge=1, le=16384)] | None = None
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    licence: str | None = None
    max_distance: Annotated[float, Meta(ge=0, le=2)] | None = None
    golden: str | None = None


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    id: Annotated[str, Meta(pattern=r"^[^/\x00-\x1f\x7f]+/[^/\x00-\x1f\x7f]+\Z")]
    license: Any = None
    model_parameters: Parameters
    reidd: Extras = Extras()


class ModelConfig:
    """A model folder `<publisher>/<name>/`, read and checked.

    Args:
        model_json: the parsed document, or the path of an `alwaysai.model.json`.
        base_dir: the folder its files are relative to; the document's own folder when a path was given.
        labels: one name per class, in place of the folder's `label_file`.
        colors: `(len(labels), 3)` uint8 BGR, in place of the folder's `colors_file`.

    Raises:
        ConfigError: a key is missing or wrong, or a file is not there; says which, and what was expected.
    """

    def __init__(
        self,
        model_json: Mapping[str, Any] | str | PathLike[str],
        base_dir: str | PathLike[str] | None = None,
        labels: Sequence[str] | None = None,
        colors: np.ndarray | None = None,
    ):
        if isinstance(model_json, Mapping):
            self.origin, raw = Path(base_dir or ".") / FILE_NAME, dict(model_json)
        else:
            self.origin = Path(model_json)
            raw = _json(self.origin)
        self.base_dir = Path(base_dir) if base_dir is not None else self.origin.parent
        try:
            document = msgspec.convert(raw, _Document)
        except msgspec.ValidationError as error:
            what, key = located(error)
            raise ConfigError(f"{self.origin}: {f'{key}: ' if key else ''}{what}") from None
        self.id, self.parameters, self.extras = document.id, document.model_parameters, document.reidd
        self.licence = self.extras.licence or (str(document.license) if document.license else None)
        self._check()
        self.labels = list(labels) if labels is not None else self._read_labels()
        self.colors = checked_colors(colors, self.labels) if colors is not None else self._read_colors()

    @classmethod
    def from_model_id(cls, model_id: str, folders: Sequence[Path] | None = None) -> "ModelConfig":
        """Find `<publisher>/<name>` in `folders`, by default `REIDD_MODELS`, the user's data folder, the embedded one.

        Raises:
            UnknownModelError: no such folder; says where it looked and which models there are.
            ConfigError: there is, but its document is wrong, or has another model's id.
        """
        folders = places.model_folders() if folders is None else folders
        if isinstance(model_id, str) and model_id.count("/") == 1 and ".." not in model_id.split("/"):
            for folder in folders:
                if is_there(found := folder / model_id / FILE_NAME):
                    return _named(cls(found), model_id)
        known = ", ".join(available(folders)) or "none"
        looked = ", ".join(map(str, folders))
        raise UnknownModelError(f"no model {shown(model_id)} in {looked}; there are: {known}")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels that the network takes."""
        return self.parameters.size

    @property
    def purpose(self) -> str:
        """What the model is for, always "ReIdentification"."""
        return self.parameters.purpose

    @property
    def files(self) -> list[ModelFile]:
        """Every file of the network, `model_file` first."""
        main = self.parameters.model_file
        listed = sorted(self.extras.files, key=lambda f: f.file != main)
        if any(f.file == main for f in listed):
            return listed
        return [ModelFile(file=main, format=Path(main).suffix.removeprefix(".").lower()), *listed]

    def file(self, formats: frozenset[str]) -> ModelFile | None:
        """The first file in one of these formats, or None."""
        return next((f for f in self.files if f.format in formats), None)

    def read(self, file: ModelFile) -> bytes:
        """The bytes of one file, read once and compared with its checksum.

        Runtimes get bytes, never a path: a mapped file that somebody truncates later is a SIGBUS.
        """
        path = self.base_dir / file.file
        network = content(path, "the network's file")
        if file.sha256 is not None and hashlib.sha256(network).hexdigest() != file.sha256:
            raise ConfigError(f"{path}: sha256 differs from the one in {self.origin.name}; fetch the model again")
        return network

    def feature_space(self) -> bytes:
        """32 bytes that name the space of this model's features: sha256 over its `model_file` and its preprocessing.

        The other files of a model with golden vectors do not count, for each load compares them with these: a format
        may be added, and the gallery stays. Without golden vectors nobody knows, and every file counts.

        Whether the mirror was added is not in it: both live in the network's one output space, and the published
        API lets each call choose.
        """
        digest = hashlib.sha256()
        counting = self.files[:1] if self.extras.golden else sorted(self.files, key=lambda f: f.file)
        for file in counting:
            digest.update(file.sha256.encode() if file.sha256 else hashlib.sha256(self.read(file)).hexdigest().encode())
        p = self.parameters
        digest.update(repr((p.size, p.mean, p.scalefactor, p.crop, p.swaprb, self.extras.std)).encode())
        return digest.digest()

    def _check(self) -> None:
        p = self.parameters
        problems = [
            (p.purpose != PURPOSE, f'purpose: expected "{PURPOSE}", got "{p.purpose}"'),
            (not math.isfinite(p.scalefactor) or p.scalefactor == 0, "scalefactor: expected a number other than 0"),
            (not all(map(math.isfinite, p.mean)), "mean: expected three finite numbers"),
        ]
        for broken, text in problems:
            if broken:
                raise ConfigError(f"{self.origin}: model_parameters.{text}")
        if not all(math.isfinite(s) and s > 0 for s in self.extras.std):
            raise ConfigError(f"{self.origin}: reidd.std: expected three numbers above 0")
        self._inside("model_parameters.model_file", p.model_file)
        for file in self.files:
            self._inside("reidd.files", file.file)
        if self.extras.golden is not None:
            self._inside("reidd.golden", self.extras.golden)

    def _inside(self, key: str, name: str) -> Path:
        path = self.base_dir / name
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise ConfigError(f"{self.origin}: {key}: expected a file inside the model's folder, got {name!r}")
        if not is_there(path):
            raise ConfigError(f"{self.origin}: {key}: there is no file {path}")
        return path

    def _read_labels(self) -> list[str] | None:
        if not self.parameters.label_file:
            return None
        path = self._inside("model_parameters.label_file", self.parameters.label_file)
        return lines(path, "one label per line")

    def _read_colors(self) -> np.ndarray | None:
        if not self.labels or not self.parameters.colors_file:
            return generated_colors(len(self.labels)) if self.labels else None
        path = self._inside("model_parameters.colors_file", self.parameters.colors_file)
        found = lines(path, "one B,G,R row per label")
        try:
            rows = np.array([line.replace(",", " ").split() for line in found])
            return checked_colors(rows.astype(float), self.labels)
        except ValueError as error:
            raise ConfigError(f"{path}: expected one B,G,R row of 0-255 per label: {error}") from None


def available(folders: Sequence[Path]) -> list[str]:
    """The ids of all model folders below these folders, sorted."""
    found = {f"{p.parent.parent.name}/{p.parent.name}" for d in folders for p in d.glob(f"[!.]*/[!.]*/{FILE_NAME}")}
    return sorted(found)


def _named(model: ModelConfig, model_id: str) -> ModelConfig:
    if model.id != model_id:
        raise ConfigError(f'{model.origin}: id: expected "{model_id}", as its folder is called, got "{model.id}"')
    return model


def _json(path: Path) -> Any:
    try:
        return msgspec.json.decode(content(path, f"a model's {FILE_NAME}"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None
