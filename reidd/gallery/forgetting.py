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
    barred = np.zeros(len(saved.rows.ids), bool)
    for id, known in forgotten.items():
        of_id = saved.rows.ids == id
        if saved.origin == origin:
            barred |= of_id & (saved.rows.numbers < known.before)
            barred |= np.isin(saved.rows.numbers, np.array(known.instances, np.uint64))
        else:
            barred |= of_id
    rows = Rows(*(column[~barred] for column in saved.rows))
    left_out = sorted(set(saved.rows.ids[barred].tolist()))
    return saved._replace(rows=rows).about(set(rows.ids.tolist())), left_out
