"""Commands about models: list them, verify that all pairs agree on one, bring in a file of one's own."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidd.cli import show
from reidd.cli.folder_option import folder_option
from reidd.cli.image_files import SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from reidd.adoption import Adopted
    from reidd.certificates import Certificate
    from reidd.model import ModelConfig

MIN_IMAGES = 10
"""With fewer, one image that has another nearest one would decide: one in ten may."""
MAX_IMAGES = 200
"""More tell nothing new, and a slow board has two minutes for all of them."""

app = typer.Typer(help="List the models, verify one, or add your own.", rich_markup_mode=None)


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="models")


@app.callback(invoke_without_command=True)
def listed(context: typer.Context, json: show.Json = False) -> None:
    """List the models on this machine."""
    if context.invoked_subcommand is not None:
        if json:
            raise typer.BadParameter("is for the list; `reidd models verify --json` has its own", param_hint="--json")
        return
    from reidd import places
    from reidd.errors import ConfigError
    from reidd.model import ModelConfig, available

    folders = places.model_folders()
    found: list[dict[str, Any]] = []
    for model_id in available(folders):
        try:
            found.append(_described(ModelConfig.from_model_id(model_id, folders)))
        except ConfigError as error:
            found.append({"model": model_id, "broken": str(error)})
    if json:
        show.as_json(found)
        return
    for model in found:
        if files := model.get("files"):
            model["files"] = ", ".join(f"{file['format']} {file['precision']}" for file in files)
            model["size"] = "{}x{}".format(*model["size"])
        # One below the other: paths and licences are too long for columns.
        show.table(("model", model.pop("model")), model.items())


def _described(model: "ModelConfig") -> dict[str, Any]:
    return {
        "model": model.id,
        "size": model.size,
        "files": [{"file": f.file, "format": f.format, "precision": f.precision} for f in model.files],
        "licence": model.licence or "not stated",
        "folder": str(model.base_dir),
    }


@app.command()
def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its `<publisher>/<name>`.")] = "reidd/person",
    images: Annotated[Path | None, folder_option("A folder of ten crops or more; else the embedded ones.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, but write no certificate.")] = False,
    json: show.Json = False,
) -> None:
    """Run all ready pairs over images, and compare them.

    Prints how far they agree, and writes a certificate into the model's folder. Ends with status 70 when a pair
    differs too much to share a gallery, or is ready and cannot run the model.
    """
    import msgspec

    from reidd import certificates
    from reidd.errors import BackendError
    from reidd.model import ModelConfig
    from reidd.plugins import Registry
    from reidd.verification import verify as measure

    config = ModelConfig.from_model_id(model)
    certificate = measure(config, _images(images), registry=Registry())
    if json:
        show.as_json(msgspec.to_builtins(certificate))
    else:
        _print(certificate)
    if not dry_run:
        certificates.write(config, certificate)
    complaints = [
        f"{p.engine}/{p.accelerator} with {p.file} may not share a gallery with {certificate.reference}: "
        f"{certificates.shortfall(p, certificate)}; was it made of the same network, for the same pixels?"
        for p in certificate.pairs
        if not p.agrees
    ]
    complaints += [f"{f.engine}/{f.accelerator} with {f.file} cannot run it: {f.reason}" for f in certificate.failures]
    if complaints:
        raise BackendError("; ".join(complaints))


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An ONNX or TFLite file, or another that a plugin reads.")
    ],
    id: Annotated[str, typer.Option(help="`<publisher>/<name>`: a new one, or of a model that gets a further format.")],
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT that the network takes, such as 128x256.")] = None,
    licence: Annotated[str | None, typer.Option(help="The licence of the network, such as Apache-2.0.")] = None,
    mean: Annotated[
        tuple[float, float, float], typer.Option(help="Subtracted from each channel, 0 to 255, in the network's order.")
    ] = (0, 0, 0),
    std: Annotated[tuple[float, float, float], typer.Option(help="What each channel is divided by then.")] = (1, 1, 1),
    scalefactor: Annotated[float, typer.Option(help="What the result is multiplied by.")] = 1.0,
    rgb: Annotated[bool, typer.Option("--rgb", help="The network takes RGB; without it, BGR.")] = False,
    images: Annotated[
        Path | None,
        folder_option("A folder of ten crops or more to try it on, eight of which are kept; else the embedded ones."),
    ] = None,
    folder: Annotated[Path | None, folder_option("Where model folders are; else the user's.")] = None,
) -> None:
    """Bring in a network of your own.

    It is run apart first, then gets a model folder with golden vectors. A file for a model that is there already
    joins it when it makes the same features; it takes the model's size, licence and pixels.
    """
    from reidd import places
    from reidd.adoption import adopt, extend
    from reidd.model import ModelConfig, available
    from reidd.plugins import Registry

    folders, crops, registry = [folder] if folder else places.model_folders(), _images(images), Registry()
    pixels_given: dict[str, Any] = {"mean": mean, "std": std, "scalefactor": scalefactor, "swaprb": rgb}
    if id in available(folders):
        _check_only_a_file(id, size, licence, pixels_given)
        adopted, found = extend(ModelConfig.from_model_id(id, folders), file, images=crops, registry=registry)
        words = (
            f"agrees with {adopted.model.files[0].file}: worst cosine {found.worst_cosine:.4f}, "
            f"the same nearest image for {found.rank_agreement:.0%} of {len(crops)}"
        )
    elif size is None or licence is None:
        raise typer.BadParameter(f"{id} is a new model, which takes --size and --licence too", param_hint="--id")
    else:
        new: dict[str, Any] = {
            "id": id,
            "folder": folder or places.user_models(),
            "size": _size(size),
            "licence": licence,
        }
        adopted = adopt(file, **new, **pixels_given, images=crops, registry=registry)
        words = f"{adopted.model.extras.dim} values"
    typer.echo(f"{id}: {words}, ran on {adopted.pair}, in {adopted.model.base_dir}")
    _say_next(adopted, elsewhere=folder)
    if adopted.network != "cut":
        reason = adopted.network or f"{adopted.pair.accelerator}'s driver needs it"
        typer.echo(f"its first run was not cut from the network: {reason}", err=True)


def _say_next(adopted: "Adopted", *, elsewhere: Path | None) -> None:
    """How to go on; a folder that was named is one that nobody looks into unless told."""
    id, pair = adopted.model.id, adopted.pair
    elsewhere = elsewhere and elsewhere.absolute()
    told = f"REIDD_MODELS={shlex.quote(str(elsewhere))} " if elsewhere else ""
    typer.echo(f"next: `{told}reidd models verify {id} --images CROPS`, then `{told}reidd serve --model {id}`")
    keys = [f'model = "{id}"', *([f'models = "{elsewhere}"'] if elsewhere else [])]
    if len(adopted.model.files) == 1:
        # The default order has pairs that take another format, and would be missed.
        keys.append(f'engines = [{{ engine = "{pair.engine}", accelerator = "{pair.accelerator}" }}]')
    typer.echo("\n    ".join(["or in reidd.toml:", *keys]))


def _check_only_a_file(id: str, size: str | None, licence: str | None, pixels: dict[str, Any]) -> None:
    if size or licence or pixels != {"mean": (0, 0, 0), "std": (1, 1, 1), "scalefactor": 1.0, "swaprb": False}:
        raise typer.BadParameter(f"{id} has its own size, licence and pixels: give only the file", param_hint="--id")


def _images(folder: Path | None) -> "list[np.ndarray]":
    """The images in a folder, evenly chosen where there are too many, by default the embedded crops."""
    from reidd import places
    from reidd.errors import ConfigError

    folder = folder or places.sample_folder()
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder; name one of {MIN_IMAGES} crops or more with --images")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if len(files) < MIN_IMAGES:
        raise ConfigError(f"{folder}: holds {len(files)} JPEG or PNG files; expected {MIN_IMAGES} or more, to compare")
    taken = min(len(files), MAX_IMAGES)
    return [_image(files[i * len(files) // taken]) for i in range(taken)]


def _image(file: Path) -> "np.ndarray":
    from reidd.cli.image_files import content, named
    from reidd.images import pixels

    with named(file):
        return pixels(content(file))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no size; expected WIDTHxHEIGHT, such as 128x256", param_hint="--size")
    return int(width), int(height)


def _print(certificate: "Certificate") -> None:
    columns = ("pair", "file", "cosine", "worst", "ranks", "ms", "verdict")
    rows: list[tuple[object, ...]] = [
        (f"{p.engine}/{p.accelerator}", p.file, f"{p.mean_cosine:.4f}", f"{p.worst_cosine:.4f}",
         f"{p.rank_agreement:.0%}", f"{p.ms:.1f}", "agrees" if p.agrees else "differs")
        for p in certificate.pairs
    ]  # fmt: skip
    rows += [(f"{f.engine}/{f.accelerator}", f.file, "", "", "", "", "fails") for f in certificate.failures]
    show.table(
        columns, rows, title=f"{certificate.model}: {certificate.images} images, against {certificate.reference}"
    )
