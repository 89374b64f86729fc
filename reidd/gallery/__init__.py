"""The gallery: features by id, in shared memory for readers and in SQLite for ever."""

from reidd.gallery.audit import Act, Check, Head
from reidd.gallery.changes import Change, Forgotten, Retention
from reidd.gallery.explain import Explanation, explained
from reidd.gallery.forgetting import without_forgotten
from reidd.gallery.gallery import Gallery
from reidd.gallery.instance import Instance, Rows
from reidd.gallery.ledger import Draft
from reidd.gallery.policy import DROP_METHODS, Limit
from reidd.gallery.reader import Match, Reader
from reidd.gallery.rekeying import noted_space
from reidd.gallery.ring import Ring

__all__ = [
    "DROP_METHODS",
    "Act",
    "Change",
    "Check",
    "Draft",
    "Explanation",
    "Forgotten",
    "Gallery",
    "Head",
    "Instance",
    "Limit",
    "Match",
    "Reader",
    "Retention",
    "Ring",
    "Rows",
    "explained",
    "noted_space",
    "without_forgotten",
]
