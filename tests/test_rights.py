"""What a key may ask, and how exactly it is answered."""

import pytest

from reidd import protocol
from reidd.daemon import rights
from reidd.errors import ForbiddenError
from reidd.keys import Role, User
from reidd.protocol import Encoded, Event, Feature, PredictionRecord, ResultRecord

EXAMPLES = {
    protocol.ExtractFeatures: protocol.ExtractFeatures(parts=[Encoded()]),
    protocol.GetDistances: protocol.GetDistances(parts=[Encoded()]),
    protocol.ReIdImage: protocol.ReIdImage(parts=[Encoded()]),
    protocol.AddToGallery: protocol.AddToGallery(id=1, parts=[Encoded()]),
    protocol.RemoveFromGallery: protocol.RemoveFromGallery(id=1),
    protocol.Forget: protocol.Forget(id=1),
    protocol.Forgotten: protocol.Forgotten(),
    protocol.Audit: protocol.Audit(),
    protocol.Clear: protocol.Clear(),
    protocol.SetPerIdGalleryLimit: protocol.SetPerIdGalleryLimit(count=1, drop_method="drop_oldest"),
    protocol.SetLabel: protocol.SetLabel(id=1, label="a"),
    protocol.Pin: protocol.Pin(id=1),
    protocol.Unpin: protocol.Unpin(id=1),
    protocol.Rename: protocol.Rename(id=1, into_id=2),
    protocol.Merge: protocol.Merge(id=1, into_id=2),
    protocol.Move: protocol.Move(instance=1, id=2),
    protocol.Undo: protocol.Undo(),
    protocol.SetTtl: protocol.SetTtl(seconds=60.0),
    protocol.Explain: protocol.Explain(parts=[Encoded()]),
    protocol.Ids: protocol.Ids(),
    protocol.Rows: protocol.Rows(),
    protocol.Status: protocol.Status(),
    protocol.Events: protocol.Events(),
    protocol.Load: protocol.Load(),
    protocol.PublishAnalytics: protocol.PublishAnalytics(results=[]),
}


def allowed(*roles):
    passed = set()
    for kind, request in EXAMPLES.items():
        try:
            rights.check(User("somebody", frozenset(roles)), request)
            passed.add(kind.__struct_config__.tag)
        except ForbiddenError:
            pass
    return passed


def test_every_op_has_been_decided_about():
    assert set(EXAMPLES) == set(rights.ALLOWED) == set(protocol.AnyRequest.__args__)


@pytest.mark.parametrize(
    ("roles", "ops"),
    [
        ([Role.SUBSCRIBE], {"status", "events"}),
        ([Role.SCORES], set()),
        ([Role.QUERY], {"status", "re_id_image", "ids", "publish_analytics"}),
        (
            [Role.ENROL],
            {"status", "re_id_image", "ids", "publish_analytics", "add_to_gallery", "remove_from_gallery", "set_label"}
            | {"forgotten"},
        ),
        ([Role.QUERY, Role.SCORES], {"status", "re_id_image", "ids", "publish_analytics"}),
        (
            [Role.ENROL, Role.SCORES],
            {"status", "re_id_image", "ids", "publish_analytics", "add_to_gallery", "remove_from_gallery", "set_label"}
            | {"extract_features", "get_distances", "forgotten"},
        ),
        ([Role.ADMIN], set(protocol.OPS) - {"extract_features", "get_distances", "rows", "explain"}),
        ([Role.ADMIN, Role.SCORES], set(protocol.OPS)),
    ],
)
def test_a_role_allows_what_it_is_for(roles, ops):
    assert allowed(*roles) == ops


def test_somebody_on_this_machine_may_do_everything():
    for request in EXAMPLES.values():
        rights.check(None, request)


@pytest.mark.parametrize(
    ("role", "asked", "words"),
    [
        (Role.QUERY, protocol.Forgotten(), "may not ask for 'forgotten'; it takes the role admin or enrol$"),
        (Role.QUERY, protocol.Rows(), "may not ask for 'rows'; it takes the role admin, and scores with it$"),
        (Role.ADMIN, protocol.Rows(), "may not ask for 'rows' without the role scores$"),
    ],
)
def test_a_refusal_names_every_role_that_the_op_takes(role, asked, words):
    with pytest.raises(ForbiddenError, match=words):
        rights.check(User("a", frozenset({role})), asked)


@pytest.mark.parametrize(
    "question",
    [
        protocol.ReIdImage(parts=[Encoded()], max_distance=0.3),
        protocol.ReIdImage(parts=[Encoded()], margin=0.1),
        protocol.ReIdImage(parts=[Encoded()], normalize_distance=False),
        protocol.ReIdImage(parts=[Feature(shape=(1, 256))]),
    ],
)
def test_without_scores_no_question_finds_the_exact_distance_step_by_step(question):
    with pytest.raises(ForbiddenError, match="scores"):
        rights.check(User("a", frozenset({Role.ADMIN})), question)
    rights.check(User("a", frozenset({Role.ADMIN, Role.SCORES})), question)


@pytest.mark.parametrize(
    ("distance", "band"), [(0.0, 0.0), (0.001, 0.1), (0.1, 0.1), (0.10001, 0.2), (0.37, 0.4), (1.0, 1.0), (2.0, 2.0)]
)
def test_a_band_is_named_by_its_upper_end(distance, band):
    assert rights.band(distance) == band


def test_a_coarse_answer_keeps_ids_and_ranks_and_no_exact_number():
    result = ResultRecord([PredictionRecord(7, 1, 0.1234, "Ann"), PredictionRecord(8, 2, 0.29)], 0.003)
    coarse = rights.coarse_reply(protocol.Results(results=[result], shape=(1, 5000)))
    assert coarse.shape == (1, 0)
    assert [(p.id, p.rank, p.distance, p.label) for p in coarse.results[0].predictions] == [
        (7, 1, 0.2, "Ann"),
        (8, 2, 0.3, None),
    ]
    event = rights.coarse_event(Event(type="identified", results=[result]))
    assert b"0.1234" not in protocol.encode(event)
    assert rights.coarse_event(Event(type="cleared", count=1)) == Event(type="cleared", count=1)
