"""Describes exported files: the model folder's `alwaysai.model.json`, with the checksum of each file."""

import hashlib
import json
from pathlib import Path

from reidd.model import FILE_NAME, PURPOSE

LICENCE = "Apache-2.0 (weights; learned from research-only images, see MODEL_CARD.md)"


def describe(folder: Path, files: dict[str, str], *, height: int, width: int, dim: int, golden: str) -> None:
    """Write the description of raw-RGB networks. `files` maps each file's name to its precision, the main one first."""
    listed = [
        {
            "file": name,
            "format": Path(name).suffix.removeprefix("."),
            "precision": precision,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name, precision in files.items()
    ]
    main = listed[0]
    document = {
        "id": "reidd/person",
        "license": "Apache-2.0",
        "model_parameters": {
            "purpose": PURPOSE,
            "framework_type": main["format"],
            "model_file": main["file"],
            "size": [width, height],
            "mean": [0, 0, 0],
            "scalefactor": 1,
            "swaprb": True,
            "crop": False,
            "softmax": False,
            "batch_size": 1,
        },
        "reidd": {"dim": dim, "licence": LICENCE, "golden": golden, "files": listed},
    }
    (folder / FILE_NAME).write_text(json.dumps(document, indent=2) + "\n")
