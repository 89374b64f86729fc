"""Forgotten is forgotten: what of an archive may not come back into a gallery that has forgotten some ids."""

from collections.abc import Mapping

import numpy as np

from reidd.gallery.archive import Archive
from reidd.gallery.changes import Forgotten
from reidd.gallery.instance import Rows


def without_forgotten(saved: Archive, origin: str, forgotten: Mapping[int, Forgotten]) -> tuple[Archive, list[int]]:
    """Leave out of an archive what this gallery, of this origin, has forgotten; gives the ids left out, too.

    An archive of this very gallery tells by its instance numbers what was enrolled after an id was forgotten. In one
    from elsewhere the numbers mean nothing, so all of that id stays out.
    """
    numbers = saved.rows.numbers
    if saved.origin == origin:
        ids, which = np.unique(saved.rows.ids, return_inverse=True)
        before = np.array([forgotten[id].before if id in forgotten else 0 for id in ids.tolist()], np.uint64)
        gone = np.array([number for known in forgotten.values() for number in known.instances], np.uint64)
        barred = (numbers < before[which]) | np.isin(numbers, gone)
    else:
        barred = np.isin(saved.rows.ids, np.array([*forgotten], np.int64))
    rows = Rows(*(column[~barred] for column in saved.rows))
    left_out = sorted(set(saved.rows.ids[barred].tolist()))
    return saved._replace(rows=rows).about(set(rows.ids.tolist())), left_out
