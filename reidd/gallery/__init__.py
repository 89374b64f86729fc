"""The gallery: features by id, in shared memory for readers and in SQLite for ever."""

from reidd.gallery.changes import Change, Settings
from reidd.gallery.explain import Explanation, explained
from reidd.gallery.gallery import Gallery
from reidd.gallery.instance import Instance, Rows
from reidd.gallery.policy import DROP_METHODS, Limit
from reidd.gallery.reader import Match, Reader
from reidd.gallery.ring import Ring

__all__ = [
    "DROP_METHODS",
    "Change",
    "Explanation",
    "Gallery",
    "Instance",
    "Limit",
    "Match",
    "Reader",
    "Ring",
    "Rows",
    "Settings",
    "explained",
]
