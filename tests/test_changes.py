"""What is told to the client, and to everybody, about a change of the gallery."""

from galleries import features, opened

from reidd import protocol
from reidd.service.changes import GalleryService


def test_everybody_hears_which_instances_a_full_gallery_overwrote():
    with opened(capacity=2) as gallery:
        service = GalleryService(gallery)
        add = protocol.AddToGallery(id=7, parts=[protocol.Feature(shape=(3, 8))])
        answer = service.answer(add, features(3))
    assert (answer.reply.added, answer.reply.overwritten) == ([1, 2, 3], [1])
    assert [(event.type, event.instances) for event in answer.events] == [("added", [1, 2, 3]), ("overwritten", [1])]
