"""Commands about models: list them, verify that all pairs agree on one, bring in a file of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show

if TYPE_CHECKING:
    from reidd.certificates import Certificate

app = typer.Typer(help="List the models, verify one, or add your own.", rich_markup_mode=None)


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="models")


@app.callback(invoke_without_command=True)
def listed(context: typer.Context, json: show.Json = False) -> None:
    """List the models on this machine."""
    if context.invoked_subcommand is not None:
        return
    from reidd import places
    from reidd.errors import ConfigError
    from reidd.model import ModelConfig, available

    folders = places.model_folders()
    rows = []
    for model_id in available(folders):
        try:
            model = ModelConfig.from_model_id(model_id, folders)
        except ConfigError as error:
            rows.append((model_id, "", "", "", f"broken: {error}"))
            continue
        size = "{}x{}".format(*model.size)
        formats = ", ".join(f"{f.format} {f.precision}" for f in model.files)
        rows.append((model_id, size, formats, model.extras.licence or "not stated", str(Path(model.base_dir))))
    columns = ("model", "width x height", "files", "licence", "folder")
    if json:
        show.as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show.table(columns, rows)


@app.command()
def verify(
    model: Annotated[str, typer.Argument(help="`<publisher>/<name>` of the model.")] = "reidd/person",
    images: Annotated[Path | None, typer.Option(help="A folder of JPEG or PNG crops; else the embedded ones.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, but write no certificate.")] = False,
    json: show.Json = False,
) -> None:
    """Run all ready pairs over images, print how far they agree, and write a certificate into the model's folder.

    Ends with status 70 when a pair differs too much to share a gallery.
    """
    import msgspec

    from reidd import certificates, places
    from reidd.errors import BackendError, ConfigError
    from reidd.images import pixels
    from reidd.model import ModelConfig
    from reidd.plugins import Registry
    from reidd.verification import verify as measure

    folder = images or places.sample_folder()
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(files) < 2:
        raise ConfigError(f"{folder}: holds {len(files)} JPEG or PNG files; expected 2 or more")
    config = ModelConfig.from_model_id(model)
    certificate = measure(config, [pixels(file.read_bytes()) for file in files], registry=Registry())
    if json:
        show.as_json(msgspec.to_builtins(certificate))
    else:
        _print(certificate)
    if not dry_run:
        certificates.write(config, certificate)
    apart = [f"{p.engine}/{p.accelerator} with {p.file}" for p in certificate.pairs if not p.agrees]
    if apart:
        raise BackendError(f"{', '.join(apart)} may not share a gallery with {certificate.reference}")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="An ONNX or TFLite file.")],
    id: Annotated[str, typer.Option(help="`<publisher>/<name>` that the model gets.")],
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT that the network takes, such as 128x256.")],
    licence: Annotated[str, typer.Option(help="The licence of the network, such as Apache-2.0.")],
    mean: Annotated[tuple[float, float, float], typer.Option(help="Subtracted from each channel.")] = (0, 0, 0),
    scalefactor: Annotated[float, typer.Option(help="What the result is multiplied by.")] = 1.0,
    rgb: Annotated[bool, typer.Option("--rgb", help="The network takes RGB; without it, BGR.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where model folders are; else the user's.")] = None,
) -> None:
    """Bring in a network of your own: it is run apart first, then gets a model folder with golden vectors."""
    from reidd import places
    from reidd.adoption import adopt
    from reidd.plugins import Registry

    model, pair = adopt(
        file,
        id=id,
        folder=folder or places.user_models(),
        size=_size(size),
        licence=licence,
        mean=mean,
        scalefactor=scalefactor,
        swaprb=rgb,
        registry=Registry(),
    )
    typer.echo(f"{model.id}: {model.extras.dim} values, ran on {pair.engine}/{pair.accelerator}, in {model.base_dir}")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no size; expected WIDTHxHEIGHT, such as 128x256", param_hint="--size")
    return int(width), int(height)


def _print(certificate: "Certificate") -> None:
    columns = ("engine", "accelerator", "file", "mean cosine", "worst", "ranks agree", "ms", "verdict")
    rows: list[tuple[object, ...]] = [
        (p.engine.value, p.accelerator.value, p.file, f"{p.mean_cosine:.4f}", f"{p.worst_cosine:.4f}",
         f"{p.rank_agreement:.0%}", f"{p.ms:.1f}", "agrees" if p.agrees else "differs")
        for p in certificate.pairs
    ]  # fmt: skip
    rows += [(f.engine.value, f.accelerator.value, f.file, "", "", "", "", f.reason) for f in certificate.failures]
    show.table(
        columns, rows, title=f"{certificate.model}: {certificate.images} images, against {certificate.reference}"
    )
