"""Every op there is: what a request's header is read as, and the names."""

from typing import TypeAlias, get_args

from reidd.protocol.changes import (
    AddToGallery,
    Clear,
    Forget,
    Merge,
    Move,
    Pin,
    RemoveFromGallery,
    Rename,
    SetLabel,
    SetPerIdGalleryLimit,
    SetTtl,
    Undo,
    Unpin,
)
from reidd.protocol.requests import (
    Audit,
    Events,
    Explain,
    ExtractFeatures,
    Forgotten,
    GetDistances,
    Ids,
    Load,
    PublishAnalytics,
    ReIdImage,
    Rows,
    Status,
)

AnyRequest: TypeAlias = (
    ExtractFeatures
    | GetDistances
    | ReIdImage
    | AddToGallery
    | RemoveFromGallery
    | Forget
    | Forgotten
    | Audit
    | Clear
    | SetPerIdGalleryLimit
    | SetLabel
    | Pin
    | Unpin
    | Rename
    | Merge
    | Move
    | Undo
    | SetTtl
    | Explain
    | Ids
    | Rows
    | Status
    | Events
    | Load
    | PublishAnalytics
)
OPS = tuple(sorted(str(kind.__struct_config__.tag) for kind in get_args(AnyRequest)))
