"""What the doctor finds of the configured model: its files, its pairs, and whether the stored gallery is its own."""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reidd.cli.finding import Finding
from reidd.errors import ReiddError

if TYPE_CHECKING:
    from reidd.daemon.config import Config
    from reidd.engines import Accelerator, Engine
    from reidd.model import ModelConfig
    from reidd.plugins import InstalledPair


def look_at_model(
    model_id: str,
    chosen: "Config",
    at_work: "Container[tuple[Engine, Accelerator]]" = (),
    *,
    served: str | None = None,
) -> Iterator[Finding]:
    """Load the model with each ready pair, compare its golden vectors, and see whose features the store holds.

    A pair that is at work in a daemon may have a device that serves one process at a time. A daemon that has `served`
    this model has seen to its store, which may lie elsewhere than ours would.
    """
    from reidd import places
    from reidd.model import ModelConfig
    from reidd.plugins import Registry

    try:
        folders = places.model_folders(Path(chosen.models) if chosen.models else None)
        model = ModelConfig.from_model_id(model_id, folders)
        for file in model.files:
            model.read(file)
    except ReiddError as error:
        yield Finding(f"model {model_id}", False, str(error))
        return
    yield Finding(f"model {model_id}", True, f"{len(model.files)} files, checksums right")
    if served != model.id:
        yield from _store(model, chosen)
    for pair in Registry().pairs(model):
        if pair.obstacle is None:
            yield _golden(model, pair, at_work=(pair.engine, pair.accelerator) in at_work)


def _golden(model: "ModelConfig", pair: "InstalledPair", *, at_work: bool) -> Finding:
    """Run the golden crops on a pair, in a process of its own: a runtime that crashes leaves the doctor alive."""
    from reidd import golden, trials

    what = f"golden vectors on {pair}"
    file = model.file(pair.backend.formats)
    if model.extras.golden is None or file is None:
        return Finding(what, None, "the model has none")
    try:
        found = trials.examine(model, file, pair.engine, pair.accelerator)
    except ReiddError as error:
        if at_work:
            return Finding(what, None, f"at work in the daemon, which may have the device to itself; here: {error}")
        return Finding(what, False, str(error))
    worst = found.worst_cosine or 0.0
    words = f"worst cosine {worst:.6f}, {found.ms:.1f} ms an image" + (found.remark and f"; {found.remark}")
    fine = worst >= golden.FLOAT_COSINE or file.precision != "float32"
    expected = f"expected at least {golden.FLOAT_COSINE}: reinstall this runtime"
    return Finding(what, fine, words if fine else f"{words}; {expected}")


def _store(model: "ModelConfig", chosen: "Config") -> Iterator[Finding]:
    """Whether the stored gallery holds another model's features; said only where it does."""
    from reidd import places
    from reidd.gallery import noted_space

    path = chosen.state / places.STORE
    if (space := noted_space(path)) not in (None, model.feature_space().hex()):
        words = f"{path} holds features of another model than {model.id} ({str(space)[:12]})"
        yield Finding(
            "stored gallery", False, f"{words}; go back to that model, or choose another state_folder and enrol anew"
        )
