"""What is told to the client, and to everybody, about a change of the gallery."""

from galleries import features, opened

from reidd import protocol
from reidd.service.gallery import GalleryService


def test_everybody_hears_which_instances_a_full_gallery_overwrote():
    with opened(capacity=2) as gallery:
        service = GalleryService(gallery)
        add = protocol.AddToGallery(id=7, parts=[protocol.Feature(shape=(3, 8))])
        answer = service.answer(add, features(3))
    assert (answer.reply.added, answer.reply.overwritten) == ([1, 2, 3], [1])
    assert [(event.type, event.instances) for event in answer.events] == [("added", [1, 2, 3]), ("overwritten", [1])]


def test_everybody_hears_which_instances_the_limit_took_when_ids_are_merged_or_an_instance_moves():
    with opened() as gallery:
        service = GalleryService(gallery)
        gallery.set_limit(2, "drop_oldest")
        for id in (1, 2, 3):
            gallery.add(id, features(2))
        merged = service.answer(protocol.Merge(id=2, into_id=1))
        moved = service.answer(protocol.Move(instance=6, id=1))
    for answer, dropped in ((merged, [1, 2]), (moved, [3])):
        assert [event.dropped for event in answer.events] == [answer.reply.dropped] == [dropped]


def test_a_page_of_ids_that_were_asked_for_is_empty_only_at_the_end():
    with opened() as gallery:
        service = GalleryService(gallery)
        gallery.add(50, features(1))
        reply = service.answer(protocol.Ids(only=list(range(100)), limit=10)).reply
    assert [record.id for record in reply.ids] == [50]
