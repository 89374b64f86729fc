"""What a mutation did, in words: so that whoever takes it back sees what that was."""

from collections import Counter
from collections.abc import Iterator

from reidd.gallery.changes import Delta
from reidd.gallery.instance import Instance

_IDS_NAMED = 3


def told(delta: Delta) -> str:
    """Say what a mutation did, without labels: `2 instances of id 7 added, a limit of 6 (drop_oldest) set`."""
    return ", ".join(_parts(delta))


def _parts(delta: Delta) -> Iterator[str]:
    moved = delta.added.keys() & delta.removed.keys()
    yield from _instances(delta, delta.added.keys() - moved, "of", "added")
    yield from _instances(delta, delta.removed.keys() - moved, "of", "removed")
    yield from _instances(delta, moved, "moved to", "")
    for id, (before, known) in delta.identities.items():
        if before.label != known.label:
            yield f"the label of id {id} {'set' if known.label is not None else 'taken away'}"
        if before.pinned != known.pinned:
            yield f"id {id} {'pinned' if known.pinned else 'pinned no longer'}"
        if before.ttl_s != known.ttl_s:
            yield f"the time to live of id {id} {'set' if known.ttl_s is not None else 'lifted'}"
    if delta.limit:
        limit = delta.limit[1]
        yield f"a limit of {limit.at_most} ({limit.drop_method}) set" if limit else "the limit lifted"
    if delta.ages and delta.ages[0].ttl_s != delta.ages[1].ttl_s:
        ttl_s = delta.ages[1].ttl_s
        yield "the gallery's time to live lifted" if ttl_s is None else f"a time to live of {ttl_s:g} s set"


def _instances(delta: Delta, numbers: set[int], of: str, done: str) -> Iterator[str]:
    """Say how many instances of which ids, the first few by name."""
    instances: list[Instance] = [delta.added.get(number) or delta.removed[number] for number in numbers]
    counts = sorted(Counter(instance.id for instance in instances).items())
    for id, count in counts[:_IDS_NAMED]:
        yield f"{count} instance{'' if count == 1 else 's'} {of} id {id} {done}".rstrip()
    if len(counts) > _IDS_NAMED:
        rest = counts[_IDS_NAMED:]
        yield f"{sum(count for _, count in rest)} instances {of} {len(rest)} other ids {done}".rstrip()
