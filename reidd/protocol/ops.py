"""Every op there is: what a request's header is read as, and the names."""

from typing import TypeAlias, get_args

from reidd.protocol import changes, requests

AnyRequest: TypeAlias = (
    requests.ExtractFeatures
    | requests.GetDistances
    | requests.ReIdImage
    | changes.AddToGallery
    | changes.RemoveFromGallery
    | changes.Forget
    | requests.Forgotten
    | requests.Audit
    | changes.Clear
    | changes.SetPerIdGalleryLimit
    | changes.SetLabel
    | changes.Pin
    | changes.Unpin
    | changes.Rename
    | changes.Merge
    | changes.Move
    | changes.Undo
    | changes.SetTtl
    | requests.Explain
    | requests.Ids
    | requests.Rows
    | requests.Status
    | requests.Events
    | requests.Load
    | requests.PublishAnalytics
)
OPS = tuple(sorted(str(kind.__struct_config__.tag) for kind in get_args(AnyRequest)))
